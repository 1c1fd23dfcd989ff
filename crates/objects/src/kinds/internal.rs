//! Values as messages show them that print one of Go's own structs: upstream's internal types have no names for JSON, so each
//! field is there, under the name and in the order that it has in Go (`schema/kubernetes-1.36/internal.json`).

use std::collections::{BTreeMap, HashMap};
use std::sync::LazyLock;

use serde_json::{Map, Value};

/// A field: its name in Go, that in JSON, and its type; `schema/internal.py` says how they are written.
type Field = (String, String, String);

static TYPES: LazyLock<HashMap<String, Vec<Field>>> = LazyLock::new(|| {
    serde_json::from_str(include_str!("../../schema/kubernetes-1.36/internal.json"))
        .expect("a test reads the file, which is part of the program")
});

/// Shows a published value as the internal type (`core.Taint`, `*core.Probe`, `[]core.Volume`) would be shown.
pub(crate) fn shown(value: &Value, of: &str) -> Value {
    typed(value, of, &Value::Null)
}

/// The same of the internal type that is published as a type of the table (`storage/v1.CSINodeDriver`).
pub(crate) fn of_type(name: &str, value: &Value) -> Value {
    let (group, kind) = (name.split('/').next().unwrap_or(name), name.rsplit('.').next().unwrap_or(name));
    shown(value, &format!("{group}.{kind}"))
}

fn typed(value: &Value, of: &str, outer: &Value) -> Value {
    if let Some(of) = of.strip_prefix('*') {
        return if value.is_null() { Value::Null } else { typed(value, of, outer) };
    }
    match (of.strip_prefix("[]"), of.strip_prefix("map[]"), value) {
        (Some(of), _, Value::Array(items)) => items.iter().map(|item| typed(item, of, outer)).collect(),
        (_, Some(of), Value::Object(map)) => {
            let sorted: BTreeMap<_, _> = map.iter().collect();
            sorted.into_iter().map(|(key, value)| (key.clone(), typed(value, of, outer))).collect()
        }
        (Some(_), ..) | (_, Some(_), _) => Value::Null,
        _ => match (of, value) {
            ("string", Value::Null) => "".into(),
            ("bool", Value::Null) => false.into(),
            ("int" | "IntOrString", Value::Null) => 0.into(),
            ("Quantity", Value::Null) => "0".into(),
            _ => match TYPES.get(of) {
                Some(fields) => Value::Object(structure(value, fields, outer)),
                None => value.clone(),
            },
        },
    }
}

/// An embedded type stands among the fields of its holder, and so does embedded metadata.
fn structure(value: &Value, fields: &[Field], outer: &Value) -> Map<String, Value> {
    let mut out = Map::new();
    for (go, json, of) in fields {
        match (go.as_str(), json.as_str(), json.strip_prefix('^')) {
            ("", "", _) => {
                out.extend(TYPES.get(of).map(|fields| structure(value, fields, outer)).unwrap_or_default())
            }
            ("", embedded, _) => out.extend(value[embedded].as_object().cloned().unwrap_or_default()),
            (_, _, Some(name)) => drop(out.insert(go.clone(), typed(&outer[name], of, value))),
            _ => drop(out.insert(go.clone(), typed(&value[json.as_str()], of, value))),
        }
    }
    out
}

/// What differs of two values that are shown so, line by line (apimachinery `util/diff`). Nothing is told of values that are large:
/// shown with all their fields they are a dozen times as long, and each line of theirs is looked at.
pub(crate) fn difference(old: &Value, new: &Value, of: &str) -> String {
    if [old, new].iter().any(|value| is_longer(value, LOOKED_AT)) {
        return String::new();
    }
    let text = |value: &Value| pretty(&shown(value, of));
    let mut told = crate::difference::unified(&text(old), &text(new));
    if told.len() > TOLD {
        let end = told.as_bytes()[..TOLD].iter().rposition(|byte| *byte == b'\n');
        told.truncate(end.map_or(0, |end| end.saturating_add(1)));
    }
    told
}

/// Bytes of JSON that are looked at for a difference, and bytes of one that are told, in whole lines.
const LOOKED_AT: usize = 256 << 10;
const TOLD: usize = 256 << 10;

/// Whether the JSON of a value has more than so many bytes, without writing it.
fn is_longer(value: &Value, bytes: usize) -> bool {
    /// Counts down, and fails below nothing.
    struct Left(usize);

    impl std::io::Write for Left {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0 = self.0.checked_sub(bytes.len()).ok_or(std::io::ErrorKind::FileTooLarge)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    serde_json::to_writer(Left(bytes), value).is_err()
}

/// As Go's `json.MarshalIndent` writes with one blank a level.
fn pretty(value: &Value) -> String {
    use serde::Serialize;
    let mut out = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b" ");
    let done = value.serialize(&mut serde_json::Serializer::with_formatter(&mut out, formatter));
    done.expect("a value in memory can be written");
    let text = String::from_utf8(out).expect("JSON is UTF-8");
    // These letters stand in strings alone.
    text.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_type_names_types_that_are_there() {
        for (name, fields) in TYPES.iter() {
            for (_, _, of) in fields {
                let of = of.trim_start_matches("map[]").trim_start_matches(['*', '[', ']']);
                let known = matches!(of, "string" | "bool" | "int" | "IntOrString" | "Quantity" | "json")
                    || TYPES.contains_key(of);
                assert!(known, "{name}: {of}");
            }
        }
    }

    #[test]
    fn a_struct_has_every_field_in_its_own_order() {
        let taint = json!({"effect": "NoSchedule", "key": "k"});
        let want = r#"{"Key":"k","Value":"","Effect":"NoSchedule","TimeAdded":null}"#;
        assert_eq!(shown(&taint, "core.Taint").to_string(), want);
        // A volume's source, and what stands elsewhere in the published pod.
        let pod =
            json!({"hostNetwork": true, "securityContext": {}, "volumes": [{"name": "v", "emptyDir": {}}]});
        let shown = shown(&pod, "core.PodSpec");
        assert_eq!(shown["SecurityContext"]["HostNetwork"], true);
        assert_eq!(shown["Volumes"][0]["EmptyDir"], json!({"Medium": "", "SizeLimit": null}));
        assert_eq!((&shown["Containers"], &shown["HostAliases"]), (&Value::Null, &Value::Null));
    }

    #[test]
    fn a_difference_of_what_is_large_is_not_told() {
        let volumes = |count: usize, name: &str| {
            let all = (0..count).map(|n| json!({"name": format!("{name}{n}"), "emptyDir": {}}));
            json!({"volumes": all.collect::<Value>()})
        };
        let told = |count| difference(&volumes(count, "a"), &volumes(count, "b"), "core.PodSpec");
        assert!(told(2).contains("+   \"Name\": \"b1\",\n"));
        let cut = told(5000);
        assert!(cut.len() <= TOLD && cut.len() > TOLD - 100 && cut.ends_with('\n'));
        assert_eq!(told(20_000), "");
    }

    #[test]
    fn a_difference_shows_lines_of_both() {
        let (old, new) = (json!({"key": "k", "value": "<"}), json!({"key": "k", "value": "x"}));
        let want = concat!(
            "@@ -1,6 +1,6 @@\n {\n  \"Key\": \"k\",\n- \"Value\": \"\\u003c\",\n+ \"Value\": \"x\",\n",
            "  \"Effect\": \"\",\n  \"TimeAdded\": null\n }\n",
        );
        assert_eq!(difference(&old, &new, "core.Taint"), want);
    }
}
