//! `$setElementOrder`: the order that a patch gives a list.

use serde_json::{Map, Value};

use super::lists::{Merged, item_key, keys, merge_seen, same_type};
use super::meta::{Meta, Place};
use super::order::{Key, Places, arrange, places};
use super::{
    BAD_ORDER, DIRECTIVE, Failure, ORDER, drop_directives, key_of, no_list, no_merge_key, no_object, printed,
};

/// Merges the lists of which a patch gives the order, and takes them out of the patch.
pub(super) fn merge_ordered(
    original: &mut Map<String, Value>,
    patch: &mut Map<String, Value>,
    place: Place<'_>,
) -> Result<(), Failure> {
    if !patch.keys().any(|name| name.starts_with(ORDER)) {
        return Ok(());
    }
    let (orders, rest): (Vec<_>, Vec<_>) =
        std::mem::take(patch).into_iter().partition(|(name, _)| name.starts_with(ORDER));
    patch.extend(rest);
    for (directive, order) in orders {
        let Value::Array(order) = order else { return Err(no_list(&order)) };
        let name = key_of(&directive, ORDER).ok_or(BAD_ORDER)?;
        let there = original.get_mut(name).map(list).transpose()?;
        let change = patch.get_mut(name).map(list).transpose()?;
        let meta = place.list(name)?;
        judge(change.as_deref().map_or(&[], Vec::as_slice), &order, meta.key)?;
        if let Some(arranged) = merged(there, change, &order, &meta)? {
            original.insert(name.into(), Value::Array(arranged));
            patch.swap_remove(name);
        }
    }
    Ok(())
}

fn list(value: &mut Value) -> Result<&mut Vec<Value>, Failure> {
    match value {
        Value::Array(items) => Ok(items),
        other => Err(no_list(other)),
    }
}

/// A list in the order that a patch gives it; nothing where there is none.
fn merged(
    there: Option<&mut Vec<Value>>,
    change: Option<&mut Vec<Value>>,
    order: &[Value],
    meta: &Meta<'_>,
) -> Result<Option<Vec<Value>>, Failure> {
    let types =
        same_type(there.as_deref().map_or(&[], Vec::as_slice), change.as_deref().map_or(&[], Vec::as_slice));
    // Objects without a merge key have no order: the first one is told, unless the patch has some.
    let unordered = there.as_deref().and_then(|there| there.first()).filter(|_| meta.key.is_empty());
    let unordered = unordered.and_then(Value::as_object).map(|first| no_merge_key(first, meta.key));
    let merged = match (there, change) {
        (None, None) => return Ok(None),
        (None, Some(change)) => {
            change.retain_mut(drop_directives);
            Merged { seen: Vec::new(), items: std::mem::take(change) }
        }
        (Some(there), None) => Merged { seen: seen(there, meta.key), items: std::mem::take(there) },
        (Some(there), Some(change)) if meta.strategy == "merge" => {
            merge_seen(std::mem::take(there), change, meta, false)?
        }
        (Some(there), Some(change)) => Merged { seen: seen(there, meta.key), items: std::mem::take(change) },
    };
    let (wanted, end) = places_of(order, meta.key)?;
    let mut items = Vec::with_capacity(merged.items.len());
    for item in merged.items {
        let key = item_key(&item, meta.key)?;
        if let Some(end) = end.filter(|_| !wanted.contains_key(&key)) {
            return Err(Failure::Told(format!("value for key {end} is not a map")));
        }
        items.push((key, item));
    }
    types?;
    unordered.map_or(Ok(()), Err)?;
    keys(order, meta.key)?;
    let server = places(merged.seen.iter().map(Option::as_ref));
    Ok(Some(arrange(items, &wanted, &server)))
}

/// Where each key stands first in the order, as far as its items are objects; and where they are no longer.
fn places_of(order: &[Value], key: &str) -> Result<(Places, Option<usize>), Failure> {
    let end = if key.is_empty() { None } else { order.iter().position(|item| !item.is_object()) };
    let order = &order[..end.unwrap_or(order.len())];
    let found =
        if key.is_empty() { keys(order, key)?.into_iter().map(Some).collect() } else { seen(order, key) };
    Ok((places(found.iter().map(Option::as_ref)), end))
}

/// What tells the items of a list apart, as far as they have it.
fn seen(items: &[Value], key: &str) -> Vec<Option<Key>> {
    let of = |item: &Value| match key {
        "" => Key::of(item).ok(),
        key => item.get(key).and_then(|value| Key::of(value).ok()),
    };
    items.iter().map(of).collect()
}

/// Whether the items of a patch stand in its list as they stand in its order, deletions excepted.
fn judge(patch: &[Value], order: &[Value], merge_key: &str) -> Result<(), Failure> {
    if patch.is_empty() || order.is_empty() {
        return Ok(());
    }
    let mut named = Vec::with_capacity(patch.len());
    for item in patch {
        match item {
            _ if merge_key.is_empty() => named.push(item),
            Value::Object(map) if map.get(DIRECTIVE).is_some_and(|directive| directive == "delete") => {}
            Value::Object(_) => named.push(item),
            other => return Err(no_object(other)),
        }
    }
    // Upstream does not look at what is left once the order has ended: a directive there is an item that the order has not got.
    let mut order_left = order.iter();
    let fits = named.iter().try_fold(true, |fits, item| {
        if !fits || order_left.as_slice().is_empty() {
            return Ok(false);
        }
        if item.get(DIRECTIVE).is_some() {
            return Ok(true);
        }
        let key = item_key(item, merge_key)?;
        for other in order_left.by_ref() {
            if item_key(other, merge_key)? == key {
                return Ok(true);
            }
        }
        Ok(false)
    })?;
    if fits {
        return Ok(());
    }
    let (patch, order) = (Value::Array(patch.to_vec()), Value::Array(order.to_vec()));
    Err(Failure::Told(format!(
        "The order in patch list:\n{}\n doesn't match {ORDER} list:\n{}\n",
        printed(&patch),
        printed(&order)
    )))
}
