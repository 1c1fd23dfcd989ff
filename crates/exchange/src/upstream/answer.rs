//! What services answer: believed as what it should be, and as nothing else.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::UpstreamError;
use super::web::Posted;

/// An OAuth 2.0 token response (RFC 6749 §5.1, RFC 8693 §2.2.1).
#[derive(Deserialize)]
pub(super) struct TokenResponse {
    pub(super) access_token: String,
    pub(super) issued_token_type: Option<String>,
    pub(super) token_type: String,
    pub(super) expires_in: Option<Seconds>,
    pub(super) scope: Option<String>,
}

/// A number of seconds, which some services write as a text.
#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum Seconds {
    Number(i64),
    Text(String),
}

impl Seconds {
    pub(super) fn get(&self) -> Result<i64, UpstreamError> {
        let seconds = match self {
            Seconds::Number(seconds) => Some(*seconds),
            Seconds::Text(text) => text.parse().ok(),
        };
        seconds
            .filter(|seconds| *seconds > 0)
            .ok_or_else(|| senseless("its token has expired, or its life is no time"))
    }
}

#[derive(Deserialize)]
struct Oauth {
    error: String,
}

/// Reads an answer of JSON.
pub(super) fn read<T: DeserializeOwned>(posted: &Posted) -> Result<T, UpstreamError> {
    if posted.status.as_u16() != 200 {
        let code: Option<Oauth> = serde_json::from_slice(&posted.body).ok();
        return Err(refused(posted, code.map(|code| code.error)));
    }
    // serde would take a list for a struct as well.
    let object = posted.body.trim_ascii_start().starts_with(b"{");
    let read = object.then(|| serde_json::from_slice(&posted.body).ok()).flatten();
    read.ok_or_else(|| senseless("its answer is not what it should be"))
}

/// An answer that brings no token. What says that it is the token's fault is a refusal; all else may be better later.
pub(super) fn refused(posted: &Posted, code: Option<String>) -> UpstreamError {
    let status = posted.status.as_u16();
    // A code has few characters (RFC 6749 §5.2); what is longer may be anything, even the token.
    let fits =
        |code: &String| code.len() <= 64 && code.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    let said = match code.filter(fits) {
        Some(code) => format!("{status} {code}"),
        None => status.to_string(),
    };
    match status {
        400 | 401 | 403 | 404 | 422 => UpstreamError::Refused(said),
        300..=399 => UpstreamError::Unavailable(format!("{said}: a redirect is not followed")),
        _ => UpstreamError::Unavailable(said),
    }
}

/// A token as it may be handed on: `VSCHAR` of RFC 6749, appendix A.
pub(super) fn token(text: String) -> Result<String, UpstreamError> {
    let fits = !text.is_empty() && text.bytes().all(|b| matches!(b, 0x20..=0x7e));
    if fits { Ok(text) } else { Err(senseless("its token is none")) }
}

/// Seconds from `now` to a time as RFC 3339 writes it.
pub(super) fn until(text: &str, now: i64) -> Result<i64, UpstreamError> {
    let at = OffsetDateTime::parse(text, &Rfc3339).map_err(|_| senseless("its token's end is no time"))?;
    Seconds::Number(at.unix_timestamp().saturating_sub(now)).get()
}

/// The one element of this name in an XML answer that is a text without markup.
pub(super) fn element<'a>(xml: &'a str, name: &str) -> Option<&'a str> {
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    let (_, rest) = xml.split_once(&open)?;
    let (text, after) = rest.split_once(&close)?;
    let one = !after.contains(&open) && !text.is_empty() && !text.contains(['<', '>', '&']);
    one.then_some(text)
}

pub(super) fn senseless(why: &str) -> UpstreamError {
    UpstreamError::Unavailable(why.to_owned())
}
