//! The answer (RFC 8693 §2.2.1), checked.

use std::fmt;
use std::time::Duration;

use serde_json::{Map, Value};
use tokensmith_api::json;

use super::{ExchangeError, ExchangeRequest, TokenType};

/// What came for a token. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct Exchanged {
    /// The token.
    pub access_token: String,
    /// Of which kind it is.
    pub issued_token_type: TokenType,
    /// How it is shown: `Bearer`, or `N_A` for one that is not shown to a resource server as it is.
    pub token_type: &'static str,
    /// How long it lives from now on, if the endpoint says so.
    pub expires_in: Option<Duration>,
    /// What it permits, where that is not all that was asked for.
    pub scope: Option<String>,
}

/// `token_type` of what is no access token, so that nobody may show it as one (RFC 8693 §2.2.1).
const NOT_APPLICABLE: &str = "N_A";

/// More than a century is no length of a token's life.
const LONGEST: u64 = 100 * 366 * 86_400;

impl Exchanged {
    /// Reads an answer of 200.
    pub(super) fn of(body: &[u8], request: &ExchangeRequest) -> Result<Self, ExchangeError> {
        Self::read(body, request).map_err(ExchangeError::Answer)
    }

    /// Whether it is shown to resource servers as it is (RFC 6750).
    pub fn is_bearer(&self) -> bool {
        self.token_type != NOT_APPLICABLE
    }

    fn read(body: &[u8], request: &ExchangeRequest) -> Result<Self, &'static str> {
        let parsed = json::parse(body).map_err(|_| "it is no JSON")?;
        // RFC 6749 §3.2: none more than once. Who reads another one of two would use another token.
        if !parsed.duplicates.is_empty() {
            return Err("a field stands in it twice");
        }
        let Value::Object(answer) = parsed.value else { return Err("it is no JSON object") };
        let token_type = match text(&answer, "token_type")?.ok_or("it has no token_type")? {
            kind if kind.eq_ignore_ascii_case("Bearer") => "Bearer",
            kind if kind.eq_ignore_ascii_case("N_A") => NOT_APPLICABLE,
            // A DPoP or mTLS token is of no use to who cannot prove its key.
            _ => return Err("its token_type is neither Bearer nor N_A"),
        };
        let access_token = text(&answer, "access_token")?.ok_or("it has no access_token")?;
        let plain = |b: u8| match token_type {
            // RFC 6749 appendix A.12, which is of all access tokens; this one goes into no header.
            NOT_APPLICABLE => matches!(b, 0x20..=0x7e),
            // RFC 6750 §2.1: nothing else can stand in a header.
            _ => b.is_ascii_alphanumeric() || b"-._~+/=".contains(&b),
        };
        if access_token.is_empty() || !access_token.bytes().all(plain) {
            return Err("its access_token has characters that no token has, or none");
        }
        let issued = text(&answer, "issued_token_type")?.ok_or("it has no issued_token_type")?;
        let issued_token_type = issued.parse().map_err(|_| "its issued_token_type is no URI")?;
        match &request.requested_token_type {
            Some(wanted) if *wanted != issued_token_type => {
                return Err("its issued_token_type is not the one that was asked for");
            }
            // What is not asked for is the endpoint's to choose (RFC 8693 §2.1). One that is shown to resource servers as a token
            // of a kind that nobody here knows is not taken for an access token.
            None if token_type == "Bearer" && matches!(issued_token_type, TokenType::Other(_)) => {
                return Err("its issued_token_type is of a kind that has to be asked for");
            }
            _ => {}
        }
        Ok(Exchanged {
            access_token: access_token.to_owned(),
            issued_token_type,
            token_type,
            expires_in: seconds(answer.get("expires_in"))?,
            scope: text(&answer, "scope")?.map(str::to_owned),
        })
    }
}

fn text<'a>(answer: &'a Map<String, Value>, name: &str) -> Result<Option<&'a str>, &'static str> {
    match answer.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err("a field of it is no text"),
    }
}

/// A number of seconds; some endpoints write it as text.
fn seconds(value: Option<&Value>) -> Result<Option<Duration>, &'static str> {
    let number = match value {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::String(text)) => text.parse().ok(),
        Some(number) => number.as_u64(),
    };
    let number = number.filter(|number| (1..=LONGEST).contains(number));
    number.map(|seconds| Some(Duration::from_secs(seconds))).ok_or("its expires_in is no length of a life")
}

impl fmt::Debug for Exchanged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exchanged")
            .field("issued_token_type", &self.issued_token_type)
            .field("expires_in", &self.expires_in)
            .field("scope", &self.scope)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn answer() -> Value {
        json!({
            "access_token": "a.b.c",
            "issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
            "token_type": "bearer",
            "expires_in": 600,
        })
    }

    fn read(answer: &Value, request: &ExchangeRequest) -> Result<Exchanged, &'static str> {
        Exchanged::read(answer.to_string().as_bytes(), request)
    }

    #[test]
    fn rfc_8693_section_2_2_1_an_answer_is_taken() {
        let any = ExchangeRequest::default();
        let token = read(&answer(), &any).unwrap();
        assert_eq!(token.access_token, "a.b.c");
        assert_eq!((token.token_type, &token.issued_token_type), ("Bearer", &TokenType::AccessToken));
        assert_eq!((token.expires_in, &token.scope), (Some(Duration::from_secs(600)), &None));
        assert!(!format!("{token:?}").contains("a.b"));
        for (field, value, what) in [("expires_in", json!(null), None), ("expires_in", json!("60"), Some(60))]
        {
            let mut answer = answer();
            answer[field] = value;
            assert_eq!(read(&answer, &any).unwrap().expires_in, what.map(Duration::from_secs));
        }
    }

    #[test]
    fn rfc_8693_section_2_2_1_what_is_not_an_answer_is_refused() {
        let any = ExchangeRequest::default();
        for (field, values) in [
            ("access_token", vec![json!(null), json!(""), json!("a b"), json!("a\nb"), json!(7), json!("ä")]),
            (
                "issued_token_type",
                vec![json!(null), json!("x y"), json!("urn:ietf:params:oauth:token-type:saml2")],
            ),
            ("token_type", vec![json!(null), json!("DPoP"), json!("mac")]),
            (
                "expires_in",
                vec![json!(0), json!(-1), json!("soon"), json!(1u64 << 40), json!([]), json!(0.5)],
            ),
            ("scope", vec![json!(["a"])]),
        ] {
            for value in values {
                let mut answer = answer();
                answer[field] = value;
                let why = read(&answer, &any).unwrap_err();
                assert!(!why.contains("a.b.c"), "{why}");
            }
        }
        for body in [
            "",
            "<html>",
            "[]",
            "null",
            "{}",
            r#"{"access_token":"a","access_token":"b","issued_token_type":"jwt","token_type":"Bearer"}"#,
        ] {
            assert!(Exchanged::read(body.as_bytes(), &any).is_err(), "{body}");
        }
    }

    #[test]
    fn rfc_8693_section_2_2_1_what_is_no_access_token_is_any_text_of_rfc_6749_appendix_a_12() {
        let any = ExchangeRequest::default();
        let credentials = r#"{"Version":1,"SessionToken":"a b"}"#;
        let aws = "urn:tokensmith:params:oauth:token-type:aws-credentials";
        let mut answer = answer();
        answer["access_token"] = credentials.into();
        answer["issued_token_type"] = aws.into();
        assert!(read(&answer, &any).is_err(), "no bearer token looks like this");
        answer["token_type"] = "N_A".into();
        let token = read(&answer, &any).unwrap();
        assert_eq!((token.access_token.as_str(), token.is_bearer()), (credentials, false));
        assert_eq!(token.issued_token_type, TokenType::Other(aws.into()));
        assert!(!format!("{token:?}").contains("Session"));
        for bad in ["", "a\nb", "a\u{1b}[31m", "a\u{7f}", "a\u{e4}"] {
            answer["access_token"] = bad.into();
            assert!(read(&answer, &any).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn rfc_8693_section_2_2_1_what_was_not_asked_for_is_refused() {
        let jwt =
            ExchangeRequest { requested_token_type: Some(TokenType::Jwt), ..ExchangeRequest::default() };
        assert!(read(&answer(), &jwt).is_err());
        let saml: TokenType = "urn:ietf:params:oauth:token-type:saml2".parse().unwrap();
        let wanted = ExchangeRequest { requested_token_type: Some(saml.clone()), ..jwt };
        let mut answer = answer();
        answer["issued_token_type"] = saml.to_string().into();
        answer["token_type"] = "N_A".into();
        assert_eq!(read(&answer, &wanted).unwrap().token_type, "N_A");
    }
}
