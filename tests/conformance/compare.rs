//! What of an answer is compared, and how two of them are shown beside each other.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use tokensmith_tests::client::Answer;

use crate::normalise::Normaliser;
use crate::step::Step;

/// What is compared of an answer, and its JSON as it came.
pub fn compared(step: &Step, answer: &Answer, norm: &mut Normaliser) -> (Value, Option<Value>) {
    let mut out = Map::new();
    out.insert("status".into(), answer.status.into());
    let kind = first(answer, "content-type").unwrap_or_default();
    out.insert("type".into(), kind.split(';').next().unwrap_or("").into());
    for name in &step.compare_headers {
        let value = match name.strip_suffix('*') {
            Some(name) => {
                let mut all: Vec<_> = all(answer, name).into_iter().map(|text| norm.text(&text)).collect();
                all.sort_by_key(python);
                all.into()
            }
            None => first(answer, name).map_or(Value::Null, |text| norm.text(&text)),
        };
        out.insert(format!("header {name}"), value);
    }
    let raw = match json(step, answer) {
        Ok(raw) => raw,
        Err(text) => {
            match &step.text_has {
                Some(parts) => {
                    let held: Map<_, _> =
                        parts.iter().map(|p| (p.clone(), text.contains(p.as_str()).into())).collect();
                    out.insert("text_has".into(), held.into());
                }
                None => drop(out.insert("text".into(), norm.text(&text))),
            }
            None
        }
    };
    if let Some(equals) = &step.equals {
        let one = |(at, value): (&String, &Value)| {
            let want = [(at.clone(), value.clone())].into();
            (at.clone(), holds(answer, &want).into())
        };
        out.insert("equals".into(), equals.iter().map(one).collect::<Map<_, _>>().into());
    }
    if let Some(raw) = &raw {
        let mut shown = raw.clone();
        without_root_ca(&mut shown);
        step.any.iter().for_each(|at| put_any(&mut shown, at));
        for at in &step.unordered {
            if let Some(list) = shown.pointer_mut(at).and_then(Value::as_array_mut) {
                list.sort_by_key(python);
            }
        }
        if let Some(only) = &step.only {
            let mut picked = Map::new();
            for at in only {
                let name = norm.text(at).as_str().unwrap_or(at).to_owned();
                let value = shown.pointer(at).cloned().map(|value| in_order(at, value));
                picked.insert(name, value.map_or("<absent>".into(), |value| norm.walk(&value)));
            }
            out.insert("body".into(), picked.into());
        } else if step.body_compared {
            out.insert("body".into(), norm.walk(&shown));
        }
    }
    if let Some(parts) = &step.compare {
        out.retain(|key, _| parts.contains(key));
    }
    (out.into(), raw)
}

/// Whether an answer has all these values at these pointers; `status` is the HTTP status.
pub fn holds(answer: &Answer, want: &BTreeMap<String, Value>) -> bool {
    let doc: Option<Value> = serde_json::from_slice(&answer.body).ok();
    want.iter().all(|(at, value)| match at.as_str() {
        "status" => *value == answer.status,
        at => doc.as_ref().and_then(|doc| doc.pointer(at)) == Some(value),
    })
}

/// The answer as JSON, a stream as the list of its lines; what is no JSON comes back as text.
fn json(step: &Step, answer: &Answer) -> Result<Option<Value>, String> {
    let text = || String::from_utf8_lossy(&answer.body).into_owned();
    if answer.body.is_empty() && !(step.events().is_some() && answer.status == 200) {
        return Ok(None);
    }
    if step.events().is_some() && answer.status == 200 {
        let lines = answer.body.split(|b| *b == b'\n').filter(|line| !line.is_empty());
        let all = lines.map(serde_json::from_slice).collect::<Result<Vec<Value>, _>>();
        return all.map(|all| Some(all.into())).map_err(|_| text());
    }
    serde_json::from_slice(&answer.body).map(Some).map_err(|_| text())
}

/// Takes the config map away that a controller makes in each namespace: the recorded server had none.
fn without_root_ca(list: &mut Value) {
    let is_it = |item: &Value| {
        ["/metadata/name", "/object/metadata/name"]
            .iter()
            .any(|at| item.pointer(at).is_some_and(|name| name == "kube-root-ca.crt"))
    };
    for at in ["items", "rows"] {
        if let Some(items) = list.get_mut(at).and_then(Value::as_array_mut) {
            items.retain(|item| !is_it(item));
        }
    }
}

/// All values of a header, bytes taken as Latin-1, as Python's client does.
fn all(answer: &Answer, name: &str) -> Vec<String> {
    let text = |bytes: &[u8]| bytes.iter().map(|b| char::from(*b)).collect();
    answer.headers.get_all(name).iter().map(|v| text(v.as_bytes())).collect()
}

fn first(answer: &Answer, name: &str) -> Option<String> {
    all(answer, name).into_iter().next()
}

/// Replaces what is at a pointer, where there is something; a part `*` stands for every item.
fn put_any(doc: &mut Value, at: &str) {
    let Some(at) = at.strip_prefix('/') else { return };
    let (head, rest) = at.split_once('/').map_or((at, None), |(head, _)| (head, Some(&at[head.len()..])));
    let head = head.replace("~1", "/").replace("~0", "~");
    let put = |item: &mut Value| match rest {
        Some(rest) => put_any(item, rest),
        None => *item = "<any>".into(),
    };
    match doc {
        Value::Object(map) => {
            map.iter_mut().filter(|(k, _)| head == "*" || **k == head).for_each(|(_, v)| put(v))
        }
        Value::Array(items) => {
            items
                .iter_mut()
                .enumerate()
                .filter(|(i, _)| head == "*" || i.to_string() == head)
                .for_each(|(_, v)| put(v));
        }
        _ => {}
    }
}

/// Managed fields stand in the order of their seconds; sorted, they can be compared.
fn in_order(at: &str, mut value: Value) -> Value {
    if let (true, Some(entries)) = (at.ends_with("/managedFields"), value.as_array_mut()) {
        let key = |entry: &Value| {
            ["operation", "manager", "subresource", "apiVersion"]
                .map(|k| entry.get(k).and_then(Value::as_str).unwrap_or("None").to_owned())
        };
        entries.sort_by_key(key);
    }
    value
}

/// As Python's `json.dumps(value, sort_keys=True)` writes it: the order of what is `unordered`.
fn python(value: &Value) -> String {
    let text = |text: &str| {
        let quoted = Value::from(text).to_string();
        let mut out = String::with_capacity(quoted.len());
        for c in quoted.chars() {
            match c {
                '\u{7f}'.. => {
                    c.encode_utf16(&mut [0; 2]).iter().for_each(|u| out.push_str(&format!("\\u{u:04x}")))
                }
                c => out.push(c),
            }
        }
        out
    };
    match value {
        Value::Object(map) => {
            let sorted: BTreeMap<_, _> = map.iter().collect();
            let all: Vec<_> =
                sorted.into_iter().map(|(k, v)| format!("{}: {}", text(k), python(v))).collect();
            format!("{{{}}}", all.join(", "))
        }
        Value::Array(items) => format!("[{}]", items.iter().map(python).collect::<Vec<_>>().join(", ")),
        Value::String(s) => text(s),
        other => other.to_string(),
    }
}

/// What differs, a line for each place.
pub fn show(path: &str, want: &Value, got: &Value, out: &mut Vec<String>) {
    let (Value::Object(w), Value::Object(g)) = (want, got) else {
        if want != got {
            out.push(format!("      {path}: want {want}\n      {path}:  got {got}"));
        }
        return;
    };
    for (key, value) in w {
        match g.get(key) {
            None => out.push(format!("      {path}/{key}: missing, want {value}")),
            Some(other) => show(&format!("{path}/{key}"), value, other, out),
        }
    }
    for (key, value) in g.iter().filter(|(k, _)| !w.contains_key(*k)) {
        out.push(format!("      {path}/{key}: unexpected {value}"));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_a_server_allocates_is_only_there_or_not() {
        let mut doc = json!({"items": [{"ip": "10.0.0.1", "n": 1}, {"n": 2}], "a/b": 3});
        for at in ["/items/*/ip", "/a~1b", "/none/x", "/items/1/n"] {
            put_any(&mut doc, at);
        }
        assert_eq!(doc, json!({"items": [{"ip": "<any>", "n": 1}, {"n": "<any>"}], "a/b": "<any>"}));
    }

    #[test]
    fn what_has_no_order_is_sorted_as_python_sorts_it() {
        assert_eq!(
            python(&json!({"b": ["é", 1, null], "a": {"x": "😀"}})),
            r#"{"a": {"x": "\ud83d\ude00"}, "b": ["\u00e9", 1, null]}"#
        );
    }
}
