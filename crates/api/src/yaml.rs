//! YAML as Kubernetes reads it: turned into JSON first, with YAML 1.1's numbers (`0400` is octal), and with
//! limits that a bomb of aliases cannot pass.

use serde_json::{Map, Value};
use serde_saphyr::options::DuplicateKeyPolicy;

use crate::json::{MAX_DEPTH, Parsed};

/// Why a document could not be read; one line, without the document's content.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("error converting YAML to JSON: {0}")]
pub struct YamlError(String);

impl YamlError {
    /// What is wrong, without the words that say what it was read for.
    pub fn cause(&self) -> &str {
        &self.0
    }
}

/// Reads one document. An empty one is `null`.
///
/// A repeated key is reported (by its name alone) and its last value wins, as Kubernetes does outside strict
/// validation.
pub fn parse(bytes: &[u8]) -> Result<Parsed, YamlError> {
    match read(bytes, DuplicateKeyPolicy::Error) {
        Ok(value) => Ok(Parsed { value, duplicates: Vec::new() }),
        Err(first) => {
            let Some((key, _)) = duplicate_key(&first) else { return Err(error(&first, bytes)) };
            let value = read(bytes, DuplicateKeyPolicy::LastWins).map_err(|e| error(&e, bytes))?;
            Ok(Parsed { value, duplicates: vec![key] })
        }
    }
}

/// What go-yaml says of the first repeated key.
pub fn repeated(bytes: &[u8]) -> Option<String> {
    let (key, line) = duplicate_key(&read(bytes, DuplicateKeyPolicy::Error).err()?)?;
    Some(format!("yaml: unmarshal errors:\n  line {line}: key {key:?} already set in map"))
}

fn read(bytes: &[u8], duplicates: DuplicateKeyPolicy) -> Result<Value, serde_saphyr::Error> {
    let options = serde_saphyr::options! {
        duplicate_keys: duplicates,
        legacy_octal_numbers: true,
        with_snippet: false,
        budget: serde_saphyr::budget! {
            max_depth: MAX_DEPTH,
            max_documents: 1,
            max_nodes: 500_000,
            max_aliases: 10_000,
        },
    };
    serde_saphyr::from_slice_with_options(bytes, options)
}

fn duplicate_key(error: &serde_saphyr::Error) -> Option<(String, u64)> {
    match error.without_snippet() {
        serde_saphyr::Error::DuplicateMappingKey { key, location, .. } => {
            Some((key.clone().unwrap_or_default(), location.line()))
        }
        _ => None,
    }
}

fn error(error: &serde_saphyr::Error, bytes: &[u8]) -> YamlError {
    let text = error.to_string();
    let line = text.lines().next().unwrap_or("cannot be read");
    if let Some(text) = unclosed(line, bytes) {
        return YamlError(text);
    }
    YamlError(format!("yaml: {}", line.chars().take(300).collect::<String>()))
}

/// A list or a map that the document's end cuts off, in go-yaml's words: the place where it began counts unless that is
/// the first line, else the last one.
fn unclosed(text: &str, bytes: &[u8]) -> Option<String> {
    let (bracket, place) = text.strip_prefix("unclosed bracket '")?.split_once("' at line ")?;
    let close = if bracket == "[" { ']' } else { '}' };
    let begun = place.split(',').next()?.trim().parse::<usize>().ok()?.saturating_sub(1);
    let last = String::from_utf8_lossy(bytes).lines().count();
    let (line, wanted) = match bytes.trim_ascii_end().last() {
        Some(b'[' | b'{' | b',' | b':') => (last, "node content".to_owned()),
        _ if begun > 0 => (begun, format!("',' or '{close}'")),
        _ => (last, format!("',' or '{close}'")),
    };
    Some(format!("yaml: line {line}: did not find expected {wanted}"))
}

/// Writes a value as a YAML document, keys sorted as Kubernetes' replies have them.
pub fn to_string(value: &Value) -> String {
    serde_saphyr::to_string(&sorted(value)).unwrap_or_default()
}

fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let mut entries: Vec<_> = map.iter().collect();
            entries.sort_by_key(|(k, _)| *k);
            Value::Object(entries.into_iter().map(|(k, v)| (k.clone(), sorted(v))).collect::<Map<_, _>>())
        }
        Value::Array(items) => items.iter().map(sorted).collect(),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn numbers_are_yaml_1_1s() {
        let parsed = parse(b"mode: 0400\nn: 10\ns: '0400'\nb: true\nx: ~\n").unwrap();
        assert_eq!(parsed.value, json!({"mode": 256, "n": 10, "s": "0400", "b": true, "x": null}));
    }

    #[test]
    fn a_repeated_key_is_reported() {
        let parsed = parse(b"a: 1\na: 2\n").unwrap();
        assert_eq!((parsed.value, parsed.duplicates), (json!({"a": 2}), vec!["a".to_owned()]));
    }

    #[test]
    fn bombs_and_nonsense_are_refused() {
        let mut bomb = String::from("a0: &a0 [x,x,x,x,x,x,x,x,x]\n");
        for i in 1..12 {
            bomb.push_str(&format!("a{i}: &a{i} [{}]\n", vec![format!("*a{}", i - 1); 9].join(",")));
        }
        assert!(parse(bomb.as_bytes()).is_err());
        assert!(parse(&[b'['; 100_000]).is_err());
        assert!(parse(b"a:\n\t- b").is_err());
        assert!(parse(b"\xff\xfe\xfd").is_err());
    }

    #[test]
    fn writes_what_it_reads() {
        let value = json!({"b": "0400", "a": ["true", 1, {"x": null}], "c": "line\nline\n"});
        assert_eq!(parse(to_string(&value).as_bytes()).unwrap().value, value);
    }
}
