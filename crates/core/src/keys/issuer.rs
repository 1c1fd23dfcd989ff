//! What may be an issuer, and when there is discovery for it (Kubernetes
//! `pkg/controlplane/apiserver/options/validation.go`, `pkg/serviceaccount/openidmetadata.go`).

/// Why a flag about issuers is refused at start, in Kubernetes' words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IssuerError {
    /// `--discovery-authorization-endpoint` over anything but https.
    #[error("discovery-authorization-endpoint requires https scheme, parsed as: {0}")]
    AuthorizationEndpoint(String),
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
    #[error("service-account-issuer {issuer:?} contained a ':' but was not a valid URL: {source}")]
    Url {
        /// The issuer.
        issuer: String,
        /// What is wrong with it.
        source: UrlError,
    },
}

/// Checks the list of `--service-account-issuer`.
///
/// ```
/// use tokensmith_core::keys::issuer::{check_discovery, check_issuers};
///
/// assert!(check_issuers(&["https://issuer.example".into()]).is_ok());
/// assert!(check_issuers(&["https://[bad".into()]).is_err());
/// // Tokens can have it, but nobody can find its keys.
/// assert!(check_discovery("http://issuer.example").is_err());
/// ```
///
/// # Errors
/// There is none, one is empty or there twice, or one with a colon is no URL: kube-apiserver starts with none of these
/// (`pkg/kubeapiserver/options/authentication.go`).
pub fn check_issuers(issuers: &[String]) -> Result<(), IssuerError> {
    if issuers.is_empty() {
        return Err(IssuerError::Missing);
    }
    for (i, issuer) in issuers.iter().enumerate() {
        if issuer.trim().is_empty() {
            return Err(IssuerError::Empty);
        }
        if issuer.contains(':') {
            parse(issuer).map_err(|source| IssuerError::Url { issuer: issuer.clone(), source })?;
        }
        if issuers[..i].contains(issuer) {
            return Err(IssuerError::Duplicate(issuer.clone()));
        }
    }
    Ok(())
}

/// Checks `--service-account-jwks-uri`.
///
/// # Errors
/// It is no https URL.
pub fn check_jwks_uri(uri: &str) -> Result<(), IssuerError> {
    check_https(uri, IssuerError::JwksUri)
}

/// Checks `--discovery-authorization-endpoint`.
///
/// # Errors
/// It is no https URL.
pub fn check_authorization_endpoint(url: &str) -> Result<(), IssuerError> {
    check_https(url, IssuerError::AuthorizationEndpoint)
}

fn check_https(url: &str, refused: impl FnOnce(String) -> IssuerError) -> Result<(), IssuerError> {
    match parse(url) {
        Ok(parsed) if parsed.https() => Ok(()),
        _ => Err(refused(url.to_owned())),
    }
}

/// Why there is no discovery for an issuer, in Kubernetes' words; tokens are issued and verified all the same.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoDiscovery {
    /// It has no name.
    #[error("empty issuer URL")]
    Empty,
    /// Its URL has a fragment.
    #[error("issuer URL may not include a fragment, got: {0}")]
    Fragment(String),
    /// Anyone could answer in its place.
    #[error("issuer URL must use https scheme, got: {0}")]
    NotHttps(String),
    /// Its URL has a query.
    #[error("issuer URL may not include a query, got: {0}")]
    Query(String),
    /// Its name is no URL.
    #[error("issuer URL {issuer:?} is not valid: {source}")]
    Url {
        /// The issuer.
        issuer: String,
        /// What is wrong with it.
        source: UrlError,
    },
}

/// Whether an issuer's documents can be found by its name.
///
/// # Errors
/// They cannot, and why.
pub fn check_discovery(issuer: &str) -> Result<(), NoDiscovery> {
    if issuer.is_empty() {
        return Err(NoDiscovery::Empty);
    }
    let named = || issuer.to_owned();
    match parse(issuer) {
        Err(source) => Err(NoDiscovery::Url { issuer: named(), source }),
        Ok(url) if !url.https() => Err(NoDiscovery::NotHttps(named())),
        Ok(url) if url.query => Err(NoDiscovery::Query(named())),
        Ok(url) if url.fragment => Err(NoDiscovery::Fragment(named())),
        Ok(_) => Ok(()),
    }
}

/// Why a text is no URL, in Go's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// A bracket of an IPv6 address alone.
    #[error("missing ']' in host")]
    Bracket,
    /// A character that no host name has.
    #[error("invalid character in host name")]
    Character,
    /// What stands before the colon is no scheme.
    #[error("first path segment in URL cannot contain colon")]
    Colon,
    /// A control character.
    #[error("invalid control character in URL")]
    Control,
    /// Nothing stands before the colon.
    #[error("missing protocol scheme")]
    Scheme,
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

fn parse(text: &str) -> Result<Url<'_>, UrlError> {
    if text.chars().any(|c| c.is_ascii_control()) {
        return Err(UrlError::Control);
    }
    let (scheme, rest) = text.split_once(':').unwrap_or(("", text));
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
    if text.contains(':')
        && !(scheme.starts_with(|c: char| c.is_ascii_alphabetic()) && scheme.chars().all(plain))
    {
        return Err(match scheme {
            "" => UrlError::Scheme,
            _ => UrlError::Colon,
        });
    }
    if let Some(after) = rest.strip_prefix("//") {
        let host = after.split(['/', '?', '#']).next().unwrap_or_default();
        if host.contains([' ', '<', '>', '"', '\\', '^', '{', '}', '|', '`']) {
            return Err(UrlError::Character);
        }
        if host.contains('[') != host.contains(']') {
            return Err(UrlError::Bracket);
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
            let found = check_discovery(issuer).err().map(|e| e.to_string());
            assert_eq!(found.as_deref(), problem, "{issuer}");
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
