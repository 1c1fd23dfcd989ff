//! The order of a merged list: what the patch names in the patch's order, what it does not name in the server's, and the two
//! interleaved as the server had them where it had both.

use std::collections::HashMap;
use std::rc::Rc;

use serde_json::Value;

use super::{Failure, NO_SCALAR};

/// What tells items apart: a scalar, shared. Go compares them with their types, so 1 and 1.0 are two.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Key {
    Bool(bool),
    Float(u64),
    Int(i64),
    Null,
    Text(Rc<str>),
}

impl Key {
    pub(super) fn of(value: &Value) -> Result<Key, Failure> {
        Ok(match value {
            Value::Null => Key::Null,
            Value::Bool(set) => Key::Bool(*set),
            Value::Number(n) => match n.as_i64() {
                Some(n) => Key::Int(n),
                None => Key::Float(n.as_f64().unwrap_or_default().to_bits()),
            },
            Value::String(text) => Key::Text(text.as_str().into()),
            Value::Array(_) | Value::Object(_) => return Err(NO_SCALAR),
        })
    }
}

/// Where each key stands first.
pub(super) type Places = HashMap<Key, usize>;

pub(super) fn places<'a>(keys: impl IntoIterator<Item = Option<&'a Key>>) -> Places {
    let mut places = Places::new();
    for (at, key) in keys.into_iter().enumerate() {
        if let Some(key) = key {
            places.entry(key.clone()).or_insert(at);
        }
    }
    places
}

/// Arranges items: those of `wanted` in its order, the others in the server's, both interleaved by the server's.
pub(super) fn arrange(items: Vec<(Key, Value)>, wanted: &Places, server: &Places) -> Vec<Value> {
    let (mut named, mut others) = (Vec::new(), Vec::new());
    for (key, value) in items {
        let at = server.get(&key).copied();
        match wanted.get(&key) {
            Some(place) => named.push((Some(*place), at, value)),
            None => others.push((at, at, value)),
        }
    }
    sort(&mut named);
    sort(&mut others);
    let mut out = Vec::with_capacity(named.len() + others.len());
    let (mut named, mut others) = (named.into_iter().peekable(), others.into_iter().peekable());
    loop {
        let first = match (others.peek(), named.peek()) {
            // Where the server had both, the one that it had first.
            (Some((_, Some(l), _)), Some((_, Some(r), _))) if l < r => others.next(),
            (Some(_), None) => others.next(),
            _ => named.next(),
        };
        match first {
            Some((_, _, value)) => out.push(value),
            None => return out,
        }
    }
}

/// Sorts by place. An item that has none is less than any other, and any other less than it, so what comes out is what Go's
/// stable sort makes of that.
fn sort<T>(items: &mut [(Option<usize>, Option<usize>, T)]) {
    if items.iter().all(|(place, ..)| place.is_some()) {
        items.sort_by_key(|(place, ..)| *place);
        return;
    }
    go_stable(items, |a, b| match (a.0, b.0) {
        (Some(a), Some(b)) => a < b,
        _ => true,
    });
}

/// Go's `sort.SliceStable`, step by step: blocks of twenty by insertion, then merged in place.
fn go_stable<T>(items: &mut [T], less: impl Fn(&T, &T) -> bool + Copy) {
    let mut block = 20;
    for run in items.chunks_mut(block) {
        for i in 1..run.len() {
            let mut j = i;
            while j > 0 && less(&run[j], &run[j - 1]) {
                run.swap(j, j - 1);
                j -= 1;
            }
        }
    }
    while block < items.len() {
        for pair in items.chunks_mut(block * 2).filter(|pair| pair.len() > block) {
            merge(pair, block, less);
        }
        block *= 2;
    }
}

/// Go's `symMerge` of two sorted runs, of which the second begins at `m`.
fn merge<T>(items: &mut [T], m: usize, less: impl Fn(&T, &T) -> bool + Copy) {
    let n = items.len();
    if m == 1 {
        let at = first(1, n, |h| !less(&items[h], &items[0]));
        items[..at].rotate_left(1);
        return;
    }
    if n - m == 1 {
        let at = first(0, m, |h| less(&items[m], &items[h]));
        items[at..].rotate_right(1);
        return;
    }
    let mid = n / 2;
    let sum = mid + m;
    let (start, end) = if m > mid { (sum - n, mid) } else { (0, m) };
    let start = first(start, end, |c| less(&items[sum - 1 - c], &items[c]));
    let end = sum - start;
    if start < m && m < end {
        items[start..end].rotate_left(m - start);
    }
    let (left, right) = items.split_at_mut(mid);
    if 0 < start && start < mid {
        merge(left, start, less);
    }
    if mid < end && end < n {
        merge(right, end - mid, less);
    }
}

/// The first place of a range where a question is answered with yes, as a binary search finds it.
fn first(from: usize, to: usize, yes: impl Fn(usize) -> bool) -> usize {
    let (mut from, mut to) = (from, to);
    while from < to {
        let at = from.midpoint(to);
        if yes(at) {
            to = at;
        } else {
            from = at + 1;
        }
    }
    from
}
