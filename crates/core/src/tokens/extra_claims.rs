//! Claims that a token carries besides Kubernetes' own: from its profile, and from its account's annotation.
//!
//! Promises: none has, in the eyes of any verifier, the name of a claim that means something to the token's validity or
//! to Kubernetes; all of a token's are bounded in number, size and depth; the same claims give the same bytes.

use serde_json::{Map, Value};
use tokensmith_api::json;
use tokensmith_objects::FieldError;
use tokensmith_objects::field::{Reason, go_quote};

use crate::error::Error;

/// The annotation of a service account with the claims of its tokens, a JSON object. Only who has the verb
/// `set-claims` on the account may change it.
pub const ANNOTATION: &str = "tokensmith.dev/claims";

/// How many claims a token may carry.
pub const MAX_CLAIMS: usize = 32;
/// How long a token's claims may be together, as the payload has them.
pub const MAX_BYTES: usize = 4096;
/// How deep objects and lists may nest within a claim.
pub const MAX_DEPTH: usize = 8;
/// How long a claim's name may be.
pub const MAX_NAME: usize = 128;

/// RFC 7519 §4.1.
const REGISTERED: [&str; 7] = ["aud", "exp", "iat", "iss", "jti", "nbf", "sub"];
/// Kubernetes' own claims are under this name, those of legacy tokens under it and a slash.
const KUBERNETES: &str = "kubernetes.io";

/// Claims that have been checked, sorted by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExtraClaims(Vec<ExtraClaim>);

/// One claim, ready to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExtraClaim {
    name: String,
    /// `"NAME":VALUE`
    json: Vec<u8>,
}

/// Why claims are refused. One line that says how to mend it, without their values.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClaimsError {
    /// Of two values, verifiers would see the one or the other.
    #[error("the key {} is there twice: keep one of them", go_quote(.0))]
    Duplicate(String),
    /// A name that is too long, or that people cannot read.
    #[error(
        "the claim name {} must be 1 to {MAX_NAME} printable ASCII characters without spaces",
        go_quote(.0)
    )]
    Name(String),
    /// Something else than an object.
    #[error("must be a JSON object of claim names and their values")]
    NoObject,
    /// A number that would not arrive as it was written.
    #[error("the claim {} holds a number that 64 bits cannot hold: write it as a string", go_quote(.0))]
    Number(String),
    /// A name that is not free.
    #[error("the claim {} is set by the issuer alone: use another name", go_quote(.0))]
    Reserved(String),
    /// No JSON.
    #[error("is not valid JSON: {0}")]
    Syntax(String),
    /// A value that nests too deeply.
    #[error("the claim {} nests deeper than {MAX_DEPTH} levels: flatten it", go_quote(.0))]
    TooDeep(String),
    /// Too much of it all.
    #[error("a token may carry at most {MAX_BYTES} bytes of extra claims: shorten them")]
    TooLarge,
    /// Too many of them.
    #[error("a token may carry at most {MAX_CLAIMS} extra claims, these are {0}: leave some out")]
    TooMany(usize),
}

impl ClaimsError {
    /// The 422 for an account whose annotation tokens cannot carry. Without the value: who asks for a token need not have
    /// the right to read its account.
    pub fn of_account(&self, account: &str) -> Error {
        let error = FieldError {
            field: format!("metadata.annotations[{ANNOTATION}]"),
            reason: Reason::Invalid,
            message: format!("Invalid value: {self}"),
        };
        Error::invalid("", "ServiceAccount", account, vec![error])
    }
}

impl ExtraClaims {
    /// Checks claims that have been read already.
    ///
    /// # Errors
    /// A name that is not free or that people cannot read, a number that 64 bits cannot hold, or too much of it.
    pub fn new(map: &Map<String, Value>) -> Result<Self, ClaimsError> {
        let mut claims = map.iter().map(|(name, value)| claim(name, value)).collect::<Result<Vec<_>, _>>()?;
        claims.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        bounded(ExtraClaims(claims))
    }

    /// Reads the annotation's text.
    ///
    /// # Errors
    /// It is no JSON object, has a name twice, or is as [`Self::new`] refuses.
    pub fn parse(text: &str) -> Result<Self, ClaimsError> {
        // Before it is read: whoever may write it must not make each of the account's tokens cost more than this.
        if text.len() > MAX_BYTES {
            return Err(ClaimsError::TooLarge);
        }
        let parsed = json::parse(text.as_bytes()).map_err(|e| ClaimsError::Syntax(e.to_string()))?;
        // The reader above mends what it reads as Go does, lone surrogates and numbers beyond all bounds; here that
        // would sign something else than was written.
        if let Err(e) = serde_json::from_str::<Value>(text) {
            return Err(ClaimsError::Syntax(e.to_string()));
        }
        if let Some(key) = parsed.duplicates.into_iter().next() {
            return Err(ClaimsError::Duplicate(key));
        }
        match parsed.value {
            Value::Object(map) => Self::new(&map),
            _ => Err(ClaimsError::NoObject),
        }
    }

    /// These and the others, of two with one name these.
    ///
    /// # Errors
    /// Together they are too much.
    pub fn over(&self, others: ExtraClaims) -> Result<Self, ClaimsError> {
        let mut all = self.0.clone();
        all.extend(others.0.into_iter().filter(|other| self.0.iter().all(|own| own.name != other.name)));
        all.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        bounded(ExtraClaims(all))
    }

    /// The claims, by name.
    pub fn as_slice(&self) -> &[ExtraClaim] {
        &self.0
    }
}

impl ExtraClaim {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// `"NAME":VALUE`, as the payload has it.
    pub fn json(&self) -> &[u8] {
        &self.json
    }
}

fn claim(name: &str, value: &Value) -> Result<ExtraClaim, ClaimsError> {
    if name.is_empty() || name.len() > MAX_NAME || !name.bytes().all(|c| c.is_ascii_graphic()) {
        return Err(match reserved(name) {
            true => ClaimsError::Reserved(name.chars().take(MAX_NAME).collect()),
            false => ClaimsError::Name(name.chars().take(MAX_NAME).collect()),
        });
    }
    if reserved(name) {
        return Err(ClaimsError::Reserved(name.into()));
    }
    // The depth first: what follows walks the value.
    if !shallow(value, MAX_DEPTH) {
        return Err(ClaimsError::TooDeep(name.into()));
    }
    if !exact(value) {
        return Err(ClaimsError::Number(name.into()));
    }
    let mut json = Vec::new();
    json::write_str(&mut json, name);
    json.push(b':');
    json::write_sorted(&mut json, value);
    Ok(ExtraClaim { name: name.into(), json })
}

/// Whether a verifier could take the name for one that is the issuer's. Go's `encoding/json` finds a struct's field
/// whatever the case, and takes U+017F for an `s` and U+212A for a `k`; others have foldings of their own, so that
/// `İss` or `iß` may be `iss` somewhere.
fn reserved(name: &str) -> bool {
    REGISTERED.contains(&folded(name).as_str()) || is_kubernetes(name)
}

/// As a verifier may read a name.
pub(super) fn folded(name: &str) -> String {
    let folded: String = name.to_uppercase().to_lowercase().chars().filter(|c| *c != '\u{307}').collect();
    folded.trim().to_owned()
}

/// Whether a verifier could take the name for one of Kubernetes' claims.
pub(super) fn is_kubernetes(name: &str) -> bool {
    let folded = folded(name);
    folded.strip_prefix(KUBERNETES).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn shallow(value: &Value, levels: usize) -> bool {
    match value {
        Value::Array(items) => levels > 0 && items.iter().all(|item| shallow(item, levels - 1)),
        Value::Object(map) => levels > 0 && map.values().all(|item| shallow(item, levels - 1)),
        _ => true,
    }
}

/// Whether each number is one of 64 bits: a longer one has been rounded when it was read.
fn exact(value: &Value) -> bool {
    const ABOVE: f64 = 18_446_744_073_709_551_616.0; // 2^64
    const BELOW: f64 = -9_223_372_036_854_775_808.0; // -2^63, which an integer would not have been read as
    match value {
        Value::Array(items) => items.iter().all(exact),
        Value::Number(n) if n.is_f64() => n.as_f64().is_some_and(|f| f > BELOW && f < ABOVE),
        Value::Object(map) => map.values().all(exact),
        _ => true,
    }
}

fn bounded(claims: ExtraClaims) -> Result<ExtraClaims, ClaimsError> {
    let size: usize = claims.0.iter().map(|claim| claim.json.len() + 1).sum();
    match claims.0.len() {
        count if count > MAX_CLAIMS => Err(ClaimsError::TooMany(count)),
        // As one object, with its braces and commas.
        _ if size + 1 > MAX_BYTES => Err(ClaimsError::TooLarge),
        _ => Ok(claims),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn parse(text: &str) -> Result<String, ClaimsError> {
        let claims = ExtraClaims::parse(text)?;
        let texts = claims.as_slice().iter().map(|c| String::from_utf8(c.json().to_vec()).unwrap());
        Ok(texts.collect::<Vec<_>>().join(","))
    }

    #[test]
    fn claims_are_sorted_and_written_canonically() {
        let text = r#" {"team": "a&b", "https://x.example/y": {"b": [1.0, true, null], "a": 18446744073709551615}} "#;
        assert_eq!(
            parse(text).unwrap(),
            r#""https://x.example/y":{"a":18446744073709551615,"b":[1,true,null]},"team":"a\u0026b""#
        );
        assert_eq!(parse("{}").unwrap(), "");
    }

    #[test]
    fn the_issuers_names_are_refused_in_every_guise() {
        for name in [
            "iss",
            "sub",
            "aud",
            "exp",
            "nbf",
            "iat",
            "jti",
            "kubernetes.io",
            "kubernetes.io/",
            "kubernetes.io/serviceaccount/namespace",
            "ISS",
            "Sub",
            "eXp",
            "Kubernetes.IO",
            "KUBERNETES.IO/x",
            // Long s, Kelvin sign, sharp s, dotted and dotless i: each folds onto a name somewhere.
            "i\u{17f}\u{17f}",
            "\u{17f}ub",
            "\u{212a}ubernetes.io",
            "\u{212a}UBERNETE\u{17f}.IO/x",
            "iß",
            "\u{130}at",
            "\u{131}at",
            "iss ",
            " exp",
        ] {
            let text = json!({ name: 1 }).to_string();
            assert_eq!(parse(&text), Err(ClaimsError::Reserved(name.into())), "{name}");
        }
        for name in
            ["issuer", "subject", "x.kubernetes.io", "kubernetes.iox", "kubernetes", "io", "groups", "azp"]
        {
            assert!(parse(&json!({ name: 1 }).to_string()).is_ok(), "{name}");
        }
    }

    #[test]
    fn names_are_short_and_readable() {
        let long = "n".repeat(MAX_NAME + 1);
        for name in ["", " ", "a b", "a\n", "\u{7f}", "größe", "\u{200b}x", long.as_str()] {
            let shown = name.chars().take(MAX_NAME).collect();
            assert_eq!(parse(&json!({ name: 1 }).to_string()), Err(ClaimsError::Name(shown)), "{name:?}");
        }
        assert!(parse(&json!({ &long[1..]: 1 }).to_string()).is_ok());
    }

    #[test]
    fn what_would_not_arrive_as_written_is_refused() {
        use ClaimsError::{Duplicate, NoObject, Number};
        for (text, want) in [
            (r#"{"a":1,"a":2}"#, Duplicate("a".into())),
            (r#"{"a":{"b":[{"c":1,"c":1}]}}"#, Duplicate("a.b[0].c".into())),
            (r#"{"a":1,"\u0061":2}"#, Duplicate("a".into())),
            ("[]", NoObject),
            ("null", NoObject),
            (r#""a""#, NoObject),
            (r#"{"a":18446744073709551616}"#, Number("a".into())),
            (r#"{"a":[-9223372036854775809]}"#, Number("a".into())),
            (r#"{"a":{"b":1e30}}"#, Number("a".into())),
        ] {
            assert_eq!(parse(text), Err(want), "{text}");
        }
        for text in ["", "{", "{}{}", r#"{"a":1e999}"#, r#"{"a":"\ud800"}"#, "{a: 1}", r#"{"a":1,}"#] {
            assert!(matches!(parse(text), Err(ClaimsError::Syntax(_))), "{text}");
        }
    }

    #[test]
    fn claims_are_bounded() {
        let nested = |levels: usize| format!("{{\"a\":{}1{}}}", "[".repeat(levels), "]".repeat(levels));
        assert!(parse(&nested(MAX_DEPTH)).is_ok());
        assert_eq!(parse(&nested(MAX_DEPTH + 1)), Err(ClaimsError::TooDeep("a".into())));
        let many = |count: usize| {
            let map: Map<String, Value> = (0..count).map(|n| (format!("c{n}"), json!(n))).collect();
            ExtraClaims::new(&map)
        };
        assert!(many(MAX_CLAIMS).is_ok());
        assert_eq!(many(MAX_CLAIMS + 1), Err(ClaimsError::TooMany(MAX_CLAIMS + 1)));
        let sized = |bytes: usize| parse(&json!({ "a": "x".repeat(bytes - 8) }).to_string());
        assert!(sized(MAX_BYTES).is_ok());
        assert_eq!(sized(MAX_BYTES + 1), Err(ClaimsError::TooLarge));
        // Short as it was written, long as the payload has it.
        assert_eq!(parse(&json!({ "a": "<".repeat(1000) }).to_string()), Err(ClaimsError::TooLarge));
    }

    #[test]
    fn the_first_ones_win_and_the_bounds_hold_for_both_together() {
        let claims = |text: &str| ExtraClaims::parse(text).unwrap();
        let both = claims(r#"{"b":1,"d":2}"#).over(claims(r#"{"a":3,"b":4,"c":5}"#)).unwrap();
        let names: Vec<_> = both.as_slice().iter().map(|c| std::str::from_utf8(c.json()).unwrap()).collect();
        assert_eq!(names, [r#""a":3"#, r#""b":1"#, r#""c":5"#, r#""d":2"#]);
        let half = |name: &str| claims(&json!({ name: "x".repeat(2100) }).to_string());
        assert_eq!(half("a").over(half("b")), Err(ClaimsError::TooLarge));
        assert!(half("a").over(half("a")).is_ok());
    }

    proptest! {
        #[test]
        fn what_is_taken_has_no_reserved_name_for_go(name in "\\PC{1,20}") {
            let map = Map::from_iter([(name.clone(), json!(1))]);
            if let Ok(claims) = ExtraClaims::new(&map) {
                for taken in claims.as_slice() {
                    let lower = taken.name().to_ascii_lowercase();
                    prop_assert!(taken.name().is_ascii() && !REGISTERED.contains(&lower.as_str()));
                    prop_assert!(!lower.starts_with("kubernetes.io/") && lower != "kubernetes.io");
                }
            }
        }

        #[test]
        fn never_panics(text in "\\PC{0,200}") {
            let _ = ExtraClaims::parse(&text);
        }
    }
}
