//! Why there is no token, in one line with what to do. Nothing that an endpoint writes gets into it unread: a token neither.

use std::time::Duration;

use serde_json::Value;
use tokensmith_api::json;
use tokensmith_core::ledger::jti::holds_token;

use super::ExchangeRequest;
use crate::Error;
use crate::web::Page;

/// Why a token was not exchanged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExchangeError {
    /// An answer of 200 that is none.
    #[error("the token endpoint's answer is not one of RFC 8693: {0}")]
    Answer(&'static str),
    /// It says no.
    #[error(transparent)]
    Refused(#[from] OAuthRefusal),
    /// There is no answer.
    #[error(transparent)]
    Unreachable(#[from] Error),
}

/// An answer that is no success (RFC 6749 §5.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OAuthRefusal {
    /// The HTTP status.
    pub status: u16,
    /// `error`, e.g. `invalid_grant`; empty where the answer has none.
    pub code: String,
    /// `error_description`, as far as it can be shown.
    pub description: Option<String>,
    /// `Retry-After`, if it is in seconds.
    pub retry_after: Option<Duration>,
}

/// As much of a description as a line has room for.
const SHOWN: usize = 300;

impl OAuthRefusal {
    pub(super) fn of(page: &Page, request: &ExchangeRequest) -> Self {
        let answer = json::parse(&page.body).map(|parsed| parsed.value).unwrap_or_default();
        let text = |name| answer.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
        let is_code = |text: &&str| {
            text.len() <= 64 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
        };
        let hidden = |text: &str| holds_token(text) || request.secrets().any(|secret| text.contains(secret));
        OAuthRefusal {
            status: page.status.as_u16(),
            code: text("error").filter(is_code).filter(|text| !hidden(text)).unwrap_or_default().to_owned(),
            description: text("error_description").map(|text| match hidden(text) {
                true => "(its words hold a token, and are not repeated)".to_owned(),
                false => shown(text),
            }),
            retry_after: page.retry_after,
        }
    }

    /// Whether it looks as if it would pass.
    pub fn is_passing(&self) -> bool {
        matches!(self.status, 408 | 425 | 429 | 500..=599)
            || matches!(self.code.as_str(), "server_error" | "temporarily_unavailable" | "slow_down")
    }

    /// When to ask again, which the endpoint may say in seconds.
    fn again(&self) -> String {
        match self.retry_after.filter(|wait| !wait.is_zero()) {
            Some(wait) => format!("it asks for a wait of {wait:?}"),
            None => "try again later".to_owned(),
        }
    }

    /// What to do about it.
    fn mend(&self) -> String {
        let mend = match (self.code.as_str(), self.status) {
            ("invalid_client" | "unauthorized_client", _) => {
                "it wants to know who asks: a client assertion that it takes is missing or refused"
            }
            ("invalid_grant", _) => {
                "it does not take the token: it has expired, is another issuer's or for another audience than the endpoint's (`tokensmith token inspect` shows what it says)"
            }
            ("invalid_request", _) => {
                "it does not take the request, or not this token: see what the token says (`tokensmith token inspect`), and what was asked for"
            }
            ("invalid_scope", _) => "ask for other scopes, or for none",
            ("invalid_target", _) => "its policy has nothing for this audience or resource: ask for another",
            ("access_denied", _) => "its policy does not let this subject have what was asked for",
            ("unsupported_grant_type", _) => "it does not exchange tokens (RFC 8693)",
            ("unsupported_token_type", _) => "it does not take or give tokens of this kind",
            (_, 300..=399) => {
                "it leads elsewhere, which is not followed with a token: name the URL that it leads to"
            }
            // Where nothing is served, a server with an API denies it to strangers.
            ("", 401 | 403) | (_, 404 | 405) => {
                "there is no token endpoint at this URL (tokensmith's is /oauth2/token, with `serve --exchange-policy-file`)"
            }
            // Its own words say the same.
            (_, 429) if self.description.is_some() => return self.again(),
            (_, 429) => return format!("it is asked too often: {}", self.again()),
            (_, 500..) => return format!("it is in trouble itself: {}", self.again()),
            _ => "",
        };
        mend.to_owned()
    }
}

impl std::fmt::Display for OAuthRefusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the token endpoint refuses ({}", self.status)?;
        if !self.code.is_empty() {
            write!(f, " {}", self.code)?;
        }
        f.write_str(")")?;
        if let Some(description) = &self.description {
            write!(f, ": {description}")?;
        }
        match self.mend().as_str() {
            "" => Ok(()),
            mend => write!(f, "; {mend}"),
        }
    }
}

impl std::error::Error for OAuthRefusal {}

/// One line, cut, and nothing that a terminal would obey.
fn shown(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let cut: String = line.chars().filter(|c| !c.is_control()).take(SHOWN).collect();
    cut.trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;

    fn refusal(status: u16, body: &str) -> String {
        let status = StatusCode::from_u16(status).unwrap();
        let page = Page { status, body: body.into(), cache_control: None, etag: None, retry_after: None };
        let request = ExchangeRequest { subject_token: "opaque-secret".into(), ..ExchangeRequest::default() };
        OAuthRefusal::of(&page, &request).to_string()
    }

    #[test]
    fn rfc_6749_section_5_2_each_error_says_what_to_do() {
        for (status, body, want) in [
            (400, r#"{"error":"invalid_grant"}"#, "(400 invalid_grant); it does not take the token"),
            (400, r#"{"error":"invalid_request"}"#, "(400 invalid_request); it does not take the request"),
            (401, r#"{"error":"invalid_client"}"#, "(401 invalid_client); it wants to know who asks"),
            (400, r#"{"error":"unauthorized_client"}"#, "it wants to know who asks"),
            (400, r#"{"error":"unsupported_grant_type"}"#, "it does not exchange tokens"),
            (
                400,
                r#"{"error":"invalid_scope","error_description":"no admin."}"#,
                "(400 invalid_scope): no admin; ask for other scopes",
            ),
            (400, r#"{"error":"invalid_target"}"#, "nothing for this audience"),
            (404, "<html>", "(404); there is no token endpoint"),
            (403, r#"{"kind":"Status"}"#, "(403); there is no token endpoint"),
            (307, "", "(307); it leads elsewhere"),
            (429, "{}", "it is asked too often"),
            (503, "", "it is in trouble itself"),
        ] {
            let text = refusal(status, body);
            assert!(text.starts_with("the token endpoint refuses (") && text.contains(want), "{text}");
            assert!(!text.contains('\n'), "{text}");
        }
    }

    #[test]
    fn when_to_ask_again_is_said_once_and_in_seconds() {
        let often = r#"{"error":"slow_down","error_description":"tokens are asked for too often"}"#;
        for (status, body, seconds, want) in [
            (
                429,
                often,
                Some(6),
                "(429 slow_down): tokens are asked for too often; it asks for a wait of 6s",
            ),
            (429, often, None, "(429 slow_down): tokens are asked for too often; try again later"),
            (429, "", Some(6), "(429); it is asked too often: it asks for a wait of 6s"),
            (503, "", Some(6), "(503); it is in trouble itself: it asks for a wait of 6s"),
            (503, "", Some(0), "(503); it is in trouble itself: try again later"),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            let retry_after = seconds.map(Duration::from_secs);
            let page = Page { status, body: body.into(), cache_control: None, etag: None, retry_after };
            let text = OAuthRefusal::of(&page, &ExchangeRequest::default()).to_string();
            assert_eq!(text, format!("the token endpoint refuses {want}"));
        }
    }

    #[test]
    fn what_an_endpoint_writes_shows_no_token_and_moves_no_cursor() {
        let jwt = "eyJhbGciOiJFUzI1NiIsImtpZCI6ImsifQ.eyJzdWIiOiJhIn0.AAAA";
        for body in [
            format!(r#"{{"error":"invalid_grant","error_description":"bad {jwt}"}}"#),
            r#"{"error":"invalid_grant","error_description":"bad opaque-secret"}"#.to_owned(),
            r#"{"error":"opaque-secret"}"#.to_owned(),
        ] {
            let text = refusal(400, &body);
            assert!(!text.contains("eyJ") && !text.contains("opaque-secret"), "{text}");
        }
        let text = refusal(400, r#"{"error":"a\nb","error_description":"x\n\u001b[31my"}"#);
        assert!(text.contains("(400): x [31my"), "{text}");
        let long = refusal(400, &format!(r#"{{"error_description":"{}"}}"#, "a".repeat(9000)));
        assert!(long.len() < 500, "{}", long.len());
    }
}
