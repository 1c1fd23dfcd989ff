//! YAML as Kubernetes reads it: turned into JSON first, with YAML 1.1's numbers (`0400` is octal), and with
//! limits that a bomb of aliases cannot pass.

use std::collections::HashSet;
use std::{fmt, io};

use serde::de::{Deserialize, DeserializeOwned, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use serde_saphyr::Spanned;
use serde_saphyr::options::DuplicateKeyPolicy;

use crate::json::{MAX_DEPTH, Parsed};

/// Nodes of a document, aliases' repeats included.
const MAX_NODES: usize = 500_000;
/// Without aliases a document has no more nodes than bytes; with them, it may have so many more.
const ROOM: usize = 10_000;
const MIB: usize = 1 << 20;

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
/// ```
/// let read = tokensmith_api::yaml::parse(b"mode: 0400\nname: a")?;
/// assert_eq!(read.value["mode"], 256, "octal, as Kubernetes reads it");
/// # Ok::<_, tokensmith_api::yaml::YamlError>(())
/// ```
///
/// A repeated key is reported (by its name alone) and its last value wins, as Kubernetes does outside strict
/// validation.
///
/// Of several documents the first is read, as Kubernetes does.
pub fn parse(bytes: &[u8]) -> Result<Parsed, YamlError> {
    let bytes = first(bytes);
    with_room(bytes, || parse_here(bytes)).map_err(|e| YamlError(format!("yaml: {e}")))?
}

/// Reads a configuration file into a type: one document, in which nothing is passed over. A key that is there twice, a field
/// that the type does not know and a second document are refused, each with its line and column.
///
/// ```
/// use tokensmith_api::yaml::{self, Placed};
///
/// #[derive(Debug, serde::Deserialize)]
/// #[serde(deny_unknown_fields)]
/// struct Config {
///     port: Placed<u16>,
/// }
/// let config: Config = yaml::config(b"\nport: 80\n")?;
/// assert_eq!(config.port.refuse("is taken").to_string(), "is taken at line 2, column 7");
/// let error = yaml::config::<Config>(b"prot: 80\n").unwrap_err();
/// assert_eq!(error.to_string(), "unknown field `prot`, expected one of port at line 1, column 1");
/// # Ok::<_, yaml::ConfigError>(())
/// ```
///
/// # Errors
/// It is no YAML, or does not fit the type.
pub fn config<T: DeserializeOwned + Send>(bytes: &[u8]) -> Result<T, ConfigError> {
    with_room(bytes, || read(bytes, DuplicateKeyPolicy::Error).map_err(|e| ConfigError::of(&e)))
        .map_err(|e| ConfigError(e.to_string()))?
}

/// Why a configuration file is refused: one line with the place in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(String);

impl ConfigError {
    fn of(error: &serde_saphyr::Error) -> Self {
        let text = error.without_snippet().to_string();
        ConfigError(text.lines().next().unwrap_or("cannot be read").chars().take(500).collect())
    }
}

/// A value of a configuration file, and where it stands there.
#[derive(Clone, Debug)]
pub struct Placed<T> {
    /// The value.
    pub value: T,
    line: u64,
    column: u64,
}

impl<T> Placed<T> {
    /// Why this value is refused.
    pub fn refuse(&self, why: impl fmt::Display) -> ConfigError {
        ConfigError(format!("{why} at line {}, column {}", self.line, self.column))
    }

    /// The same place with another value.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Placed<U> {
        Placed { value: change(self.value), line: self.line, column: self.column }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Placed<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let Spanned { value, referenced, .. } = Spanned::deserialize(from)?;
        Ok(Placed { value, line: referenced.line(), column: referenced.column() })
    }
}

/// What go-yaml says of repeated keys.
pub fn repeated(bytes: &[u8]) -> Option<String> {
    let bytes = first(bytes);
    with_room(bytes, || repeated_here(bytes)).ok()?
}

/// The first document: up to the next mark at the beginning of a line, where no text may have one.
fn first(bytes: &[u8]) -> &[u8] {
    let marks = |line: &[u8], mark: &[u8]| {
        line.strip_prefix(mark).is_some_and(|rest| rest.first().is_none_or(u8::is_ascii_whitespace))
    };
    let (mut at, mut begun) = (0, false);
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        if begun && (marks(line, b"---") || marks(line, b"...")) {
            return &bytes[..at];
        }
        begun |= !matches!(line.trim_ascii().first(), None | Some(b'#' | b'%'));
        at += line.len();
    }
    bytes
}

fn parse_here(bytes: &[u8]) -> Result<Parsed, YamlError> {
    match read(bytes, DuplicateKeyPolicy::Error) {
        Ok(value) => Ok(Parsed { value, duplicates: Vec::new() }),
        Err(first) => {
            let Some(key) = duplicate_key(&first) else { return Err(error(&first, bytes)) };
            let value = read(bytes, DuplicateKeyPolicy::LastWins).map_err(|e| error(&e, bytes))?;
            Ok(Parsed { value, duplicates: vec![key] })
        }
    }
}

fn repeated_here(bytes: &[u8]) -> Option<String> {
    let Repeats(found) = read(bytes, DuplicateKeyPolicy::PassThrough).ok()?;
    let lines: String = found.iter().map(|text| format!("\n  {text}")).collect();
    (!found.is_empty()).then(|| format!("yaml: unmarshal errors:{lines}"))
}

/// So many are told of one body; upstream tells as many of JSON.
const MAX_REPEATS: usize = 100;

/// What is said of the repeated keys within a value. go-yaml looks at a key when it has read its value, and says the line
/// where that begins.
#[derive(Default)]
struct Repeats(Vec<String>);

impl Repeats {
    fn add(&mut self, more: impl IntoIterator<Item = String>) {
        let room = MAX_REPEATS.saturating_sub(self.0.len());
        self.0.extend(more.into_iter().take(room));
    }
}

impl<'de> Deserialize<'de> for Repeats {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Looker)
    }
}

struct Looker;

impl<'de> Visitor<'de> for Looker {
    type Value = Repeats;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E>(self, _: bool) -> Result<Repeats, E> {
        Ok(Repeats::default())
    }

    fn visit_i64<E>(self, _: i64) -> Result<Repeats, E> {
        Ok(Repeats::default())
    }

    fn visit_u64<E>(self, _: u64) -> Result<Repeats, E> {
        Ok(Repeats::default())
    }

    fn visit_i128<E>(self, _: i128) -> Result<Repeats, E> {
        Ok(Repeats::default())
    }

    fn visit_u128<E>(self, _: u128) -> Result<Repeats, E> {
        Ok(Repeats::default())
    }

    fn visit_f64<E>(self, _: f64) -> Result<Repeats, E> {
        Ok(Repeats::default())
    }

    fn visit_str<E>(self, _: &str) -> Result<Repeats, E> {
        Ok(Repeats::default())
    }

    fn visit_bytes<E>(self, _: &[u8]) -> Result<Repeats, E> {
        Ok(Repeats::default())
    }

    fn visit_unit<E>(self) -> Result<Repeats, E> {
        Ok(Repeats::default())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Repeats, A::Error> {
        let mut all = Repeats::default();
        while let Some(Repeats(found)) = items.next_element()? {
            all.add(found);
        }
        Ok(all)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Repeats, A::Error> {
        let (mut all, mut keys) = (Repeats::default(), HashSet::new());
        while let Some(key) = entries.next_key::<Value>()? {
            let Spanned { value: Repeats(found), referenced, .. } =
                entries.next_value::<Spanned<Repeats>>()?;
            all.add(found);
            if !keys.insert(key.to_string()) {
                all.add([format!("line {}: key {key} already set in map", referenced.line())]);
            }
        }
        Ok(all)
    }
}

fn read<T: DeserializeOwned>(bytes: &[u8], duplicates: DuplicateKeyPolicy) -> Result<T, serde_saphyr::Error> {
    let options = serde_saphyr::options! {
        duplicate_keys: duplicates,
        legacy_octal_numbers: true,
        with_snippet: false,
        budget: serde_saphyr::budget! {
            max_depth: MAX_DEPTH,
            max_documents: 1,
            max_nodes: MAX_NODES.min(ROOM + bytes.len()),
            max_aliases: ROOM,
            // What aliases repeat, and what is kept for them: in proportion to what was sent.
            max_total_scalar_bytes: MIB + 2 * bytes.len(),
            max_recorded_anchor_events: ROOM + 4 * bytes.len(),
            max_recorded_anchor_bytes: MIB + 4 * bytes.len(),
        },
    };
    serde_saphyr::from_slice_with_options(bytes, options)
}

fn duplicate_key(error: &serde_saphyr::Error) -> Option<String> {
    match error.without_snippet() {
        serde_saphyr::Error::DuplicateMappingKey { key, .. } => Some(key.clone().unwrap_or_default()),
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
    let write = || serde_saphyr::to_string(&sorted(value)).unwrap_or_default();
    apart(write).unwrap_or_default()
}

/// The stack that the deepest document takes, several times over: each level of one takes the library tens of kilobytes
/// where nothing is optimised. What is not used of it costs nothing.
const STACK: usize = 64 << 20;
/// With no more of these a document cannot be deep.
const FEW: usize = 24;

/// Reads a document where there is room for its depth: a stack that overflows ends the process, and with it everybody's
/// requests.
fn with_room<T: Send>(bytes: &[u8], work: impl FnOnce() -> T + Send) -> io::Result<T> {
    // Whatever holds something begins with one of them.
    let holders = bytes.iter().filter(|byte| matches!(byte, b'[' | b'{' | b':' | b'-' | b'?'));
    if holders.take(FEW + 1).count() <= FEW { Ok(work()) } else { apart(work) }
}

/// Does something on a thread of its own, with a large stack.
fn apart<T: Send>(work: impl FnOnce() -> T + Send) -> io::Result<T> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("yaml".into()).stack_size(STACK);
        let done = thread.spawn_scoped(scope, work)?.join();
        Ok(done.unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })
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
    fn of_several_documents_the_first_is_read() {
        for (text, want) in [
            ("a: 1\n---\na: 2\n", json!({"a": 1})),
            ("# said first\n%YAML 1.1\n---\na: 1\n...\n---\nb: [\n", json!({"a": 1})),
            ("--- {a: 1}\n--- {a: 2}", json!({"a": 1})),
            ("---\n---\na: 1\n", json!(null)),
            ("a: |\n  ---\n  b\n", json!({"a": "---\nb\n"})),
            ("a: ---b\n", json!({"a": "---b"})),
        ] {
            assert_eq!(parse(text.as_bytes()).map(|parsed| parsed.value), Ok(want), "{text}");
        }
        assert_eq!(repeated(b"a: 1\n---\na: 2\na: 3\n"), None);
    }

    #[test]
    fn all_repeated_keys_are_told_with_the_lines_of_their_values() {
        for (text, want) in [
            ("a: 1\na: 2\n", "\n  line 2: key \"a\" already set in map"),
            (
                "m:\n  a: 1\n  b: x\n  a: 2\n  b: y\nl:\n- k: 1\n  k: 2\n",
                "\n  line 4: key \"a\" already set in map\n  line 5: key \"b\" already set in map\n  line 8: key \"k\" already set in map",
            ),
            // What is within a value comes before its own key.
            (
                "m: {}\nm:\n  a: 1\n  a: 2\n",
                "\n  line 4: key \"a\" already set in map\n  line 3: key \"m\" already set in map",
            ),
            ("1: a\n1: b\n", "\n  line 2: key 1 already set in map"),
        ] {
            assert_eq!(repeated(text.as_bytes()), Some(format!("yaml: unmarshal errors:{want}")), "{text}");
        }
        assert_eq!(repeated(b"a: &x {b: 1}\nc: *x\nd: {b: 2}\n"), None);
        let many = "a: 1\n".repeat(1000);
        assert_eq!(repeated(many.as_bytes()).unwrap().lines().count(), 1 + MAX_REPEATS);
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

    /// Each alias repeats what it stands for: a text that is half of a document, ten thousand times, would be its square.
    #[test]
    fn aliases_repeat_no_more_than_a_document_can_say_itself() {
        let repeats = |size: usize, times: usize| {
            let text = format!("a: &a {}\nb:\n{}", "x".repeat(size), "- *a\n".repeat(times));
            parse(text.as_bytes()).map(|parsed| parsed.value["b"].as_array().map_or(0, Vec::len))
        };
        assert_eq!(repeats(1000, 90), Ok(90), "90 KB of 1 KB");
        assert!(repeats(100_000, 90).is_err(), "9 MB of 100 KB");
        assert!(repeats(50_000, 90).is_err(), "4.5 MB of 50 KB");
        assert!(repeats(1, 1000).is_err(), "aliases without end");
        let lists = format!("a: &a [{}]\nb:\n{}", "x,".repeat(1000), "- *a\n".repeat(90));
        assert!(parse(lists.as_bytes()).is_err(), "90,000 nodes of 2 KB");
        // Anchors within anchors: each keeps what is within it.
        let nested = format!("{}{}{}", "&a [".repeat(500), "x,".repeat(50_000), "]".repeat(500));
        assert!(parse(nested.as_bytes()).is_err());
        assert_eq!(
            parse(format!("[{}]", "x,".repeat(200_000)).as_bytes()).unwrap().value.as_array().unwrap().len(),
            200_000
        );
    }

    /// A thread of a server has two megabytes, as this one has.
    #[test]
    fn a_deep_document_overflows_no_stack() {
        for (open, close) in [("[", "]"), ("{a: ", "}"), ("- ", ""), ("? ", ""), ("[a: ", "]")] {
            for depth in [100, MAX_DEPTH - 2, MAX_DEPTH + 2, 100_000] {
                let text = format!("{}1{}", open.repeat(depth), close.repeat(depth));
                // The same walk, with places.
                let _ = repeated(text.as_bytes());
                if let Ok(parsed) = parse(text.as_bytes()) {
                    assert!(depth < MAX_DEPTH, "{open} {depth}");
                    assert!(!to_string(&parsed.value).is_empty(), "{open} {depth}");
                }
            }
        }
        let lines: String = (0..400).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect();
        assert!(parse(lines.as_bytes()).is_ok());
    }

    #[test]
    fn writes_what_it_reads() {
        let value = json!({"b": "0400", "a": ["true", 1, {"x": null}], "c": "line\nline\n"});
        assert_eq!(parse(to_string(&value).as_bytes()).unwrap().value, value);
    }
}
