//! As much of a token's payload as the signer must understand: that it is one, and when it expires.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use serde::Deserialize;

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
