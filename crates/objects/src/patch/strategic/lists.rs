//! Lists that are merged.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value};

use super::meta::Meta;
use super::order::{Key, Places, arrange, places};
use super::{
    DIRECTIVE, Failure, NO_SCALAR, NULL_ITEM, no_merge_key, no_object, printed, unknown, weight, words,
};

/// Merges a list of which the field's strategy says so, or takes from it what a list of deletions names.
pub(super) fn merge(
    original: Vec<Value>,
    patch: &mut [Value],
    meta: &Meta<'_>,
    deletion: bool,
) -> Result<Vec<Value>, Failure> {
    Ok(merge_seen(original, patch, meta, deletion)?.items)
}

/// A merged list.
pub(super) struct Merged {
    pub(super) items: Vec<Value>,
    /// The keys of the list that was there as upstream sees it afterwards: it takes items out of it in place, and what it adds
    /// comes to stand where those behind them were.
    pub(super) seen: Vec<Option<Key>>,
}

/// The same, and what is left to see of the list that was there.
pub(super) fn merge_seen(
    original: Vec<Value>,
    patch: &mut [Value],
    meta: &Meta<'_>,
    deletion: bool,
) -> Result<Merged, Failure> {
    if original.is_empty() && patch.is_empty() {
        return Ok(Merged { items: original, seen: Vec::new() });
    }
    match same_type(&original, patch)? {
        Items::Objects if meta.key.is_empty() => {
            let text = format!("cannot merge lists without merge key for {}", meta.place.kind());
            Err(Failure::Told(text))
        }
        Items::Objects => merge_objects(original, patch, meta),
        Items::Scalars => merge_scalars(original, patch, meta, deletion),
    }
}

fn merge_scalars(
    original: Vec<Value>,
    patch: &[Value],
    meta: &Meta<'_>,
    deletion: bool,
) -> Result<Merged, Failure> {
    let keys = |items: &[Value]| items.iter().map(Key::of).collect::<Result<Vec<_>, _>>();
    let (there, named) = (keys(&original)?, keys(patch)?);
    let wanted = places(named.iter().map(Some));
    let items = if deletion {
        original
            .into_iter()
            .zip(&there)
            .filter(|(_, key)| !wanted.contains_key(key))
            .map(|(v, _)| v)
            .collect()
    } else if !meta.key.is_empty() {
        // Its items ought to be objects.
        return Err(original.first().or(patch.first()).map_or(NO_SCALAR, no_object));
    } else {
        let server = places(there.iter().map(Some));
        let all = there.iter().zip(original).chain(named.iter().zip(patch.iter().cloned()));
        let mut once = HashSet::new();
        let all = all.filter(|(key, _)| once.insert(*key)).map(|(key, value)| (key.clone(), value)).collect();
        arrange(all, &wanted, &server)
    };
    Ok(Merged { items, seen: there.into_iter().map(Some).collect() })
}

fn merge_objects(original: Vec<Value>, patch: &mut [Value], meta: &Meta<'_>) -> Result<Merged, Failure> {
    let mut list = Line::of(original, meta.key)?;
    let (mut replaced, mut named, mut plain) = (false, Vec::new(), Vec::new());
    for (at, item) in patch.iter().enumerate() {
        let Value::Object(map) = item else { return Err(no_object(item)) };
        match map.get(DIRECTIVE).map(|directive| (directive.as_str(), directive)) {
            None => plain.push(at),
            Some((Some("delete"), _)) => list.delete(&merge_key(map, meta.key)?),
            Some((Some("replace"), _)) => replaced = true,
            Some((Some("merge"), _)) => {
                return Err(Failure::Told("merging lists cannot yet be specified in the patch".into()));
            }
            Some((_, directive)) => return Err(unknown(directive, map)),
        }
    }
    if replaced {
        let items: Vec<Value> = plain.into_iter().map(|at| patch[at].clone()).collect();
        let keys = keys(&items, meta.key)?;
        let server = places(keys.iter().map(Some));
        let seen = list.seen(&[]);
        return Ok(Merged {
            items: arrange(keys.into_iter().zip(items).collect(), &Places::new(), &server),
            seen,
        });
    }
    let kept_keys: Vec<_> = list.kept_keys().cloned().collect();
    let (mut added, mut place_of_added, mut once) = (Vec::new(), HashMap::new(), HashSet::new());
    for at in plain {
        let Value::Object(change) = &mut patch[at] else { continue };
        let key = merge_key(change, meta.key)?;
        let there = match list.find(&key) {
            Some(there) => Some(there),
            None => place_of_added.get(&key).and_then(|at: &usize| added.get_mut(*at)).map(|(_, item)| item),
        };
        if let Some(there) = there.as_deref().filter(|_| !once.insert(key.clone())) {
            meta.place.spend(weight(there))?;
        }
        match there {
            Some(Value::Object(there)) => super::merge(there, change, meta.place)?,
            _ => {
                place_of_added.insert(key.clone(), added.len());
                added.push((key.clone(), Value::Object(change.clone())));
            }
        }
        named.push(key);
    }
    let (wanted, server) = (places(named.iter().map(Some)), places(kept_keys.iter().map(Option::as_ref)));
    let added_keys: Vec<_> = added.iter().map(|(key, _)| key.clone()).collect();
    let seen = list.seen(&added_keys);
    let mut all = Vec::with_capacity(kept_keys.len() + added.len());
    for (key, item) in kept_keys.into_iter().zip(list.into_items()) {
        match (key, item) {
            (Some(key), item) => all.push((key, item)),
            (None, Value::Object(map)) => return Err(no_merge_key(&map, meta.key)),
            (None, other) => return Err(no_object(&other)),
        }
    }
    all.extend(added);
    Ok(Merged { items: arrange(all, &wanted, &server), seen })
}

/// A list of objects of which some go.
struct Line {
    items: Vec<Option<Value>>,
    keys: Vec<Option<Key>>,
    at: HashMap<Key, Vec<usize>>,
    /// Behind the last one that is left.
    end: usize,
    /// Which item upstream leaves at the end of the list with each that it takes out, the last place first. Where it is the same
    /// one again the earlier note goes: a long key is not looked at once for each.
    left: Vec<Option<usize>>,
}

impl Line {
    fn of(items: Vec<Value>, key: &str) -> Result<Line, Failure> {
        let keys =
            items.iter().map(|item| item.get(key).map(Key::of).transpose()).collect::<Result<Vec<_>, _>>()?;
        let mut at: HashMap<Key, Vec<usize>> = HashMap::new();
        for (place, key) in keys.iter().enumerate() {
            if let Some(key) = key {
                at.entry(key.clone()).or_default().push(place);
            }
        }
        let end = items.len();
        Ok(Line { items: items.into_iter().map(Some).collect(), keys, at, end, left: Vec::new() })
    }

    /// Takes out all of a key.
    fn delete(&mut self, key: &Key) {
        for at in self.at.remove(key).unwrap_or_default() {
            while self.end > 0 && self.items[self.end - 1].is_none() {
                self.end -= 1;
            }
            let last = Some(self.end - 1);
            if let Some(before) = self.left.last_mut().filter(|before| **before == last) {
                *before = None;
            }
            self.left.push(last);
            self.items[at] = None;
        }
    }

    fn find(&mut self, key: &Key) -> Option<&mut Value> {
        let at = *self.at.get(key)?.first()?;
        self.items.get_mut(at)?.as_mut()
    }

    fn kept_keys(&self) -> impl Iterator<Item = &Option<Key>> {
        self.items.iter().zip(&self.keys).filter(|(item, _)| item.is_some()).map(|(_, key)| key)
    }

    fn into_items(self) -> impl Iterator<Item = Value> {
        self.items.into_iter().flatten()
    }

    /// The keys in the places of the list that was there, once these have been added.
    fn seen(&self, added: &[Key]) -> Vec<Option<Key>> {
        let left = self.left.iter().rev().map(|at| at.and_then(|at| self.keys[at].clone()));
        let added = added.iter().cloned().map(Some).take(self.left.len());
        let behind = added.len();
        self.kept_keys().cloned().chain(added).chain(left.skip(behind)).collect()
    }
}

/// The keys of all items, each of which has to have one.
pub(super) fn keys(items: &[Value], key: &str) -> Result<Vec<Key>, Failure> {
    items.iter().map(|item| item_key(item, key)).collect()
}

/// What tells an item apart: itself where there is no merge key.
pub(super) fn item_key(item: &Value, key: &str) -> Result<Key, Failure> {
    match item {
        scalar if key.is_empty() => Key::of(scalar),
        Value::Object(map) => merge_key(map, key),
        other => Err(no_object(other)),
    }
}

fn merge_key(item: &Map<String, Value>, key: &str) -> Result<Key, Failure> {
    item.get(key).map_or_else(|| Err(no_merge_key(item, key)), Key::of)
}

/// What the items of a list are.
pub(super) enum Items {
    Objects,
    Scalars,
}

/// What the items of two lists are: of one type, and no lists.
pub(super) fn same_type(original: &[Value], patch: &[Value]) -> Result<Items, Failure> {
    let mut all = original.iter().chain(patch);
    let first = match all.next() {
        None => return Err(Failure::Told("no elements in any of the given slices".into())),
        Some(Value::Null) => return Err(NULL_ITEM),
        Some(Value::Array(_)) => return Err(Failure::Unfit),
        Some(first) => first,
    };
    if all.any(|item| words::type_of(item) != words::type_of(first)) {
        let lists = Value::Array(vec![Value::Array(original.to_vec()), Value::Array(patch.to_vec())]);
        return Err(Failure::Told(format!("list element types are not identical: {}", printed(&lists))));
    }
    Ok(if first.is_object() { Items::Objects } else { Items::Scalars })
}
