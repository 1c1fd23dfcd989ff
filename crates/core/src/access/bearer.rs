//! Bearer tokens in headers (apiserver `request/bearertoken`, `request/websocket`).

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

use super::header::{self, HeaderError};
use super::{AuthError, BearerToken};

/// What an `Authorization` header holds.
#[derive(Debug)]
pub enum Bearer {
    /// No bearer token.
    None,
    /// Two spaces before the token: ignored as if there were none, with a warning.
    ExtraSpace,
    /// A token.
    Token(BearerToken),
}

/// The warning for [`Bearer::ExtraSpace`].
pub const EXTRA_SPACE: &str =
    "the provided Authorization header contains extra space before the bearer token, and is ignored";

/// Reads the `Authorization` headers: split at single spaces, the scheme in any case, what follows the token is ignored.
///
/// # Errors
/// There is more than one, or one that cannot be read or says nothing. `Bearer` without a token says nothing, too: it is
/// what is left of a variable that is not set, and Kubernetes would go on as nobody.
pub fn bearer<'a>(headers: impl IntoIterator<Item = &'a [u8]>) -> Result<Bearer, HeaderError> {
    const NAME: &str = "Authorization";
    let Some(header) = header::single(NAME, headers)? else { return Ok(Bearer::None) };
    let mut parts = header.split(' ');
    let (scheme, token) = (parts.next().unwrap_or(""), parts.next());
    match token {
        _ if !scheme.eq_ignore_ascii_case("bearer") => Ok(Bearer::None),
        None => Err(HeaderError::Empty(NAME.into())),
        Some("") => Ok(Bearer::ExtraSpace),
        Some(token) => Ok(Bearer::Token(BearerToken::new(token))),
    }
}

/// How a sub-protocol begins that is a token.
pub const WEBSOCKET_BEARER: &str = "base64url.bearer.authorization.k8s.io.";

/// The token in a websocket's sub-protocols (`base64url.bearer.authorization.k8s.io.TOKEN`), which browsers send for
/// want of headers. At least one other protocol must be offered. The list may be in several headers; the inner error is a
/// token that is refused.
///
/// # Errors
/// A header cannot be read.
pub fn websocket_bearer<'a>(
    headers: impl IntoIterator<Item = &'a [u8]>,
) -> Result<Option<Result<BearerToken, AuthError>>, HeaderError> {
    let (mut encoded, mut others) = (Vec::new(), 0);
    for header in headers {
        for protocol in header::text("Sec-WebSocket-Protocol", header)?.split(',').map(str::trim) {
            match protocol.strip_prefix(WEBSOCKET_BEARER) {
                Some(token) => encoded.push(token),
                None => others += 1,
            }
        }
    }
    let refused = |text: &str| Ok(Some(Err(AuthError(text.into()))));
    let encoded = match encoded.as_slice() {
        [] => return Ok(None),
        [one] => one,
        _ => return refused("multiple base64.bearer.authorization tokens specified"),
    };
    let Ok(token) = BASE64_URL_SAFE_NO_PAD.decode(encoded) else {
        return refused("invalid base64.bearer.authorization token encoding");
    };
    match String::from_utf8(token) {
        Err(_) => refused("invalid base64.bearer.authorization token"),
        // Kubernetes takes an empty one for none.
        Ok(token) if token.is_empty() => refused("invalid base64.bearer.authorization token"),
        Ok(_) if others == 0 => refused("missing additional subprotocol"),
        Ok(token) => Ok(Some(Ok(BearerToken::new(token)))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn authorization_headers() {
        let read = |headers: &[&str]| match bearer(headers.iter().map(|h| h.as_bytes())) {
            Ok(Bearer::None) => "none".to_owned(),
            Ok(Bearer::ExtraSpace) => "extra".into(),
            Ok(Bearer::Token(t)) => t.expose().into(),
            Err(e) => e.to_string(),
        };
        for (header, want) in [
            ("Bearer a", "a"),
            ("bEARER a", "a"),
            (" Bearer a b c", "a"),
            ("Bearer  a", "extra"),
            ("Basic a", "none"),
            ("Basic", "none"),
            ("Bearer", "the Authorization header is empty"),
            ("bearer ", "the Authorization header is empty"),
            ("", "the Authorization header is empty"),
            ("Bearer \u{e9}", "the Authorization header has characters other than printable ASCII"),
        ] {
            assert_eq!(read(&[header]), want, "{header:?}");
        }
        assert_eq!(read(&[]), "none");
        assert_eq!(read(&["Bearer a", "Bearer a"]), "there is more than one Authorization header");
    }

    #[test]
    fn tokens_in_sub_protocols() {
        let read = |headers: &[&str]| match websocket_bearer(headers.iter().map(|h| h.as_bytes())) {
            Ok(None) => "none".to_owned(),
            Ok(Some(Ok(token))) => token.expose().into(),
            Ok(Some(Err(e))) => e.to_string(),
            Err(e) => e.to_string(),
        };
        let of = |token: &str| {
            format!("base64url.bearer.authorization.k8s.io.{}", BASE64_URL_SAFE_NO_PAD.encode(token))
        };
        let (protocol, other) = (of("tok"), "v4.channel.k8s.io");
        assert_eq!(read(&[&format!("{protocol}, {other}")]), "tok");
        assert_eq!(read(&[other, &protocol]), "tok", "one list in two headers");
        assert_eq!(read(&[other]), "none");
        assert_eq!(read(&[]), "none");
        assert_eq!(read(&[&protocol]), "missing additional subprotocol");
        let two = "multiple base64.bearer.authorization tokens specified";
        assert_eq!(read(&[other, &protocol, &of("b")]), two);
        let encoding = "invalid base64.bearer.authorization token encoding";
        assert_eq!(read(&[other, &format!("{protocol}=")]), encoding);
        assert_eq!(read(&[other, &of("")]), "invalid base64.bearer.authorization token");
        let bytes =
            format!("base64url.bearer.authorization.k8s.io.{}", BASE64_URL_SAFE_NO_PAD.encode([0xff]));
        assert_eq!(read(&[other, &bytes]), "invalid base64.bearer.authorization token");
        let unreadable = "the Sec-WebSocket-Protocol header has characters other than printable ASCII";
        assert_eq!(read(&[other, "\u{e9}"]), unreadable);
    }
}
