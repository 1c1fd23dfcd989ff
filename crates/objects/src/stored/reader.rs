//! An object and a part of it, read in one walk.

use std::sync::OnceLock;

use bytes::Bytes;

use super::part::Along;
use super::{FACTS, Facts, Part, Stored, may_be};
use crate::cursor::Cursor;

/// Those that facts are made of: the first ones.
const SPANS: u32 = (1 << FACTS.len()) - 1;

/// Reads objects of which a part is looked at, too: a start reads all there are, and a second walk would cost as much as the
/// first.
pub struct Reader<'p> {
    /// Those of the facts, then the part's that are not among them.
    paths: Vec<&'p [&'p str]>,
    /// The part's, a bit for each.
    parts: u32,
}

impl<'p> Reader<'p> {
    /// Of these paths, as [`Stored::part`] takes them; with those of the facts there are at most 32.
    pub fn new(part: &[&'p [&'p str]]) -> Self {
        let (mut paths, mut parts) = (FACTS.to_vec(), 0);
        for path in part {
            let at = paths.iter().position(|known| known == path).unwrap_or_else(|| {
                paths.push(path);
                paths.len() - 1
            });
            parts |= 1 << at;
        }
        Reader { paths, parts }
    }

    /// What a store holds, as [`Stored::read`] has it, and all of the part; none of it where the bytes had to be mended.
    pub fn read<'a>(&self, json: &'a Bytes, revision: u64) -> Option<(Stored, Option<Part<'a>>)> {
        let read = |from| {
            let mut found = [None; FACTS.len()];
            let part = Along { found: &mut found, spans: SPANS, parts: self.parts }.all(from, &self.paths)?;
            Ok((part, found))
        };
        let read = Cursor::new(json).and_then(read).or_else(|_| Cursor::spaced(json).and_then(read));
        match read.ok().filter(|_| may_be(json)) {
            Some((part, found)) => {
                let facts = Facts::of(json, &found);
                Some((Stored { json: json.clone(), revision, facts, wire: OnceLock::new() }, Some(part)))
            }
            None => Some((Stored::read(json.clone(), revision)?, None)),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    const PARTS: [&[&str]; 4] = [
        &["metadata", "name"],
        &["metadata", "annotations", "a"],
        &["spec", "nodeName"],
        &["spec", "list", "x"],
    ];

    /// The same is read as in two walks.
    fn same(text: &str) {
        let json = Bytes::copy_from_slice(text.as_bytes());
        let both = Reader::new(&PARTS).read(&json, 7);
        let Some((stored, part)) = both else {
            assert!(Stored::read(json.clone(), 7).is_none(), "{text}");
            return;
        };
        let wanted = Stored::read(json.clone(), 7).unwrap();
        let facts = |of: &Stored| {
            let names = [of.name(), of.namespace(), of.uid(), of.node(), of.account()].map(str::to_owned);
            (names, of.labels().map(<[u8]>::to_vec), of.facts.deletion, of.facts.head, of.facts.version)
        };
        assert_eq!(facts(&stored), facts(&wanted), "{text}");
        let (part, wanted) = (part.unwrap(), wanted.part(&PARTS));
        for path in PARTS {
            let at = |part: &Part<'_>| format!("{:?}", along(part, path));
            assert_eq!(at(&part), at(&wanted), "{text} {path:?}");
        }
    }

    fn along(part: &Part<'_>, path: &[&str]) -> Vec<String> {
        use crate::look::Look;
        match (part, path) {
            (Part::List(items), _) => items.iter().flat_map(|item| along(item, path)).collect(),
            (part, []) => vec![format!("{part:?}")],
            (part, [name, rest @ ..]) => part.member(name).map_or_else(Vec::new, |part| along(part, rest)),
        }
    }

    #[test]
    fn one_walk_reads_what_two_do() {
        let whole = json!({
            "kind": "Pod", "apiVersion": "v1",
            "metadata": {
                "name": "n", "namespace": "ns", "uid": "u", "labels": {"a": "b"}, "annotations": {"a": "1", "b": "2"},
                "deletionTimestamp": "2026-01-01T00:00:00Z", "managedFields": [{"manager": "m"}]
            },
            "spec": {"nodeName": "w", "serviceAccountName": "sa", "list": [{"x": [1, "2"], "y": 3}, {"x": null}]}
        });
        same(&whole.to_string());
        same(&serde_json::to_string_pretty(&whole).unwrap());
        // Repeated names, lists and texts where objects are expected, escapes, what is no JSON.
        for text in [
            r#"{"metadata":{"name":"a"},"metadata":{"uid":"b"}}"#,
            r#"{"metadata":{"name":"a","name":"b"},"spec":{"nodeName":"x"},"spec":[]}"#,
            r#"{"metadata":[{"name":"a"}],"spec":[{"nodeName":"x","list":{"x":1}}]}"#,
            r#"{"metadata":"name","spec":null}"#,
            r#"{"m\u0065tadata":{"name":"\u0061"},"spec":{"list":[[{"x":"\n"}]]}}"#,
            r#"{"metadata":{"name":1},"spec":{"list":{"x":{"y":[]}}}}"#,
            r#" {"metadata": {"name":"a"}, "metadata": {}}"#,
            "{}",
            "[]",
            "{",
            "",
            "{\"metadata\":{\"name\":\"a\"}} x",
        ] {
            same(text);
        }
    }

    #[test]
    fn of_what_had_to_be_mended_there_is_no_part() {
        let json = Bytes::from_static(b"{\"metadata\":{\"name\":\"a\xff\"}}");
        let (stored, part) = Reader::new(&PARTS).read(&json, 1).unwrap();
        assert_eq!((stored.name(), part), ("a\u{fffd}", None));
    }

    /// A value in which the names on the paths come often, repeated, escaped, with what is not expected behind them.
    fn value() -> impl Strategy<Value = String> {
        let leaf = prop::sample::select(vec![
            r#""2026-01-01T00:00:00Z""#,
            r#""a""#,
            r#""\u0061\n""#,
            r#""\ud800""#,
            "1",
            "1e999",
            "null",
            "true",
            "[]",
            "{}",
            "{ }",
        ]);
        leaf.prop_map(str::to_owned).prop_recursive(5, 40, 6, |inner| {
            let names = [
                "kind", "metadata", "m\\u0065tadata", "name", "n\\u0061me", "namespace", "uid", "labels", "annotations",
                "deletionTimestamp", "spec", "nodeName", "serviceAccountName", "list", "a", "x", "\\ud800",
            ];
            let member = (prop::sample::select(names.to_vec()), inner.clone())
                .prop_map(|(name, value)| format!("\"{name}\":{value}"));
            prop_oneof![
                1 => prop::collection::vec(inner, 0..3).prop_map(|items| format!("[{}]", items.join(","))),
                4 => prop::collection::vec(member, 0..6).prop_map(|members| format!("{{{}}}", members.join(","))),
            ]
        })
    }

    /// An object whose `metadata` and `spec` come so often.
    fn object() -> impl Strategy<Value = String> {
        let names = prop::sample::select(vec!["metadata", "spec", "spec", "m\\u0065tadata", "kind"]);
        let member = (names, value()).prop_map(|(name, value)| format!("\"{name}\":{value}"));
        prop::collection::vec(member, 0..5).prop_map(|members| format!("{{{}}}", members.join(",")))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn one_walk_reads_what_two_do_whatever_is_there(text in object()) {
            same(&text);
        }
    }
}
