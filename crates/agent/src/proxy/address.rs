//! Where the proxy listens.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

/// `127.0.0.1:8181`, `[::1]:8181`, `localhost:8181` (IPv4's), `unix:/path`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenAddress {
    /// A TCP port; 0 lets the system choose.
    Tcp(SocketAddr),
    /// A Unix socket.
    Unix(PathBuf),
}

impl ListenAddress {
    /// Whether only this machine's processes get there.
    pub fn is_local(&self) -> bool {
        match self {
            ListenAddress::Tcp(address) => is_loopback(address.ip()),
            ListenAddress::Unix(_) => true,
        }
    }
}

/// Whether an address is the machine itself; also when IPv4 is written as IPv6.
pub(super) fn is_loopback(ip: IpAddr) -> bool {
    ip.to_canonical().is_loopback()
}

/// A Unix socket's path that depends on where the process is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}: the path of a Unix socket begins with /")]
pub struct SocketPathError(String);

/// Text that is no [`ListenAddress`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ListenAddressError {
    /// Neither an IP address with a port nor a Unix socket.
    #[error("{0} is no address to listen on: say 127.0.0.1:8181, [::1]:8181 or unix:/path")]
    Address(String),
    /// What is behind the colon is no port.
    #[error("{text}: {port:?} is no port")]
    Port {
        /// All of it.
        text: String,
        /// What should be a port.
        port: String,
    },
    /// The socket's path is relative.
    #[error(transparent)]
    SocketPath(#[from] SocketPathError),
}

/// The path in `unix:/path`; `None` of what is no Unix socket.
pub(super) fn socket_path(text: &str) -> Result<Option<PathBuf>, SocketPathError> {
    let Some(path) = text.strip_prefix("unix:") else { return Ok(None) };
    // `unix:///path` is written by habit.
    let path = path.strip_prefix("//").unwrap_or(path);
    match path.starts_with('/') {
        true => Ok(Some(path.into())),
        false => Err(SocketPathError(text.to_owned())),
    }
}

impl FromStr for ListenAddress {
    type Err = ListenAddressError;

    fn from_str(text: &str) -> Result<Self, ListenAddressError> {
        if let Some(path) = socket_path(text)? {
            return Ok(ListenAddress::Unix(path));
        }
        let port = |port: &str| {
            let no_port = |_| ListenAddressError::Port { text: text.to_owned(), port: port.to_owned() };
            port.parse().map_err(no_port)
        };
        if let Some(found) = text.strip_prefix("localhost:") {
            return Ok(ListenAddress::Tcp((IpAddr::from(Ipv4Addr::LOCALHOST), port(found)?).into()));
        }
        text.parse().map(ListenAddress::Tcp).map_err(|_| ListenAddressError::Address(text.to_owned()))
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ListenAddress::Tcp(address) => write!(f, "{address}"),
            ListenAddress::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_told() {
        for (text, local) in [
            ("127.0.0.1:8181", true),
            ("127.9.9.9:0", true),
            ("[::1]:8181", true),
            ("[::ffff:127.0.0.1]:8181", true),
            ("0.0.0.0:8181", false),
            ("[::]:8181", false),
            ("10.0.0.1:8181", false),
            ("unix:/run/s", true),
        ] {
            let address: ListenAddress = text.parse().unwrap();
            assert_eq!((address.to_string().as_str(), address.is_local()), (text, local));
        }
        assert_eq!(
            "localhost:1".parse(),
            Ok::<_, ListenAddressError>(ListenAddress::Tcp(([127, 0, 0, 1], 1).into()))
        );
        assert_eq!(
            "unix:///run/s".parse(),
            Ok::<_, ListenAddressError>(ListenAddress::Unix("/run/s".into()))
        );
        for bad in ["", "8181", ":8181", "unix:", "unix:run", "localhost:x", "example.com:80", "127.0.0.1"] {
            let error = bad.parse::<ListenAddress>().unwrap_err().to_string();
            assert!(!error.contains('\n'), "{error}");
        }
    }
}
