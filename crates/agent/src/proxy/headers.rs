//! Which headers end here. A client must neither speak for the proxy nor for another user, nor steer the connection
//! to the upstream.

use http::HeaderMap;
use http::header::{
    CONNECTION, CONTENT_LENGTH, COOKIE, HeaderName, HeaderValue, PROXY_AUTHENTICATE, TE, TRANSFER_ENCODING,
    UPGRADE,
};

/// What a request loses, besides what its `Connection` names. In the order of their first letters.
const RESERVED: &[&[u8]] = &[
    b"authorization",
    b"connection",
    b"forwarded",
    b"host",
    b"http2-settings",
    b"keep-alive",
    // CGI makes it the variable HTTP_PROXY (CVE-2016-5385).
    b"proxy",
    b"proxy-authenticate",
    b"proxy-authorization",
    b"proxy-connection",
    b"te",
    b"transfer-encoding",
    b"upgrade",
    b"x-forwarded",
    b"x-real-ip",
];

/// And what begins like this: where the request came from, and who is behind it, in the API server's words
/// (`--requestheader-*-headers`, `Impersonate-User`).
const RESERVED_PREFIXES: &[&[u8]] = &[b"impersonate-", b"x-forwarded-", b"x-remote-"];

/// These pass as they are, but not in disguise.
const FRAMING: &[u8] = b"content-length";

/// `Proxy-Connection`, `Keep-Alive`: hop-by-hop by custom.
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");

/// Takes out of a request's headers what ends here; says whether the client takes trailers (`TE: trailers`).
pub(super) fn strip_request(headers: &mut HeaderMap) -> bool {
    let trailers = headers.get_all(TE).iter().any(takes_trailers);
    let mut doomed = named_in_connection(headers);
    doomed.extend(headers.keys().filter(|name| is_reserved(name)).cloned());
    for name in doomed {
        headers.remove(name);
    }
    trailers
}

/// Takes out of an answer's headers what belongs to the connection to the upstream.
pub(super) fn strip_response(headers: &mut HeaderMap) {
    // Of two lengths this is the one that counts (RFC 9112, 6.3); the other one must not go on alone.
    if headers.contains_key(TRANSFER_ENCODING) {
        headers.remove(CONTENT_LENGTH);
    }
    for name in named_in_connection(headers) {
        headers.remove(name);
    }
    for name in [CONNECTION, KEEP_ALIVE, PROXY_AUTHENTICATE, PROXY_CONNECTION, TE, TRANSFER_ENCODING, UPGRADE]
    {
        headers.remove(name);
    }
}

/// Makes one line of a browser's or client's cookies, which HTTP/2 may have in many: HTTP/1 allows one (RFC 9113, 8.2.3).
pub(super) fn join_cookies(headers: &mut HeaderMap) {
    let mut all = headers.get_all(COOKIE).iter();
    if let (Some(first), Some(second)) = (all.next(), all.next()) {
        let crumbs: Vec<_> = [first, second].into_iter().chain(all).map(HeaderValue::as_bytes).collect();
        // Values that were headers are one together, too.
        if let Ok(mut joined) = HeaderValue::from_bytes(&crumbs.join(&b"; "[..])) {
            joined.set_sensitive(true);
            headers.insert(COOKIE, joined);
        }
    }
}

/// Whether a header's name is one that ends here, or passes for one: CGI, WSGI and their like make the same variable
/// of `X-Remote-User`, `X_Remote_User` and `X.Remote.User`.
fn is_reserved(name: &HeaderName) -> bool {
    let name = name.as_str().as_bytes();
    let first = name.first().copied().unwrap_or_default();
    RESERVED.iter().any(|reserved| reserved[0] == first && is(name, reserved))
        || RESERVED_PREFIXES.iter().any(|prefix| {
            prefix[0] == first && name.len() >= prefix.len() && is(&name[..prefix.len()], prefix)
        })
        || (first == FRAMING[0] && name != FRAMING && is(name, FRAMING))
}

/// Whether they are the same but for what stands between the words. Names are in lower case.
pub(super) fn is(name: &[u8], reserved: &[u8]) -> bool {
    name.len() == reserved.len()
        && name.iter().zip(reserved).all(|(a, b)| a == b || (*b == b'-' && !a.is_ascii_alphanumeric()))
}

/// The headers that `Connection` names (RFC 9110, 7.6.1): meant for this proxy, not for those behind it.
fn named_in_connection(headers: &HeaderMap) -> Vec<HeaderName> {
    let options = headers.get_all(CONNECTION).iter().flat_map(|value| value.as_bytes().split(|b| *b == b','));
    options
        .map(<[u8]>::trim_ascii)
        .filter(|option| !is_option(option))
        .filter_map(|option| HeaderName::from_bytes(option).ok())
        .filter(|name| headers.contains_key(name))
        .collect()
}

/// What is on almost every request, and names no header that is not reserved anyway.
fn is_option(option: &[u8]) -> bool {
    ["keep-alive", "close", "upgrade", "te"].iter().any(|known| option.eq_ignore_ascii_case(known.as_bytes()))
}

fn takes_trailers(value: &HeaderValue) -> bool {
    value.as_bytes().split(|b| *b == b',').any(|coding| {
        let name = coding.split(|b| *b == b';').next().unwrap_or_default();
        name.trim_ascii().eq_ignore_ascii_case(b"trailers")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(lines: &[(&str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in lines {
            map.append(
                HeaderName::from_bytes(name.as_bytes()).unwrap(),
                HeaderValue::from_str(value).unwrap(),
            );
        }
        map
    }

    fn left(map: &HeaderMap) -> Vec<&str> {
        let mut names: Vec<_> = map.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn what_is_reserved_goes_in_every_disguise() {
        for name in [
            "Authorization",
            "Connection",
            "Forwarded",
            "Host",
            "HTTP2-Settings",
            "Impersonate-Extra-scopes",
            "Impersonate-Group",
            "Impersonate-Uid",
            "Impersonate-User",
            "Impersonate_User",
            "Keep-Alive",
            "Proxy",
            "Proxy-Authorization",
            "Proxy-Connection",
            "TE",
            "Transfer-Encoding",
            "Transfer_Encoding",
            "Upgrade",
            "X-Forwarded-For",
            "X-Forwarded-Host",
            "X-Forwarded-Proto",
            "X-Real-IP",
            "X-Remote-Extra-a%2fb",
            "X-Remote-Group",
            "X-Remote-Uid",
            "X-Remote-User",
            "x_remote_user",
            "X-Remote_User",
            "X.Remote.User",
            "X~Remote-Group",
            "x_forwarded_for",
            "Content_Length",
            "content.length",
            "proxy_authorization",
            "X_Real_IP",
        ] {
            let mut headers = map(&[(name, "a"), (name, "b"), ("accept", "c")]);
            strip_request(&mut headers);
            assert_eq!(left(&headers), ["accept"], "{name}");
        }
    }

    #[test]
    fn the_rest_stays() {
        let names = [
            "accept",
            "content-length",
            "content-type",
            "cookie",
            "expect",
            "grpc-timeout",
            "range",
            "trailer",
            "user-agent",
            "x-real",
            "x-remote",
            "x-request-id",
            "xx-remote-user",
        ];
        let mut headers = map(&names.map(|name| (name, "v")));
        strip_request(&mut headers);
        assert_eq!(left(&headers), names);
    }

    #[test]
    fn what_connection_names_goes() {
        let mut headers = map(&[
            ("connection", "close, X-Hop"),
            ("connection", ",, cookie ,%%,not there"),
            ("x-hop", "1"),
            ("cookie", "2"),
            ("accept", "3"),
        ]);
        strip_request(&mut headers);
        assert_eq!(left(&headers), ["accept"]);
        let mut headers = map(&[("connection", "x-hop"), ("x-hop", "1"), ("keep-alive", "2"), ("etag", "3")]);
        strip_response(&mut headers);
        assert_eq!(left(&headers), ["etag"]);
    }

    #[test]
    fn an_answer_with_two_lengths_keeps_none() {
        let mut headers = map(&[("content-length", "5"), ("transfer-encoding", "chunked"), ("etag", "1")]);
        strip_response(&mut headers);
        assert_eq!(left(&headers), ["etag"]);
    }

    #[test]
    fn cookies_become_one_line() {
        let mut headers = map(&[("cookie", "a=1"), ("cookie", "b=2"), ("cookie", "c=3")]);
        join_cookies(&mut headers);
        assert_eq!(headers.get_all(COOKIE).iter().collect::<Vec<_>>(), ["a=1; b=2; c=3"]);
        let mut headers = map(&[("cookie", "a=1")]);
        join_cookies(&mut headers);
        assert_eq!(headers.get_all(COOKIE).iter().collect::<Vec<_>>(), ["a=1"]);
    }

    #[test]
    fn trailers_are_noticed() {
        assert!(strip_request(&mut map(&[("te", "gzip;q=0.5, Trailers")])));
        assert!(strip_request(&mut map(&[("te", "trailers;q=1")])));
        assert!(!strip_request(&mut map(&[("te", "gzip, nottrailers")])));
        assert!(!strip_request(&mut map(&[])));
    }
}
