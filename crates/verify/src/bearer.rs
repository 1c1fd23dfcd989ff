//! The bearer token of a request (RFC 6750 §2.1). Those in a form or in the URL are not looked at: they end in logs.

use http::HeaderMap;
use http::header::AUTHORIZATION;

use super::Rejection;

/// The token; the scheme's case does not matter.
///
/// # Errors
/// There is none, more than one, or one that is no token or cannot be read.
pub fn bearer(headers: &HeaderMap) -> Result<&str, Rejection> {
    let mut all = headers.get_all(AUTHORIZATION).iter();
    let header = all.next().ok_or(Rejection::Missing)?;
    if all.next().is_some() {
        return Err(Rejection::Several);
    }
    // Not as if there were none: a service behind might let strangers in.
    let header = header.to_str().map_err(|_| Rejection::Unreadable)?;
    if header.trim().is_empty() {
        return Err(Rejection::Empty);
    }
    let (scheme, rest) = header.split_once(' ').ok_or(Rejection::Missing)?;
    if !scheme.eq_ignore_ascii_case("Bearer") {
        return Err(Rejection::Missing);
    }
    let token = rest.trim_matches(' ');
    // More than one token, a list, quotes: others could read another one than we do.
    let bare = token.trim_end_matches('=');
    if bare.is_empty() || !bare.bytes().all(|byte| IN_TOKEN[usize::from(byte)]) {
        return Err(Rejection::Malformed);
    }
    Ok(token)
}

/// The characters of a token (RFC 6750 §2.1, `b64token`), as a table: this is done for every byte of every request.
const IN_TOKEN: [bool; 256] = {
    let mut table = [false; 256];
    let mut at = 0;
    while at < 256 {
        let byte = at as u8;
        table[at] = byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'+' | b'/');
        at += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers() {
        let read = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(AUTHORIZATION, value.parse().unwrap());
            }
            bearer(&headers).map(str::to_owned)
        };
        for good in ["Bearer a.b.c", "bearer a.b.c", "BEARER  a.b.c", "Bearer a.b.c "] {
            assert_eq!(read(&[good]).as_deref(), Ok("a.b.c"), "{good}");
        }
        assert_eq!(read(&["Bearer YQ=="]).as_deref(), Ok("YQ=="));
        for none in ["Bearer", "Basic dXNlcjpw", "Bearera.b.c", "Token a.b.c", "Bearer\ta.b.c"] {
            assert_eq!(read(&[none]), Err(Rejection::Missing), "{none}");
        }
        for bad in [
            "Bearer ",
            "Bearer a, Bearer b",
            "Bearer a b",
            "Bearer \"a\"",
            "Bearer =",
            "Bearer a=b",
            "Bearer a\tb",
        ] {
            assert_eq!(read(&[bad]), Err(Rejection::Malformed), "{bad}");
        }
        for empty in ["", " ", "\t"] {
            assert_eq!(read(&[empty]), Err(Rejection::Empty), "{empty:?}");
        }
        assert_eq!(read(&[]), Err(Rejection::Missing));
        assert_eq!(read(&["Bearer a.b.c", "Bearer a.b.c"]), Err(Rejection::Several));
        assert_eq!(read(&["Basic x", "Bearer a.b.c"]), Err(Rejection::Several));
        for unreadable in [&b"Bearer \xff"[..], b"\xff", "Bearer a.b.c\u{e9}".as_bytes()] {
            let mut headers = HeaderMap::new();
            headers.insert(AUTHORIZATION, http::HeaderValue::from_bytes(unreadable).unwrap());
            assert_eq!(bearer(&headers), Err(Rejection::Unreadable));
        }
    }
}
