//! Token mode: `GET /token?audience=…` gives the current token to programs on this machine.

use std::borrow::Cow;
use std::collections::BTreeSet;

use bytes::Bytes;
use http::header::{ACCEPT, HeaderMap};
use http::request::Parts;
use http::{Method, Response, StatusCode};
use percent_encoding::percent_decode_str;
use serde::Serialize;
use tokensmith_core::access::request::escapes_are_whole;
use tokensmith_objects::object::timestamp;

use super::body::ReplyBody;
use super::failure::{Failure, plain};
use super::guard::Guard;
use super::metrics::Metrics;
use crate::source::{BearerToken, TokenError, TokenSource};

/// Hands out tokens.
pub struct TokenMode {
    /// Where they come from.
    pub source: TokenSource,
    /// For whom a token is when nothing else is asked for; `None` for the source's default.
    pub audience: Option<String>,
    /// Other audiences that may be asked for; `None` for any.
    pub audiences: Option<BTreeSet<String>>,
    /// Who may ask.
    pub guard: Guard,
}

const METHODS: &str = "GET, HEAD";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Json,
    Text,
}

#[derive(Serialize)]
struct TokenBody<'a> {
    token: &'a str,
    #[serde(rename = "expirationTimestamp", skip_serializing_if = "Option::is_none")]
    expiration_timestamp: Option<String>,
}

impl TokenMode {
    pub(super) async fn answer(
        &self,
        request: &Parts,
        metrics: &Metrics,
    ) -> Result<Response<ReplyBody>, Failure> {
        let path = request.uri.path();
        if path != "/token" && path != "/healthz" {
            return Err(Failure::NotFound);
        }
        if ![Method::GET, Method::HEAD].contains(&request.method) {
            return Err(Failure::Method(METHODS));
        }
        if path == "/healthz" {
            return self.health().await;
        }
        let answer = self.token(request, metrics).await;
        metrics.token(match &answer {
            Ok(_) => "served",
            Err(Failure::Unavailable(_)) => "unavailable",
            Err(_) => "refused",
        });
        answer
    }

    /// Whether there are tokens to give out. Those that others are exchanged for are tried: that an endpoint refuses is told before
    /// somebody asks.
    pub(super) async fn healthy(&self) -> Result<(), TokenError> {
        self.source.healthy().await?;
        if self.source.is_exchanged() {
            self.source.token(self.audience.as_deref()).await?;
        }
        Ok(())
    }

    async fn health(&self) -> Result<Response<ReplyBody>, Failure> {
        self.healthy().await.map_err(|e| Failure::Unavailable(e.to_string()))?;
        Ok(plain(StatusCode::OK, "text/plain; charset=utf-8", Bytes::from_static(b"ok")))
    }

    async fn token(&self, request: &Parts, metrics: &Metrics) -> Result<Response<ReplyBody>, Failure> {
        self.guard.check_header(&request.headers).map_err(|refused| {
            metrics.refused(refused.label());
            Failure::Forbidden(refused.message().into())
        })?;
        let form = form(&request.headers).ok_or(Failure::NotAcceptable)?;
        let asked = audience(request.uri.query().unwrap_or_default())?;
        if let (Some(asked), Some(allowed)) = (&asked, &self.audiences)
            && !allowed.contains(&**asked)
            && self.audience.as_deref() != Some(asked)
        {
            return Err(Failure::Forbidden("tokens for this audience are not given out here".into()));
        }
        let audience = asked.as_deref().or(self.audience.as_deref());
        let token = self.source.token(audience).await.map_err(|e| Failure::no_token(&e))?;
        reply(&token, form)
    }
}

fn reply(token: &BearerToken, form: Form) -> Result<Response<ReplyBody>, Failure> {
    match form {
        Form::Json => {
            let body = TokenBody {
                token: token.token.expose_str().unwrap_or_default(),
                expiration_timestamp: token.expires_at.map(timestamp),
            };
            let body = serde_json::to_vec(&body).expect("two strings are JSON");
            Ok(plain(StatusCode::OK, "application/json", body.into()))
        }
        Form::Text => {
            let body = Bytes::copy_from_slice(token.token.expose());
            Ok(plain(StatusCode::OK, "text/plain; charset=utf-8", body))
        }
    }
}

/// The audience that a query asks for.
///
/// # Errors
/// There is more than one, or anything else: a parameter that is misspelt must not give a token for the default
/// audience, which may be good for much more. Nor must an empty one, the trace of a variable that is not set.
fn audience(query: &str) -> Result<Option<Cow<'_, str>>, Failure> {
    let mut found = None;
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        if decode(name)? != "audience" {
            return Err(Failure::BadRequest("audience is the only parameter".into()));
        }
        let value = decode(value)?;
        if value.is_empty() {
            return Err(Failure::BadRequest("the audience is empty".into()));
        }
        if found.replace(value).is_some() {
            return Err(Failure::BadRequest("a token is for one audience: there is more than one".into()));
        }
    }
    Ok(found)
}

/// Percent-decoding, exact. A `+` is a space for some clients and a plus for others: who means one of them can say so.
fn decode(text: &str) -> Result<Cow<'_, str>, Failure> {
    let bad = |message: &str| Failure::BadRequest(message.into());
    if text.contains('+') {
        return Err(bad("write %2B for a plus and %20 for a space"));
    }
    if !escapes_are_whole(text) {
        return Err(bad("a % is not followed by two hexadecimal digits"));
    }
    let text = percent_decode_str(text).decode_utf8().map_err(|_| bad("the audience is not UTF-8"))?;
    if text.chars().any(char::is_control) {
        return Err(bad("the audience has control characters"));
    }
    Ok(text)
}

/// What the client takes; `None` for neither. JSON where it does not care.
fn form(headers: &HeaderMap) -> Option<Form> {
    let mut values = headers.get_all(ACCEPT).iter().peekable();
    if values.peek().is_none() {
        return Some(Form::Json);
    }
    let ranges: Vec<_> = values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(range)
        .collect();
    let quality = |media: &str| {
        let kind = media.split('/').next().unwrap_or_default();
        let rank = |range: &str| match range {
            _ if range.eq_ignore_ascii_case(media) => 2,
            "*/*" => 0,
            _ if range.strip_suffix("/*").is_some_and(|r| r.eq_ignore_ascii_case(kind)) => 1,
            _ => -1,
        };
        // The most specific range counts (RFC 9110, 12.5.1).
        let best = ranges.iter().filter(|(name, _)| rank(name) >= 0).max_by_key(|(name, _)| rank(name));
        best.map_or((0, -1), |(name, quality)| (*quality, rank(name)))
    };
    let (json, text) = (quality("application/json"), quality("text/plain"));
    match (json, text) {
        ((0, _), (0, _)) => None,
        // Named beats included: `text/plain, */*` asks for text.
        _ if text > json => Some(Form::Text),
        _ => Some(Form::Json),
    }
}

/// A media range and its quality, in thousandths.
fn range(text: &str) -> Option<(&str, u32)> {
    let mut parts = text.split(';').map(str::trim);
    let name = parts.next().filter(|name| !name.is_empty())?;
    let quality = parts.find_map(|p| p.strip_prefix("q=").or_else(|| p.strip_prefix("Q=")));
    let quality = quality.map_or(1.0, |q| q.parse::<f64>().unwrap_or(0.0).clamp(0.0, 1.0));
    Some((name, (quality * 1000.0) as u32))
}

#[cfg(test)]
mod tests {
    use http::header::HeaderValue;

    use super::*;

    fn taken(accept: &[&str]) -> Option<Form> {
        let mut headers = HeaderMap::new();
        for value in accept {
            headers.append(ACCEPT, HeaderValue::from_str(value).unwrap());
        }
        form(&headers)
    }

    #[test]
    fn json_unless_text_is_preferred() {
        for accept in [
            "*/*",
            "application/json",
            "application/*",
            "application/json, text/plain, */*",
            "text/plain;q=0.5, */*",
            "text/html, */*;q=0.1",
            "text/plain, application/json",
            "APPLICATION/JSON",
            "text/plain;q=0, */*",
        ] {
            assert_eq!(taken(&[accept]), Some(Form::Json), "{accept}");
        }
        for accept in [
            "text/plain",
            "text/*",
            "text/plain, */*",
            "application/json;q=0.1, text/plain",
            "text/html, text/plain",
        ] {
            assert_eq!(taken(&[accept]), Some(Form::Text), "{accept}");
        }
        for accept in ["", "text/html", "application/yaml, image/*", "*/*;q=0", "text/plain;q=x"] {
            assert_eq!(taken(&[accept]), None, "{accept}");
        }
        assert_eq!(taken(&["text/html", "text/plain"]), Some(Form::Text));
    }

    #[test]
    fn no_accept_is_json() {
        assert_eq!(taken(&[]), Some(Form::Json));
    }

    #[test]
    fn audiences_are_decoded_exactly() {
        let read = |query| audience(query).map(|found| found.map(Cow::into_owned));
        for (query, expected) in [
            ("", None),
            ("&&", None),
            ("audience=a", Some("a")),
            ("audience=https://api.example.com/x?y=1", Some("https://api.example.com/x?y=1")),
            ("audience=https%3A%2F%2Fa%2fb", Some("https://a/b")),
            ("audience=a%26audience%3Db", Some("a&audience=b")),
            ("%61udience=a%2Bb%20c", Some("a+b c")),
            ("audience=%C3%A4", Some("ä")),
            ("audience=%25zz", Some("%zz")),
        ] {
            assert_eq!(read(query).unwrap().as_deref(), expected, "{query}");
        }
        for query in [
            "audience",
            "audience=",
            "audience=a&audience=a",
            "audience=a&x=1",
            "audiences=a",
            "aud=a",
            "audience=a+b",
            "audience=%",
            "audience=%2",
            "audience=%2x",
            "audience=%+1",
            "audience=%ff",
            "audience=a%00",
            "audience=a%0a",
        ] {
            assert!(matches!(read(query), Err(Failure::BadRequest(_))), "{query}");
        }
    }
}
