//! Headers by which a client says who somebody is. None of them goes on, but one that cannot be read for certain ends the
//! request: who sends it is up to something, or means to be somebody and would go on as somebody else.

use http::HeaderMap;
use http::header::{AUTHORIZATION, HeaderName, HeaderValue};
use tokensmith_core::access::header::{HeaderError, single};

use super::headers::is;

/// There once, or not at all.
const SINGLE: &[&[u8]] = &[b"impersonate-uid", b"impersonate-user", b"x-remote-uid", b"x-remote-user"];

/// And all that begins like this: groups and extras, which may be repeated.
const PREFIXES: &[&[u8]] = &[b"impersonate-", b"x-remote-"];

/// Looks at the headers that say who somebody is, in every disguise in which they are taken away.
pub(super) fn check(headers: &HeaderMap) -> Result<(), HeaderError> {
    for name in headers.keys() {
        let bytes = name.as_str().as_bytes();
        let prefix =
            PREFIXES.iter().find(|p| p[0] == bytes[0] && bytes.len() >= p.len() && is(&bytes[..p.len()], p));
        if prefix.is_none() {
            continue;
        }
        if SINGLE.iter().any(|known| is(bytes, known)) {
            single(name.as_str(), values(headers, name))?;
        } else {
            values(headers, name).try_for_each(|value| single(name.as_str(), [value]).map(drop))?;
        }
    }
    Ok(())
}

/// Looks at the client's own `Authorization`, where nobody else does. Since the token takes its place whatever it says,
/// it may be there more than once.
pub(super) fn check_authorization(headers: &HeaderMap) -> Result<(), HeaderError> {
    values(headers, &AUTHORIZATION).try_for_each(|value| single("Authorization", [value]).map(drop))
}

fn values<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a [u8]> {
    headers.get_all(name).into_iter().map(HeaderValue::as_bytes)
}
