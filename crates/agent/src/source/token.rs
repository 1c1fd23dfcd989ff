//! A bearer token as it is kept: with its header ready, and what it says of itself.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::HeaderValue;
use serde::Deserialize;
use time::OffsetDateTime;
use tokensmith_core::tokens::Jws;

use super::TokenError;
use crate::payload::Secret;

/// A token to show to others.
pub struct BearerToken {
    /// The token.
    pub token: Secret,
    /// When it ends, as its issuer says; `None` for one that does not say.
    pub expires_at: Option<OffsetDateTime>,
    header: HeaderValue,
    /// The same by the local clock.
    usable_until: Option<OffsetDateTime>,
}

/// What a JWT says, unverified.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Hints {
    pub(super) audiences: Option<Vec<String>>,
    pub(super) expires_at: Option<OffsetDateTime>,
}

impl BearerToken {
    /// Makes the header once, so that no request has to.
    pub(super) fn new(
        token: Secret,
        expires_at: Option<OffsetDateTime>,
        usable_until: Option<OffsetDateTime>,
    ) -> Result<Self, TokenError> {
        let bytes = token.expose();
        if bytes.is_empty() {
            return Err(TokenError::Empty);
        }
        if !token.is_bearer_token() {
            return Err(TokenError::NotAToken);
        }
        let mut header =
            HeaderValue::from_bytes(&[b"Bearer ", bytes].concat()).map_err(|_| TokenError::NotAToken)?;
        header.set_sensitive(true);
        Ok(BearerToken { token, expires_at, header, usable_until })
    }

    /// `Bearer …` for `Authorization`, marked as sensitive: HTTP/2 does not put it in its tables.
    pub fn header(&self) -> &HeaderValue {
        &self.header
    }

    /// The key that signed it, as its header says, unverified.
    pub(super) fn kid(&self) -> Option<String> {
        let jws = Jws::parse(self.token.expose_str()?)?;
        jws.key_id().map(str::to_owned)
    }

    /// Until when it is good by the local clock, if that is known.
    pub(super) fn usable_until(&self) -> Option<OffsetDateTime> {
        self.usable_until
    }

    /// Whether it is good at this time of the local clock.
    pub fn usable(&self, now: OffsetDateTime) -> bool {
        self.usable_until.is_none_or(|until| now < until)
    }
}

impl fmt::Debug for BearerToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BearerToken").field("expires_at", &self.expires_at).finish_non_exhaustive()
    }
}

/// When a token ends, if it is a JWT and says so; unverified.
pub(crate) fn expiry(token: &[u8]) -> Option<OffsetDateTime> {
    Hints::of(token).expires_at
}

impl Hints {
    /// Reads a token's payload; of anything but a JWT there is nothing to read.
    pub(super) fn of(token: &[u8]) -> Self {
        Self::parse(token).unwrap_or_default()
    }

    fn parse(token: &[u8]) -> Option<Self> {
        #[derive(Deserialize)]
        struct Claims {
            aud: Option<Audiences>,
            exp: Option<f64>,
        }
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Audiences {
            Many(Vec<String>),
            One(String),
        }

        let mut parts = token.split(|b| *b == b'.');
        let (_, payload, _) = (parts.next()?, parts.next()?, parts.next()?);
        if parts.next().is_some() {
            return None;
        }
        let payload = URL_SAFE_NO_PAD.decode(payload).ok()?;
        let claims: Claims = serde_json::from_slice(&payload).ok()?;
        let audiences = claims.aud.map(|aud| match aud {
            Audiences::Many(many) => many,
            Audiences::One(one) => vec![one],
        });
        // RFC 7519 allows fractions. The cast saturates, and what is out of range is no date.
        let expires_at = claims.exp.and_then(|exp| OffsetDateTime::from_unix_timestamp(exp as i64).ok());
        Some(Hints { audiences, expires_at })
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    fn hints(payload: &str) -> Hints {
        Hints::of(format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(payload)).as_bytes())
    }

    #[test]
    fn a_jwt_tells_its_end_and_audiences() {
        let end = Some(datetime!(2026-01-01 10:00 UTC));
        let one = hints(r#"{"aud":"a","exp":1767261600}"#);
        assert_eq!(one, Hints { audiences: Some(vec!["a".into()]), expires_at: end });
        let many = hints(r#"{"aud":["a","b"],"exp":1767261600.7}"#);
        assert_eq!(many, Hints { audiences: Some(vec!["a".into(), "b".into()]), expires_at: end });
    }

    #[test]
    fn garbage_tells_nothing() {
        for payload in ["", "[]", "{", r#"{"exp":"soon"}"#, r#"{"exp":1e300}"#, r#"{"aud":7}"#] {
            assert_eq!(hints(payload), Hints::default(), "{payload}");
        }
        for token in ["", "opaque", "a.b", "a.!.c", "a.e30.c.d.e"] {
            assert_eq!(Hints::of(token.as_bytes()), Hints::default(), "{token}");
        }
    }

    #[test]
    fn only_tokens_become_headers_and_no_text_shows_them() {
        let token = BearerToken::new(Secret::new("abc.def-_~+/="), None, None).unwrap();
        assert_eq!(token.header(), "Bearer abc.def-_~+/=");
        assert!(token.header().is_sensitive() && !format!("{token:?}").contains("abc"));
        for bad in ["a b", "a\nb", "a,b", "a\r\nX: y", "ä", "a\0"] {
            assert!(matches!(BearerToken::new(Secret::new(bad), None, None), Err(TokenError::NotAToken)));
        }
        assert!(matches!(BearerToken::new(Secret::new(""), None, None), Err(TokenError::Empty)));
    }
}
