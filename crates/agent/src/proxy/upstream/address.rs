//! Where an upstream is.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use http::uri::{Authority, InvalidUri, Scheme};
use http::{HeaderValue, Uri};

use crate::proxy::address::{ListenAddress, SocketPathError, socket_path};

/// Where an upstream is: `http://HOST[:PORT]`, `https://HOST[:PORT]`, `unix:/PATH` (HTTP without TLS).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamAddress {
    pub(super) scheme: Scheme,
    pub(super) authority: Authority,
    pub(super) socket: Option<PathBuf>,
}

impl UpstreamAddress {
    /// `Host` as clients write it: without the scheme's own port.
    pub(super) fn host_header(&self) -> HeaderValue {
        let default = if self.scheme == Scheme::HTTPS { 443 } else { 80 };
        let text = match self.authority.port_u16() {
            Some(port) if port == default => self.authority.host(),
            _ => self.authority.as_str(),
        };
        HeaderValue::from_str(text).expect("an authority has no characters that a header cannot have")
    }

    /// Whether it is where this proxy listens itself: each request would come back for ever.
    pub(in crate::proxy) fn is(&self, listener: &ListenAddress) -> bool {
        use ListenAddress::{Tcp, Unix};
        match (listener, &self.socket) {
            (Unix(path), Some(socket)) => path == socket,
            (Tcp(address), None) => {
                let host = self.authority.host();
                let bare = host.trim_start_matches('[').trim_end_matches(']');
                let ip = bare.parse::<std::net::IpAddr>();
                let port =
                    self.authority.port_u16().unwrap_or(if self.scheme == Scheme::HTTPS { 443 } else { 80 });
                let here = match ip {
                    Ok(ip) => ip == address.ip() || (address.ip().is_unspecified() && ip.is_loopback()),
                    Err(_) => host.eq_ignore_ascii_case("localhost"),
                };
                here && port == address.port()
            }
            _ => false,
        }
    }
}

/// Text that is no [`UpstreamAddress`].
#[derive(Debug, thiserror::Error)]
pub enum UpstreamAddressError {
    /// A prefix of paths could be left again by `..`.
    #[error("{0}: an upstream's URL has no path")]
    Path(String),
    /// There is a colon, and nothing behind it.
    #[error("{0}: the port is missing")]
    Port(String),
    /// Neither HTTP nor a Unix socket.
    #[error("{0} is no scheme for an upstream: it must be http, https or unix")]
    Scheme(Scheme),
    /// The socket's path is relative.
    #[error(transparent)]
    SocketPath(#[from] SocketPathError),
    /// No URL at all.
    #[error("{text} is no URL: {cause}")]
    Url {
        /// All of it.
        text: String,
        /// What is wrong with it.
        #[source]
        cause: InvalidUri,
    },
    /// A password in a URL is soon in a log; this one is not repeated.
    #[error("an upstream's URL has no user name: the token is what it gets")]
    User,
    /// A path, or a host without a scheme.
    #[error("{0} is no URL with a scheme: say http://HOST:PORT, https://HOST or unix:/PATH")]
    WithoutScheme(String),
}

impl FromStr for UpstreamAddress {
    type Err = UpstreamAddressError;

    fn from_str(text: &str) -> Result<Self, UpstreamAddressError> {
        if let Some(path) = socket_path(text)? {
            let authority = Authority::from_static("localhost");
            return Ok(UpstreamAddress { scheme: Scheme::HTTP, authority, socket: Some(path) });
        }
        let url = |cause| UpstreamAddressError::Url { text: text.to_owned(), cause };
        let uri: Uri = text.parse().map_err(url)?;
        let parts = uri.into_parts();
        let (Some(scheme), Some(authority)) = (parts.scheme, parts.authority) else {
            return Err(UpstreamAddressError::WithoutScheme(text.to_owned()));
        };
        if scheme != Scheme::HTTP && scheme != Scheme::HTTPS {
            return Err(UpstreamAddressError::Scheme(scheme));
        }
        if authority.as_str().contains('@') {
            return Err(UpstreamAddressError::User);
        }
        // Paths go on as they come.
        if parts.path_and_query.is_some_and(|path| path.as_str() != "/") {
            return Err(UpstreamAddressError::Path(text.to_owned()));
        }
        if authority.port().is_some_and(|port| port.as_u16() == 0) || authority.as_str().ends_with(':') {
            return Err(UpstreamAddressError::Port(text.to_owned()));
        }
        Ok(UpstreamAddress { scheme, authority, socket: None })
    }
}

impl fmt::Display for UpstreamAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.socket {
            Some(path) => write!(f, "unix:{}", path.display()),
            None => write!(f, "{}://{}", self.scheme, self.authority),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_told() {
        for (text, host_header) in [
            ("http://example.com", "example.com"),
            ("http://example.com:8080", "example.com:8080"),
            ("https://example.com:8443", "example.com:8443"),
            ("http://[::1]:80", "[::1]"),
            ("unix:/run/app.sock", "localhost"),
        ] {
            let address: UpstreamAddress = text.parse().unwrap();
            assert_eq!(
                (address.to_string().as_str(), address.host_header().to_str().unwrap()),
                (text, host_header)
            );
        }
        let slash: UpstreamAddress = "https://example.com:443/".parse().unwrap();
        assert_eq!(slash.host_header(), "example.com");
        for bad in [
            "",
            "example.com",
            "example.com:80",
            "ftp://example.com",
            "http://",
            "http://a/b",
            "http://a/?b",
            "http://u:p@a",
            "http://a:0",
            "http://a:",
            "unix:app.sock",
            "http://a b",
        ] {
            let error = bad.parse::<UpstreamAddress>().unwrap_err().to_string();
            assert!(!error.contains('\n') && !error.contains("u:p"), "{error}");
        }
    }

    #[test]
    fn a_proxy_knows_itself() {
        let is = |upstream: &str, listener: &str| {
            upstream.parse::<UpstreamAddress>().unwrap().is(&listener.parse().unwrap())
        };
        assert!(is("http://localhost:8181", "127.0.0.1:8181"));
        assert!(is("http://127.0.0.1:8181", "0.0.0.0:8181"));
        assert!(is("http://[::1]:8181", "[::1]:8181"));
        assert!(is("http://127.0.0.1", "127.0.0.1:80"));
        assert!(is("unix:/s", "unix:/s"));
        assert!(!is("http://localhost:8182", "127.0.0.1:8181"));
        assert!(!is("http://example.com:8181", "127.0.0.1:8181"));
        assert!(!is("unix:/s", "unix:/t"));
    }
}
