//! Where an issuer's keys are to be found, and from where they may come at all. Pure.

use http::Uri;
use serde::Deserialize;
use tokensmith_core::keys::issuer::check_discovery;

use crate::DiscoveryError;

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
        None => Err(DiscoveryError::Url(issuer.to_owned())),
        Some(_) => Ok(()),
    }
}

/// The address of the discovery document: without one trailing slash of the issuer (OpenID Connect Discovery §4).
pub fn url(issuer: &str) -> String {
    format!("{}/.well-known/openid-configuration", issuer.strip_suffix('/').unwrap_or(issuer))
}

/// Reads the one thing that is needed of a discovery document.
///
/// # Errors
/// It is another issuer's, or its key set could come from anyone.
pub fn jwks_uri(issuer: &str, document: &[u8]) -> Result<String, DiscoveryError> {
    #[derive(Deserialize)]
    struct Document {
        issuer: String,
        jwks_uri: String,
    }
    let read: Option<Document> = serde_json::from_slice(document).ok();
    let read = read.ok_or(DiscoveryError::Incomplete)?;
    // Byte for byte: else one tenant of a host could speak for another (OpenID Connect Discovery §4.3).
    if read.issuer != issuer {
        return Err(DiscoveryError::Foreign { found: read.issuer, issuer: issuer.into() });
    }
    let https = plain(&read.jwks_uri).is_some_and(|uri| uri.scheme_str() == Some("https"));
    if https || (loopback(issuer) && loopback(&read.jwks_uri)) {
        return Ok(read.jwks_uri);
    }
    Err(DiscoveryError::JwksUri(read.jwks_uri))
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
        for junk in ["", "[]", "{}", r#"{"issuer":"https://a.example"}"#, r#"{"issuer":1,"jwks_uri":2}"#] {
            assert!(jwks_uri(far, junk.as_bytes()).is_err(), "{junk}");
        }
    }
}
