//! As much of a token's payload as the signer must understand: that it is one, and when it expires. What else it says
//! is read for those who write it down, as far as it can be.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use tokensmith_core::tokens::claims::Payload;

/// What is wrong with a payload.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClaimsError {
    #[error("claims is not base64url without padding")]
    Base64,
    #[error("claims is not a JSON object")]
    Object,
    #[error("claims cannot be read: {0}")]
    Read(#[source] serde_json::Error),
}

#[derive(Deserialize)]
struct Claims {
    // serde refuses a second `exp`: which of the two counts would be the verifier's choice, and the promise is for one.
    exp: Option<i64>,
}

/// The expiry (Unix seconds) of a payload in base64url; `None` if it has none.
pub(crate) fn expiry(claims: &str) -> Result<Option<i64>, ClaimsError> {
    let json = BASE64.decode(claims).map_err(|_| ClaimsError::Base64)?;
    // serde would take a list for a struct as well, and skips what it does not need without a look at its bytes.
    let object = std::str::from_utf8(&json).ok().filter(|json| json.trim_ascii_start().starts_with('{'));
    let claims: Claims =
        serde_json::from_str(object.ok_or(ClaimsError::Object)?).map_err(ClaimsError::Read)?;
    Ok(claims.exp)
}

/// What a payload says of its token. Nothing is refused for it any more: what cannot be read is left empty.
pub(crate) fn payload_of(claims: &str) -> Payload {
    let json = BASE64.decode(claims).unwrap_or_default();
    let raw: RawClaims = serde_json::from_slice(&json).unwrap_or_default();
    let audiences = match raw.aud.map(RawValue::get) {
        Some(one) if one.starts_with('"') => read(raw.aud).into_iter().collect(),
        _ => read(raw.aud).unwrap_or_default(),
    };
    Payload {
        id: read(raw.jti).unwrap_or_default(),
        subject: read(raw.sub).unwrap_or_default(),
        audiences,
        issued_at: read(raw.iat),
        expires_at: read(raw.exp),
        kubernetes: read(raw.kubernetes).unwrap_or_default(),
        ..Payload::default()
    }
}

/// Each by itself, so that one that is odd takes no other with it.
#[derive(Default, Deserialize)]
struct RawClaims<'a> {
    #[serde(borrow)]
    aud: Option<&'a RawValue>,
    #[serde(borrow)]
    exp: Option<&'a RawValue>,
    #[serde(borrow)]
    iat: Option<&'a RawValue>,
    #[serde(borrow)]
    jti: Option<&'a RawValue>,
    #[serde(borrow, rename = "kubernetes.io")]
    kubernetes: Option<&'a RawValue>,
    #[serde(borrow)]
    sub: Option<&'a RawValue>,
}

fn read<T: DeserializeOwned>(raw: Option<&RawValue>) -> Option<T> {
    serde_json::from_str(raw?.get()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(json: &str) -> Result<Option<i64>, String> {
        expiry(&BASE64.encode(json)).map_err(|e| e.to_string())
    }

    #[test]
    fn the_expiry_is_a_whole_number_or_absent() {
        assert_eq!(of(r#"{"aud":["a"],"exp":1700000000,"kubernetes.io":{}}"#), Ok(Some(1_700_000_000)));
        assert_eq!(of(r#"{"iss":"x"}"#), Ok(None));
        assert_eq!(of(r#"{"exp":null}"#), Ok(None));
        for json in
            [r#"{"exp":1.5}"#, r#"{"exp":"1"}"#, r#"{"exp":1e30}"#, r#"{"exp":1,"exp":2}"#, "{", "{}x"]
        {
            assert!(of(json).unwrap_err().starts_with("claims cannot be read: "), "{json}");
        }
    }

    #[test]
    fn what_is_odd_takes_nothing_else_with_it() {
        let told = |json: &str| payload_of(&BASE64.encode(json));
        let all = told(
            r#"{"aud":["a","b"],"exp":9,"iat":8,"jti":"j","kubernetes.io":{"namespace":"n",
            "serviceaccount":{"name":"s","uid":"u"},"pod":{"name":"p","uid":"v"}},"sub":"system:serviceaccount:n:s"}"#,
        );
        assert_eq!((all.id.as_str(), all.issued_at, all.expires_at), ("j", Some(8), Some(9)));
        assert_eq!((all.audiences.len(), all.subject.as_str()), (2, "system:serviceaccount:n:s"));
        assert_eq!((all.kubernetes.namespace.as_str(), all.kubernetes.account.uid.as_str()), ("n", "u"));
        assert_eq!(all.kubernetes.pod.map(|p| p.name).as_deref(), Some("p"));
        assert_eq!(told(r#"{"aud":"one"}"#).audiences, ["one"]);
        let odd = told(r#"{"aud":7,"iat":"x","jti":"j","sub":[],"kubernetes.io":[1],"deep":[[[]]]}"#);
        assert_eq!(odd, Payload { id: "j".into(), ..Payload::default() });
        for junk in ["", "[]", "{", r#"{"jti":1}"#] {
            assert_eq!(told(junk), Payload::default(), "{junk}");
        }
    }

    #[test]
    fn what_is_no_payload_is_refused() {
        for json in ["", "[1]", "1", "null", "\"{}\""] {
            assert_eq!(of(json), Err("claims is not a JSON object".into()), "{json}");
        }
        // Padding, the other alphabet, white space, bits that say nothing.
        for text in ["e30=", "e3+/", " e30", "e30\n", "e31", "e", "é"] {
            assert!(matches!(expiry(text), Err(ClaimsError::Base64)), "{text}");
        }
    }
}
