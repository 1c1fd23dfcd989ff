//! The two documents, checked before they are published: whoever verifies tokens will believe them.

use serde_json::Value;
use tokensmith_api::json;
use tokensmith_core::keys::issuer::{NoDiscovery, check_discovery};

/// Where the discovery document is, below the issuer (OpenID Connect Discovery 1.0 §4).
pub const DISCOVERY: [&str; 2] = [".well-known", "openid-configuration"];
/// Where the key set is when the discovery document names a place elsewhere.
const JWKS: [&str; 3] = ["openid", "v1", "jwks"];

/// What a discovery document says.
#[derive(Debug, PartialEq, Eq)]
pub struct Discovery {
    /// `issuer`
    pub issuer: String,
    /// Where the key set is to be, below the issuer: names of directories and of the file.
    pub jwks: Vec<String>,
    /// `jwks_uri`, when it is not below the issuer.
    pub elsewhere: Option<String>,
}

/// Why a document is not published. One line; what a server sent is quoted.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum DocumentError {
    /// A member is not there or no text.
    #[error("the discovery document has no {0}")]
    Absent(&'static str),
    /// A member is there twice: verifiers would disagree.
    #[error("the {document} has {key:?} twice")]
    Duplicate {
        /// Which one.
        document: &'static str,
        /// The member's path.
        key: String,
    },
    /// An issuer that nobody can discover.
    #[error("the discovery document's issuer cannot be published: {0}")]
    Issuer(#[from] NoDiscovery),
    /// Something that is no key, or a set without one that tokens can name.
    #[error("the key set {0}")]
    Keys(&'static str),
    /// A `jwks_uri` that is no plain path below the issuer.
    #[error("the key set cannot be a file at {0:?}: jwks_uri must be the issuer and a plain path")]
    Place(String),
    /// No JSON.
    #[error("the {document} is not valid JSON: {source}")]
    Syntax {
        /// Which one.
        document: &'static str,
        /// What is wrong with it.
        source: json::SyntaxError,
    },
}

/// Reads a discovery document.
pub fn discovery(bytes: &[u8]) -> Result<Discovery, DocumentError> {
    let document = read("discovery document", bytes)?;
    let text = |name: &'static str| {
        let found = document[name].as_str().filter(|text| !text.is_empty());
        found.map(str::to_owned).ok_or(DocumentError::Absent(name))
    };
    let (issuer, uri) = (text("issuer")?, text("jwks_uri")?);
    check_discovery(&issuer)?;
    let below = uri.strip_prefix(issuer.trim_end_matches('/')).and_then(|rest| rest.strip_prefix('/'));
    let Some(path) = below else {
        let jwks = JWKS.map(str::to_owned).into();
        return Ok(Discovery { issuer, jwks, elsewhere: Some(uri) });
    };
    let jwks = plain(path).ok_or(DocumentError::Place(uri.clone()))?;
    Ok(Discovery { issuer, jwks, elsewhere: None })
}

/// Reads a key set; gives the number of its keys.
pub fn key_set(bytes: &[u8]) -> Result<usize, DocumentError> {
    let document = read("key set", bytes)?;
    let Some(keys) = document["keys"].as_array().filter(|keys| !keys.is_empty()) else {
        return Err(DocumentError::Keys("is empty"));
    };
    if keys.iter().any(|key| key["kty"].as_str().is_none_or(str::is_empty)) {
        return Err(DocumentError::Keys("holds what is no key"));
    }
    // RFC 7518 §6: the members that only a private or a shared key has.
    if keys
        .iter()
        .any(|key| ["d", "dp", "dq", "k", "oth", "p", "q", "qi"].iter().any(|m| key.get(m).is_some()))
    {
        return Err(DocumentError::Keys("holds a private key: whoever reads it could sign"));
    }
    match keys.iter().any(|key| key["kid"].as_str().is_some_and(|kid| !kid.is_empty())) {
        true => Ok(keys.len()),
        false => Err(DocumentError::Keys("has no key with a kid")),
    }
}

fn read(document: &'static str, bytes: &[u8]) -> Result<Value, DocumentError> {
    let parsed = json::parse(bytes).map_err(|source| DocumentError::Syntax { document, source })?;
    match parsed.duplicates.into_iter().next() {
        Some(key) => Err(DocumentError::Duplicate { document, key }),
        None => Ok(parsed.value),
    }
}

/// A path as names that mean the same to every web server and file system: nothing encoded, nothing that goes up or is
/// dropped, nothing that would be in the discovery document's way.
fn plain(path: &str) -> Option<Vec<String>> {
    let names: Vec<String> = path.split('/').map(str::to_owned).collect();
    let name = |name: &String| {
        (1..=128).contains(&name.len())
            && name.bytes().all(|c| c.is_ascii_alphanumeric() || b"-._~".contains(&c))
            && name.bytes().any(|c| c != b'.')
    };
    // Some file systems do not tell `A` from `a`.
    let clash = names.iter().zip(DISCOVERY).all(|(name, taken)| name.eq_ignore_ascii_case(taken));
    (names.len() <= 16 && names.iter().all(name) && !clash).then_some(names)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn place(issuer: &str, uri: &str) -> Result<(String, bool), DocumentError> {
        let found = discovery(json!({"issuer": issuer, "jwks_uri": uri}).to_string().as_bytes())?;
        assert_eq!(found.issuer, issuer);
        Ok((found.jwks.join("/"), found.elsewhere.is_some()))
    }

    #[test]
    fn the_key_set_is_below_the_issuer() {
        for (issuer, uri, want) in [
            ("https://b.example/c1", "https://b.example/c1/openid/v1/jwks", ("openid/v1/jwks", false)),
            ("https://b.example/c1/", "https://b.example/c1/keys.json", ("keys.json", false)),
            (
                "https://b.example",
                "https://b.example/.well-known/jwks.json",
                (".well-known/jwks.json", false),
            ),
            ("https://b.example/c1", "https://b.example/c2/jwks", ("openid/v1/jwks", true)),
            ("https://b.example/c1", "https://b.example/c10/jwks", ("openid/v1/jwks", true)),
            ("https://b.example", "https://b.example.evil/jwks", ("openid/v1/jwks", true)),
            ("https://b.example", "../../etc/passwd", ("openid/v1/jwks", true)),
        ] {
            assert_eq!(place(issuer, uri), Ok((want.0.to_owned(), want.1)), "{uri}");
        }
    }

    #[test]
    fn no_path_leaves_its_place() {
        let issuer = "https://b.example/c1";
        for path in [
            "",
            "/",
            "..",
            "../jwks",
            "a/../../b",
            "a/./b",
            "a//b",
            "a/",
            "//etc/passwd",
            "...",
            "%2e%2e/jwks",
            "a%2fb",
            "a%00b",
            "a\\b",
            "..\\b",
            "a b",
            "a\nb",
            "a\u{0}",
            "jwks?x=y",
            "jwks#x",
            "jwks;x",
            "c:/x",
            "é",
            ".well-known",
            ".well-known/openid-configuration",
            ".WELL-KNOWN/OpenID-Configuration",
            ".well-known/openid-configuration/jwks",
        ] {
            let uri = format!("{issuer}/{path}");
            assert_eq!(place(issuer, &uri), Err(DocumentError::Place(uri.clone())), "{path:?}");
        }
        assert!(matches!(
            place(issuer, &format!("{issuer}/{}", "a".repeat(129))),
            Err(DocumentError::Place(_))
        ));
        assert!(matches!(
            place(issuer, &format!("{issuer}/{}a", "a/".repeat(16))),
            Err(DocumentError::Place(_))
        ));
    }

    #[test]
    fn a_discovery_document_that_helps_nobody() {
        for (text, want) in [
            ("", "the discovery document is not valid JSON: unexpected end of JSON input"),
            ("[]", "the discovery document has no issuer"),
            (r#"{"issuer":"https://a"}"#, "the discovery document has no jwks_uri"),
            (r#"{"issuer":1,"jwks_uri":"https://a/x"}"#, "the discovery document has no issuer"),
            (
                r#"{"issuer":"https://a","issuer":"https://b","jwks_uri":"https://a/x"}"#,
                "the discovery document has \"issuer\" twice",
            ),
            (
                r#"{"issuer":"http://a","jwks_uri":"http://a/x"}"#,
                "the discovery document's issuer cannot be published: issuer URL must use https scheme, got: http://a",
            ),
        ] {
            assert_eq!(discovery(text.as_bytes()).unwrap_err().to_string(), want);
        }
    }

    #[test]
    fn a_key_set_has_public_keys_that_tokens_can_name() {
        let key = json!({"kty": "EC", "kid": "a", "crv": "P-256", "x": "", "y": ""});
        assert_eq!(key_set(json!({"keys": [key, {"kty": "RSA"}]}).to_string().as_bytes()), Ok(2));
        for (document, want) in [
            (json!({}), "is empty"),
            (json!({"keys": []}), "is empty"),
            (json!({"keys": {}}), "is empty"),
            (json!({"keys": [key, 1]}), "holds what is no key"),
            (json!({"keys": [{"kid": "a"}]}), "holds what is no key"),
            (json!({"keys": [{"kty": "RSA"}, {"kty": "RSA", "kid": ""}]}), "has no key with a kid"),
            (
                json!({"keys": [key, {"kty": "EC", "kid": "b", "d": "x"}]}),
                "holds a private key: whoever reads it could sign",
            ),
            (
                json!({"keys": [key, {"kty": "oct", "kid": "b", "k": "x"}]}),
                "holds a private key: whoever reads it could sign",
            ),
        ] {
            assert_eq!(
                key_set(document.to_string().as_bytes()),
                Err(DocumentError::Keys(want)),
                "{document}"
            );
        }
        assert!(matches!(key_set(b"{\"keys\":[{]}"), Err(DocumentError::Syntax { .. })));
    }
}
