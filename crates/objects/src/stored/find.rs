//! Values at some paths of a JSON text, in one pass and without a tree.

use crate::cursor::{Cursor, Malformed};

/// What stands at each of the paths, as it is written; of a key that is repeated the last one, as a tree has it. No path may
/// begin with another one.
///
/// # Errors
/// The text is no JSON.
pub(super) fn find<'a, const N: usize>(
    json: &'a [u8],
    paths: &[&[&str]; N],
) -> Result<[Option<&'a str>; N], Malformed> {
    all(Cursor::new(json)?, paths).or_else(|_| all(Cursor::spaced(json)?, paths))
}

/// The same of JSON that has been read as such before: what no path leads to is passed without being judged again.
pub(super) fn find_known<'a, const N: usize>(
    json: &'a [u8],
    paths: &[&[&str]; N],
) -> Result<[Option<&'a str>; N], Malformed> {
    all(Cursor::new(json)?.known(), paths).or_else(|_| all(Cursor::spaced(json)?.known(), paths))
}

fn all<'a, const N: usize>(
    mut from: Cursor<'a>,
    paths: &[&[&str]; N],
) -> Result<[Option<&'a str>; N], Malformed> {
    let mut found = [None; N];
    Search { found: &mut found, first: false }.walk(&mut from, Way::begin(paths))?;
    from.end()?;
    Ok(found)
}

/// What stands at a path of JSON that has been read as such before, for the first time: nothing behind it is read.
pub(super) fn first<'a>(json: &'a [u8], path: &[&str]) -> Option<&'a str> {
    let mut found = [None];
    let mut from = Cursor::spaced(json).ok()?.known();
    // Leaving early is an error to the walk.
    let _ = Search { found: &mut found, first: true }.walk(&mut from, Way::begin(&[path]));
    found[0]
}

/// Calls with each member of an object whose value is a string.
pub(super) fn texts(json: &[u8], each: &mut dyn FnMut(&str, &str)) {
    let mut walk = |from: &mut Cursor<'_>| {
        from.enter("{")?;
        while let Some(name) = from.member()? {
            if from.peek() != b'"' {
                from.skip()?;
            } else if let Some((name, value)) = name.read().zip(from.string()?.read()) {
                each(&name, &value);
            }
        }
        Ok::<_, Malformed>(())
    };
    // The bytes are a value that was found in JSON: what cannot be read of it is no string.
    let _ = Cursor::spaced(json).map(|mut from| walk(&mut from));
}

/// Which paths lead through a value: a bit for each.
#[derive(Clone, Copy)]
pub(super) struct Way<'p> {
    paths: &'p [&'p [&'p str]],
    depth: usize,
    here: u32,
}

impl<'p> Way<'p> {
    /// All of them, of which there are at most 32.
    pub(super) fn begin(paths: &'p [&'p [&'p str]]) -> Self {
        assert!(paths.len() <= 32, "a bit for each");
        Way { paths, depth: 0, here: paths.iter().enumerate().fold(0, |all, (at, _)| all | 1 << at) }
    }

    /// What leads on through a name, if anything does.
    pub(super) fn through(self, name: &str) -> Option<Self> {
        let (mut here, mut last) = (0, (None, false));
        for bit in bits(self.here) {
            let step = self.paths[bit.trailing_zeros() as usize][self.depth];
            // Neighbours begin alike, mostly by the very same text.
            if !last.0.is_some_and(|before| std::ptr::eq::<str>(before, step)) {
                last = (Some(step), step == name);
            }
            if last.1 {
                here |= bit;
            }
        }
        (here != 0).then_some(Way { here, depth: self.depth + 1, ..self })
    }

    /// Which of some paths, a bit for each, lead through here.
    pub(super) fn leads(self, of: u32) -> impl Iterator<Item = usize> {
        bits(self.here & of).map(|bit| bit.trailing_zeros() as usize)
    }

    /// Which path ends here, if one does: then no other leads through.
    pub(super) fn end(self) -> Option<usize> {
        let at = self.here.trailing_zeros() as usize;
        (self.paths[at].len() == self.depth).then_some(at)
    }
}

fn bits(mut of: u32) -> impl Iterator<Item = u32> {
    std::iter::from_fn(move || {
        let bit = of & of.wrapping_neg();
        of ^= bit;
        (bit != 0).then_some(bit)
    })
}

struct Search<'f, 'a> {
    found: &'f mut [Option<&'a str>],
    /// Whether to stop at what is found first.
    first: bool,
}

impl<'a> Search<'_, 'a> {
    fn walk(&mut self, from: &mut Cursor<'a>, way: Way<'_>) -> Result<(), Malformed> {
        if from.peek() != b'{' {
            return from.skip();
        }
        from.enter("{")?;
        while let Some(name) = from.member()? {
            let name = name.read().ok_or_else(|| from.malformed())?;
            let Some(way) = way.through(&name) else {
                from.skip()?;
                continue;
            };
            if let Some(at) = way.end() {
                let begin = from.at();
                from.skip()?;
                self.found[at] = Some(from.since(begin));
                if self.first {
                    return Err(from.malformed());
                }
            } else {
                // What an earlier one of the same key has left counts no more.
                way.leads(u32::MAX).for_each(|at| self.found[at] = None);
                self.walk(from, way)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    const PATHS: [&[&str]; 4] = [&["a"], &["b", "a"], &["b", "c", "a"], &["c"]];

    fn texts(json: &str) -> [Option<String>; 4] {
        let found = find(json.as_bytes(), &PATHS).unwrap();
        assert_eq!(find_known(json.as_bytes(), &PATHS).unwrap(), found, "{json}");
        found.map(|raw| raw.map(str::to_owned))
    }

    #[test]
    fn values_are_found_as_they_are_written() {
        let found = texts(r#" {"x": [{"a": 1}], "b":{"a" : "\u0061","c":{"a":{ }}}, "\u0063": null}"#);
        assert_eq!(found, [None, Some(r#""\u0061""#.into()), Some("{ }".into()), Some("null".into())]);
        assert_eq!(texts("[1]"), [None, None, None, None]);
        let early = first(br#"{"x":{"a":0},"b":{"a":1},"b":{"a":2"#, &["b", "a"]);
        assert_eq!(early, Some("1"), "what follows is not read");
        assert!(first(b"{}", &["b"]).is_none());
        assert!(find(br#"{"a":1"#, &PATHS).is_err() && find(br#"{"a":1}x"#, &PATHS).is_err());
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(json!(null)),
            any::<i64>().prop_map(Value::from),
            "[a\"ü\\\\]{0,3}".prop_map(Value::from)
        ];
        leaf.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
                prop::collection::hash_map("[abcd]", inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn the_same_is_found_as_in_a_tree(value in value()) {
            let text = value.to_string();
            let wanted = PATHS.map(|path| path.iter().try_fold(&value, |v, key| v.get(key)).map(Value::to_string));
            prop_assert_eq!(texts(&text), wanted);
        }

        /// As a tree has it, where a key is repeated.
        #[test]
        fn the_last_of_repeated_keys_counts(keys in prop::collection::vec(("[abc]", value()), 0..6)) {
            let members: Vec<_> = keys.iter().map(|(key, value)| format!("\"{key}\":{value}")).collect();
            let text = format!("{{{}}}", members.join(","));
            let tree: Value = serde_json::from_str(&text).unwrap();
            let wanted = PATHS.map(|path| path.iter().try_fold(&tree, |v, key| v.get(key)).map(Value::to_string));
            prop_assert_eq!(texts(&text), wanted);
        }
    }
}
