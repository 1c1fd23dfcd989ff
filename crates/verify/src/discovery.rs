//! Where an issuer's keys are to be found, and from where they may come at all. Pure.

use http::Uri;
use serde::Deserialize;
use tokensmith_core::keys::issuer::check_discovery;

use crate::DiscoveryError;
use crate::error::cut;

/// The longest `jwks_uri`, bytes: it is kept, asked for and logged.
const LONGEST_URL: usize = 2048;

/// What an issuer must be for its documents to be had: an https URL without query and fragment, in Kubernetes' words
/// where it is not. Plain http is for this very machine, where nobody else can answer.
///
/// # Errors
/// What is wrong with it.
pub fn check_issuer(issuer: &str) -> Result<(), DiscoveryError> {
    if loopback(issuer) {
        return Ok(());
    }
    check_discovery(issuer)?;
    match plain(issuer) {
        None => Err(DiscoveryError::Url(cut(issuer))),
        Some(_) => Ok(()),
    }
}

/// The address of the discovery document: without one trailing slash of the issuer (OpenID Connect Discovery §4).
pub fn url(issuer: &str) -> String {
    format!("{}/.well-known/openid-configuration", trimmed(issuer))
}

/// Reads the one thing that is needed of a discovery document.
///
/// # Errors
/// It is another issuer's, or its key set could come from anyone.
pub fn jwks_uri(issuer: &str, document: &[u8]) -> Result<String, DiscoveryError> {
    judged(named(issuer, document)?, loopback(issuer))
}

/// The same of a document that was read below `base`, since the issuer's own name leads nowhere from here: one that a
/// test's server, or a cluster behind a load balancer, has for the outside.
///
/// Whose document it is, is told by what it says, byte for byte as ever. Its `jwks_uri` is a name for the outside, too:
/// what lies below the issuer is read below `base`, what else is at the issuer's host is read at `base`'s, and both as
/// `base` is, since whoever named it meant these documents and no others. What is elsewhere is read there.
///
/// # Errors
/// It is another issuer's, or its key set could come from anyone.
pub fn jwks_uri_elsewhere(issuer: &str, base: &str, document: &[u8]) -> Result<String, DiscoveryError> {
    let named = named(issuer, document)?;
    if has_dot_segments(&named) {
        return Err(DiscoveryError::JwksUri(cut(named)));
    }
    let (inside, base_path) = (trimmed(issuer), trimmed(base));
    let below = named.strip_prefix(inside).filter(|rest| rest.starts_with('/'));
    let there = match (below, plain(&named), plain(issuer), plain(base)) {
        (Some(rest), ..) => format!("{base_path}{rest}"),
        (None, Some(uri), Some(own), Some(base)) if origin(&uri) == origin(&own) => {
            let path = uri.path_and_query().map_or("/", |path| path.as_str());
            format!("{}://{}{path}", base.scheme_str().unwrap_or("https"), authority(&base))
        }
        _ => named,
    };
    judged(there, loopback(base))
}

/// Checks where an issuer's documents are to be read instead.
///
/// # Errors
/// It is neither an https URL nor this very machine.
pub fn check_base(base: &str) -> Result<(), DiscoveryError> {
    let https = plain(base).is_some_and(|uri| uri.scheme_str() == Some("https") && uri.query().is_none());
    if https || loopback(base) { Ok(()) } else { Err(DiscoveryError::Url(cut(base))) }
}

/// The `jwks_uri` that a document of this issuer names.
fn named(issuer: &str, document: &[u8]) -> Result<String, DiscoveryError> {
    #[derive(Deserialize)]
    struct Document {
        issuer: String,
        jwks_uri: String,
    }
    let read: Option<Document> = serde_json::from_slice(document).ok();
    let read = read.ok_or(DiscoveryError::Incomplete)?;
    // Byte for byte: else one tenant of a host could speak for another (OpenID Connect Discovery §4.3).
    if read.issuer != issuer {
        return Err(DiscoveryError::Foreign { found: cut(read.issuer), issuer: issuer.into() });
    }
    Ok(read.jwks_uri)
}

/// Refuses what could come from anyone; plain http is for an issuer of this very machine.
fn judged(jwks_uri: String, here: bool) -> Result<String, DiscoveryError> {
    let https = plain(&jwks_uri).is_some_and(|uri| uri.scheme_str() == Some("https"));
    // A key set's address may have a query; an issuer's has none.
    let bare = jwks_uri.split('?').next().unwrap_or_default();
    let short = jwks_uri.len() <= LONGEST_URL;
    if short && (https || (here && loopback(bare))) {
        return Ok(jwks_uri);
    }
    Err(DiscoveryError::JwksUri(cut(jwks_uri)))
}

/// Whether a URL's path has a `.` or `..`, as whoever resolves it may read it (RFC 3986 §5.2.4; with `%2e`, `%2f` and `\` as
/// <https://url.spec.whatwg.org/#path-state> and lenient servers do). Put below another URL, it could lead out of there.
pub fn has_dot_segments(url: &str) -> bool {
    let path = url.split(['?', '#']).next().unwrap_or_default().to_ascii_lowercase();
    let path = path.replace("%2e", ".").replace("%2f", "/").replace("%5c", "/");
    path.split(['/', '\\']).any(|segment| matches!(segment, "." | ".."))
}

fn trimmed(url: &str) -> &str {
    url.strip_suffix('/').unwrap_or(url)
}

fn authority(uri: &Uri) -> &str {
    uri.authority().map_or("", |authority| authority.as_str())
}

/// Scheme, host and port (RFC 6454 §4).
fn origin(uri: &Uri) -> (Option<&str>, String, Option<u16>) {
    let scheme = uri.scheme_str();
    let usual = match scheme {
        Some("https") => Some(443),
        Some("http") => Some(80),
        _ => None,
    };
    (scheme, uri.host().unwrap_or_default().to_ascii_lowercase(), uri.port_u16().or(usual))
}

/// A URL with a host, without a user and without a fragment.
fn plain(url: &str) -> Option<Uri> {
    let uri: Uri = url.parse().ok().filter(|_| !url.contains('#'))?;
    let authority = uri.authority().filter(|a| !a.as_str().contains('@'))?;
    (!authority.host().is_empty()).then_some(uri)
}

fn loopback(url: &str) -> bool {
    let Some(uri) = plain(url).filter(|uri| uri.scheme_str() == Some("http") && uri.query().is_none()) else {
        return false;
    };
    let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn issuers() {
        for good in [
            "https://a.example",
            "https://a.example:8443/b/",
            "http://127.0.0.1:6443",
            "http://localhost/x",
            "http://[::1]:1",
        ] {
            assert_eq!(check_issuer(good), Ok(()), "{good}");
        }
        for (wrong, why) in [
            ("", "empty issuer URL"),
            ("http://a.example", "issuer URL must use https scheme, got: http://a.example"),
            (
                "http://127.0.0.1.evil.example",
                "issuer URL must use https scheme, got: http://127.0.0.1.evil.example",
            ),
            (
                "http://localhost@evil.example",
                "issuer URL must use https scheme, got: http://localhost@evil.example",
            ),
            ("http://localhost?x", "issuer URL must use https scheme, got: http://localhost?x"),
            ("https://a.example?x=y", "issuer URL may not include a query, got: https://a.example?x=y"),
            ("https://u@a.example", "issuer URL \"https://u@a.example\" is not valid"),
            ("kubernetes", "issuer URL must use https scheme, got: kubernetes"),
        ] {
            assert_eq!(check_issuer(wrong).unwrap_err().to_string(), why);
        }
    }

    #[test]
    fn one_trailing_slash_is_cut() {
        assert_eq!(url("https://a/b"), "https://a/b/.well-known/openid-configuration");
        assert_eq!(url("https://a/b/"), "https://a/b/.well-known/openid-configuration");
        assert_eq!(url("https://a//"), "https://a//.well-known/openid-configuration");
    }

    #[test]
    fn documents_that_are_read_elsewhere_lead_there() {
        let read = |issuer: &str, base: &str, keys: &str| {
            let document = serde_json::json!({"issuer": issuer, "jwks_uri": keys});
            jwks_uri_elsewhere(issuer, base, document.to_string().as_bytes())
        };
        let (issuer, here) = ("https://a.example/tenant", "http://127.0.0.1:8080/x/");
        for (keys, there) in [
            ("https://a.example/tenant/keys?v=1", "http://127.0.0.1:8080/x/keys?v=1"),
            ("https://a.example/keys", "http://127.0.0.1:8080/keys"),
            ("https://A.example:443/keys?v=1", "http://127.0.0.1:8080/keys?v=1"),
            ("https://a.example/tenant2/keys", "http://127.0.0.1:8080/tenant2/keys"),
            ("https://keys.example/k", "https://keys.example/k"),
            ("http://127.0.0.1:9/k", "http://127.0.0.1:9/k"),
        ] {
            assert_eq!(read(issuer, here, keys).as_deref(), Ok(there), "{keys}");
        }
        for keys in [
            "http://keys.example/k",
            "https://a.example@evil.example/k",
            "/k",
            "",
            "http://a.example/tenant/k",
            // RFC 3986 §5.2.4: out of what the base is for.
            "https://a.example/tenant/../admin",
            "https://a.example/tenant/%2E%2e/admin",
            "https://a.example/tenant/.%2e/admin",
            "https://a.example/tenant/..%2fadmin",
            "https://a.example/tenant/..\\admin",
            "https://a.example/./tenant/k",
            "https://a.example/tenant/..?v=1",
        ] {
            assert!(read(issuer, here, keys).is_err(), "{keys}");
        }
        assert!(read(issuer, here, "https://a.example/tenant/..a/b..?c=/../").is_ok());
        // What is read over https leads to no plain http.
        assert!(read(issuer, "https://b.example", "http://127.0.0.1:9/k").is_err());
        // An issuer that is no URL has nothing below it.
        assert_eq!(read("kubernetes", here, "https://k.example/k").as_deref(), Ok("https://k.example/k"));
        assert!(
            jwks_uri_elsewhere(
                issuer,
                here,
                br#"{"issuer":"https://a.example","jwks_uri":"https://a.example/k"}"#
            )
            .is_err()
        );
        for base in ["https://b.example/x", "http://localhost:1", "http://[::1]/"] {
            assert_eq!(check_base(base), Ok(()), "{base}");
        }
        for base in
            ["", "b.example", "http://b.example", "https://b.example?x", "https://u@b.example", "file:///x"]
        {
            assert!(check_base(base).is_err(), "{base}");
        }
    }

    #[test]
    fn documents() {
        let read = |issuer: &str, of: &str, keys: &str| {
            let document = serde_json::json!({"issuer": of, "jwks_uri": keys, "more": {}});
            jwks_uri(issuer, document.to_string().as_bytes())
        };
        let (far, near) = ("https://a.example", "http://127.0.0.1:1");
        assert_eq!(read(far, far, "https://keys.example/k?v=1").unwrap(), "https://keys.example/k?v=1");
        assert_eq!(read(near, near, "http://localhost:2/k").unwrap(), "http://localhost:2/k");
        assert!(read(near, near, "https://keys.example/k").is_ok());
        for (issuer, of, keys) in [
            (far, "https://a.example/", "https://a.example/k"),
            (far, "https://A.example", "https://a.example/k"),
            (far, far, "http://a.example/k"),
            (far, far, "http://127.0.0.1/k"),
            (far, far, "file:///etc/passwd"),
            (far, far, "https://u:p@a.example/k"),
            (far, far, "/k"),
            (far, far, ""),
            (near, near, "http://a.example/k"),
        ] {
            assert!(read(issuer, of, keys).is_err(), "{issuer} {of} {keys}");
        }
        // A long one is no address, and what is told of it is short.
        let long = format!("https://keys.example/{}", "k".repeat(1 << 19));
        let error = read(far, far, &long).unwrap_err().to_string();
        assert!(error.len() < 400 && error.contains("https://keys.example/kk"), "{error}");
        let error = read(far, &long.replace('k', "é"), far).unwrap_err().to_string();
        assert!(error.len() < 400 && error.contains("is of the issuer"), "{error}");
        for junk in ["", "[]", "{}", r#"{"issuer":"https://a.example"}"#, r#"{"issuer":1,"jwks_uri":2}"#] {
            assert!(jwks_uri(far, junk.as_bytes()).is_err(), "{junk}");
        }
    }
}
