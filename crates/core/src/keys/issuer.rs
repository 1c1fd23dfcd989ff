//! What may be an issuer, and when there is discovery for it (Kubernetes
//! `pkg/controlplane/apiserver/options/validation.go`, `pkg/serviceaccount/openidmetadata.go`).

/// Why a flag about issuers is refused at start, in Kubernetes' words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IssuerError {
    /// The list names one twice.
    #[error("service-account-issuer {0:?} is already specified")]
    Duplicate(String),
    /// An empty entry.
    #[error("service-account-issuer should not be an empty string")]
    Empty,
    /// `--service-account-jwks-uri` over anything but https.
    #[error("service-account-jwks-uri requires https scheme, parsed as: {0}")]
    JwksUri(String),
    /// No issuer at all.
    #[error("service-account-issuer is a required flag")]
    Missing,
    /// Looks like a URL and is none.
    #[error("service-account-issuer {issuer:?} contained a ':' but was not a valid URL: {cause}")]
    Url {
        /// The issuer.
        issuer: String,
        /// What is wrong with it.
        cause: &'static str,
    },
}

/// Checks the list of `--service-account-issuer`.
///
/// ```
/// use tokensmith_core::keys::issuer::{check_issuers, discovery_problem};
///
/// assert!(check_issuers(&["https://issuer.example".into()]).is_ok());
/// assert!(check_issuers(&["https://[bad".into()]).is_err());
/// // Tokens can have it, but nobody can find its keys.
/// assert!(discovery_problem("http://issuer.example").is_some());
/// ```
pub fn check_issuers(issuers: &[String]) -> Result<(), IssuerError> {
    if issuers.is_empty() {
        return Err(IssuerError::Missing);
    }
    for (i, issuer) in issuers.iter().enumerate() {
        if issuer.trim().is_empty() {
            return Err(IssuerError::Empty);
        }
        if issuer.contains(':') {
            parse(issuer).map_err(|cause| IssuerError::Url { issuer: issuer.clone(), cause })?;
        }
        if issuers[..i].contains(issuer) {
            return Err(IssuerError::Duplicate(issuer.clone()));
        }
    }
    Ok(())
}

/// Checks `--service-account-jwks-uri`.
pub fn check_jwks_uri(uri: &str) -> Result<(), IssuerError> {
    match parse(uri) {
        Ok(url) if url.https() => Ok(()),
        _ => Err(IssuerError::JwksUri(uri.to_owned())),
    }
}

/// Why there is no discovery for an issuer; tokens are issued and verified all the same.
pub fn discovery_problem(issuer: &str) -> Option<String> {
    if issuer.is_empty() {
        return Some("empty issuer URL".into());
    }
    match parse(issuer) {
        Err(cause) => Some(format!("issuer URL {issuer:?} is not valid: {cause}")),
        Ok(url) if !url.https() => Some(format!("issuer URL must use https scheme, got: {issuer}")),
        Ok(url) if url.query => Some(format!("issuer URL may not include a query, got: {issuer}")),
        Ok(url) if url.fragment => Some(format!("issuer URL may not include a fragment, got: {issuer}")),
        Ok(_) => None,
    }
}

/// As much of a URL as the rules need.
struct Url<'a> {
    scheme: &'a str,
    query: bool,
    fragment: bool,
}

impl Url<'_> {
    fn https(&self) -> bool {
        self.scheme.eq_ignore_ascii_case("https")
    }
}

fn parse(text: &str) -> Result<Url<'_>, &'static str> {
    if text.chars().any(|c| c.is_ascii_control()) {
        return Err("invalid control character in URL");
    }
    let (scheme, rest) = text.split_once(':').unwrap_or(("", text));
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
    if text.contains(':')
        && !(scheme.starts_with(|c: char| c.is_ascii_alphabetic()) && scheme.chars().all(plain))
    {
        return Err(match scheme {
            "" => "missing protocol scheme",
            _ => "first path segment in URL cannot contain colon",
        });
    }
    if let Some(after) = rest.strip_prefix("//") {
        let host = after.split(['/', '?', '#']).next().unwrap_or_default();
        if host.contains([' ', '<', '>', '"', '\\', '^', '{', '}', '|', '`']) {
            return Err("invalid character in host name");
        }
        if host.contains('[') != host.contains(']') {
            return Err("missing ']' in host");
        }
    }
    let (before, fragment) = rest.split_once('#').unwrap_or((rest, ""));
    let query = before.split_once('?').is_some_and(|(_, query)| !query.is_empty());
    Ok(Url { scheme, query, fragment: !fragment.is_empty() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn discovery_needs_a_plain_https_url() {
        let cases = [
            ("https://issuer.example", None),
            ("https://issuer.example:8443/a/path/", None),
            ("HTTPS://issuer.example", None),
            ("", Some("empty issuer URL")),
            ("kubernetes", Some("issuer URL must use https scheme, got: kubernetes")),
            ("http://a.example", Some("issuer URL must use https scheme, got: http://a.example")),
            ("https://a.example?x=y", Some("issuer URL may not include a query, got: https://a.example?x=y")),
            ("https://a.example#x", Some("issuer URL may not include a fragment, got: https://a.example#x")),
        ];
        for (issuer, problem) in cases {
            assert_eq!(discovery_problem(issuer).as_deref(), problem, "{issuer}");
        }
    }

    #[test]
    fn flags_are_checked_in_kubernetes_words() {
        let list = |issuers: &[&str]| {
            let issuers: Vec<_> = issuers.iter().map(ToString::to_string).collect();
            check_issuers(&issuers).err().map(|e| e.to_string())
        };
        assert_eq!(list(&["https://a.example", "plain"]), None);
        assert_eq!(list(&[]).as_deref(), Some("service-account-issuer is a required flag"));
        assert_eq!(list(&["a", ""]).as_deref(), Some("service-account-issuer should not be an empty string"));
        assert_eq!(
            list(&["a", "b", "a"]).as_deref(),
            Some("service-account-issuer \"a\" is already specified")
        );
        let text =
            "service-account-issuer \":x\" contained a ':' but was not a valid URL: missing protocol scheme";
        assert_eq!(list(&[":x"]).as_deref(), Some(text));
        let text = "service-account-jwks-uri requires https scheme, parsed as: http://a/keys";
        assert_eq!(check_jwks_uri("http://a/keys").err().map(|e| e.to_string()).as_deref(), Some(text));
        assert_eq!(check_jwks_uri("https://a/keys"), Ok(()));
    }
}
