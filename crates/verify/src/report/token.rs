//! A token taken apart to be looked at, and not yet believed.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

/// A compact JWS whose header and payload are JSON objects. Nothing in it has been verified. Has no `Debug`:
/// the text is a credential.
pub struct UnverifiedToken {
    /// The text itself.
    pub text: String,
    /// The JOSE header.
    pub header: Map<String, Value>,
    /// The claims.
    pub claims: Map<String, Value>,
}

/// Which part of a text is not what a token's is. The text itself is never quoted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAToken {
    /// The header or the payload.
    #[error("its {0} is not base64url without padding")]
    Base64(&'static str),
    /// There is nothing.
    #[error("it is empty")]
    Empty,
    /// A JWE.
    #[error("it has five parts, so it is encrypted (JWE), which Kubernetes does not use")]
    Encrypted,
    /// The header or the payload.
    #[error("its {0} is not a JSON object")]
    Object(&'static str),
    /// Not three.
    #[error("it has {0} part{s} between dots, a JWT has three", s = if *.0 == 1 { "" } else { "s" })]
    Parts(usize),
    /// The signature.
    #[error("its signature is not base64url without padding; is it cut off?")]
    Signature,
}

/// What the token is bound to, by its private claims.
pub struct Binding<'a> {
    /// `Pod`, `Secret` or `Node`.
    pub kind: &'static str,
    /// The object's name.
    pub name: &'a str,
    /// Its UID.
    pub uid: &'a str,
}

impl UnverifiedToken {
    /// Takes the text apart.
    ///
    /// # Errors
    /// Says which part is not what it should be; never quotes it.
    pub fn parse(text: &str) -> Result<Self, NotAToken> {
        let parts: Vec<&str> = text.split('.').collect();
        let [header, payload, signature] = parts.as_slice() else {
            return Err(match (text.is_empty(), parts.len()) {
                (true, _) => NotAToken::Empty,
                (_, 5) => NotAToken::Encrypted,
                (_, parts) => NotAToken::Parts(parts),
            });
        };
        if BASE64_URL_SAFE_NO_PAD.decode(signature).is_err() {
            return Err(NotAToken::Signature);
        }
        Ok(UnverifiedToken {
            text: text.to_owned(),
            header: object(header, "header")?,
            claims: object(payload, "payload")?,
        })
    }

    /// A claim that is a string, `""` when it is not there.
    pub fn claim(&self, name: &str) -> &str {
        self.claims.get(name).and_then(Value::as_str).unwrap_or_default()
    }

    /// A claim that is a number of seconds. RFC 7519 allows fractions: they are cut.
    pub fn time(&self, name: &str) -> Option<i64> {
        let value = self.claims.get(name)?;
        value.as_i64().or_else(|| value.as_f64().map(|f| f as i64))
    }

    /// `aud`, which may be one string or a list.
    pub fn audiences(&self) -> Vec<&str> {
        match self.claims.get("aud") {
            Some(Value::String(one)) => vec![one],
            Some(Value::Array(list)) => list.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        }
    }

    /// A header parameter that is a string, `""` when it is not there.
    pub fn parameter(&self, name: &str) -> &str {
        self.header.get(name).and_then(Value::as_str).unwrap_or_default()
    }

    /// A string in the `kubernetes.io` claim.
    pub fn private(&self, path: &[&str]) -> &str {
        let root = self.claims.get("kubernetes.io");
        path.iter()
            .try_fold(root, |v, key| v.map(|v| v.get(key)))
            .flatten()
            .and_then(Value::as_str)
            .unwrap_or_default()
    }

    /// `kubernetes.io.warnafter`: after that an extended token is stale.
    pub fn warn_after(&self) -> Option<i64> {
        self.claims.get("kubernetes.io")?.get("warnafter")?.as_i64()
    }

    /// The object that the token dies with. A pod's node is information, not a binding.
    pub fn binding(&self) -> Option<Binding<'_>> {
        let of = |kind, field| {
            let (name, uid) = (self.private(&[field, "name"]), self.private(&[field, "uid"]));
            (!name.is_empty()).then_some(Binding { kind, name, uid })
        };
        of("Pod", "pod").or_else(|| of("Secret", "secret")).or_else(|| of("Node", "node"))
    }
}

fn object(part: &str, what: &'static str) -> Result<Map<String, Value>, NotAToken> {
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(part).map_err(|_| NotAToken::Base64(what))?;
    match serde_json::from_slice(&bytes) {
        Ok(Value::Object(map)) => Ok(map),
        _ => Err(NotAToken::Object(what)),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::json;

    use super::*;

    /// A token with these claims and a signature that verifies nowhere.
    pub fn token(claims: Value) -> UnverifiedToken {
        let part = |v: Value| BASE64_URL_SAFE_NO_PAD.encode(v.to_string());
        let header = part(json!({ "alg": "RS256", "kid": "k1" }));
        UnverifiedToken::parse(&format!("{header}.{}.AAAA", part(claims))).unwrap()
    }

    #[test]
    fn reads_what_is_there() {
        let token = token(json!({
            "aud": ["a", "b"], "exp": 3600.5, "sub": "s",
            "kubernetes.io": { "namespace": "ns", "pod": { "name": "p", "uid": "u" }, "node": { "name": "n" }, "warnafter": 7 },
        }));
        assert_eq!(
            (token.audiences(), token.time("exp"), token.time("nbf")),
            (vec!["a", "b"], Some(3600), None)
        );
        assert_eq!((token.private(&["namespace"]), token.private(&["pod", "uid"])), ("ns", "u"));
        assert_eq!(token.warn_after(), Some(7));
        let binding = token.binding().unwrap();
        assert_eq!((binding.kind, binding.name), ("Pod", "p"));
    }

    #[test]
    fn says_which_part_is_wrong() {
        for (text, error) in [
            ("", "it is empty"),
            ("x", "it has 1 part between dots, a JWT has three"),
            ("a.b.c.d.e", "it has five parts, so it is encrypted (JWE), which Kubernetes does not use"),
            ("e30.e30.A===", "its signature is not base64url without padding; is it cut off?"),
            ("e30.!.AAAA", "its payload is not base64url without padding"),
            ("W10.e30.AAAA", "its header is not a JSON object"),
        ] {
            assert_eq!(
                UnverifiedToken::parse(text).err().map(|e| e.to_string()).as_deref(),
                Some(error),
                "{text}"
            );
        }
    }
}
