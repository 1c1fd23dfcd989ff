//! What a request says of who sends it, read from its headers: exactly, or refused (400). None of them is passed over because
//! it could not be read: the request would go on as somebody else.

use http::header::{AUTHORIZATION, SEC_WEBSOCKET_PROTOCOL};
use http::{HeaderMap, HeaderName, HeaderValue};
use tokensmith_core::Error;
use tokensmith_core::access::bearer::{self, Bearer, websocket_bearer};
use tokensmith_core::access::header::HeaderError;
use tokensmith_core::access::impersonate::{self, Impersonation};
use tokensmith_core::access::{AuthError, BearerToken};

use crate::failure::Failure;

/// The tokens, in the order in which they count. An error among them is one that is refused unless another counts.
pub(crate) fn tokens(
    headers: &HeaderMap,
    warnings: &mut Vec<String>,
) -> Result<Vec<Result<BearerToken, AuthError>>, Failure> {
    let all = |name: HeaderName| headers.get_all(name).into_iter().map(HeaderValue::as_bytes);
    let bad = |e: HeaderError| Error::BadRequest(e.to_string());
    let mut tokens = Vec::new();
    match bearer::bearer(all(AUTHORIZATION)).map_err(bad)? {
        Bearer::None => {}
        Bearer::ExtraSpace => warnings.push(bearer::EXTRA_SPACE.into()),
        Bearer::Token(token) => tokens.push(Ok(token)),
    }
    tokens.extend(websocket_bearer(all(SEC_WEBSOCKET_PROTOCOL)).map_err(bad)?);
    Ok(tokens)
}

/// As whom the request wants to act.
pub(crate) fn impersonation(headers: &HeaderMap) -> Result<Option<Impersonation>, Failure> {
    let headers = headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
    impersonate::read(headers).map_err(|e| Error::BadRequest(e.to_string()).into())
}
