//! A token as whoever sends it wrote it, before anybody has vouched for it: what is looked up by it, and what errors say of it.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as URL_SAFE_NO_PAD;
use serde_json::{Map, Value};
use tokensmith_api::json;

/// Header and claims of a JWT (RFC 7519) that nobody has checked.
#[derive(Debug)]
pub(crate) struct Unverified {
    /// The header (RFC 7515 §4).
    pub(crate) header: Map<String, Value>,
    /// The claims.
    pub(crate) claims: Map<String, Value>,
}

impl Unverified {
    /// Takes a token apart: three parts, of which two are objects of JSON. A member that is there twice is read by one as the
    /// first and by another as the last (RFC 7515 §4, RFC 7519 §4), so such a token is none.
    pub(crate) fn parse(token: &str) -> Option<Self> {
        let mut parts = token.split('.');
        let (header, claims, _signature) = (parts.next()?, parts.next()?, parts.next()?);
        if parts.next().is_some() || token.len() > tokensmith_verify::MAX_TOKEN {
            return None;
        }
        Some(Unverified { header: object(header)?, claims: object(claims)? })
    }

    /// A member of the header that is a text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        text(&self.header, name)
    }

    /// A claim that is a text.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        text(&self.claims, name)
    }
}

/// A member that is a text and not empty.
pub(crate) fn text<'a>(object: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    object.get(name)?.as_str().filter(|text| !text.is_empty())
}

/// A `NumericDate` (RFC 7519 §2), to the second.
pub(crate) fn date(claims: &Map<String, Value>, name: &str) -> Option<i64> {
    let number = claims.get(name)?;
    // A float that is too large for a whole number becomes the largest.
    number.as_i64().or_else(|| number.as_f64().map(|seconds| seconds as i64))
}

/// Whom a token is for: one text or a list of them (RFC 7519 §4.1.3). `None` where it is neither.
pub(crate) fn audiences(claims: &Map<String, Value>) -> Option<Vec<&str>> {
    match claims.get("aud") {
        None => Some(Vec::new()),
        Some(Value::String(one)) => Some(vec![one]),
        Some(Value::Array(all)) => all.iter().map(Value::as_str).collect(),
        Some(_) => None,
    }
}

fn object(part: &str) -> Option<Map<String, Value>> {
    let read = json::parse(&URL_SAFE_NO_PAD.decode(part).ok()?).ok()?;
    match read.value {
        Value::Object(object) if read.duplicates.is_empty() => Some(object),
        _ => None,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use serde_json::json;

    use super::*;

    /// A token with a signature that is none.
    pub(crate) fn unsigned(header: &str, claims: &str) -> String {
        format!("{}.{}.c2ln", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims))
    }

    #[test]
    fn a_token_is_three_parts_of_which_two_are_objects() {
        let token = unsigned(r#"{"alg":"RS256","kid":"k"}"#, r#"{"iss":"https://a","aud":["x"],"exp":1.5}"#);
        let read = Unverified::parse(&token).unwrap();
        assert_eq!((read.header("kid"), read.text("iss")), (Some("k"), Some("https://a")));
        assert_eq!((read.header("typ"), date(&read.claims, "exp")), (None, Some(1)));
        for hostile in
            ["", ".", "..", "a.b", "a.b.c", "e30.e30", "e30.e30.x.y", "W10.e30.", "e30.W10.", "e30.bnVsbA."]
        {
            assert!(Unverified::parse(hostile).is_none(), "{hostile}");
        }
        assert!(Unverified::parse(&unsigned(r#"{"kid":"a","kid":"b"}"#, "{}")).is_none());
        assert!(Unverified::parse(&unsigned("{}", r#"{"sub":"a","sub":"b"}"#)).is_none());
        assert!(Unverified::parse(&unsigned("{}", &format!(r#"{{"a":{}}}"#, "[".repeat(9000)))).is_none());
        assert!(
            Unverified::parse(&unsigned("{}", &format!(r#"{{"a":"{}"}}"#, "x".repeat(1 << 20)))).is_none()
        );
    }

    #[test]
    fn rfc_7519_section_4_1_3_audiences() {
        let of = |aud: Value| {
            let claims = json!({ "aud": aud });
            audiences(claims.as_object().unwrap())
                .map(|all| all.into_iter().map(str::to_owned).collect::<Vec<_>>())
        };
        assert_eq!(of(json!("a")), Some(vec!["a".to_owned()]));
        assert_eq!(of(json!(["a", "b"])), Some(vec!["a".to_owned(), "b".to_owned()]));
        assert_eq!((of(json!(1)), of(json!(["a", 1])), of(json!({"a": 1}))), (None, None, None));
        assert_eq!(audiences(&Map::new()), Some(vec![]));
    }
}
