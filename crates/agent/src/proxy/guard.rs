//! Who may use a proxy that adds a credential: programs on this machine, and no web page.
//!
//! A page in a browser can send requests to `http://localhost:8181`, and by DNS rebinding under a name of its own that
//! leads to 127.0.0.1. The first carry `Origin` or `Sec-Fetch-*`, the second a `Host` that is not this machine's.

use std::net::{Ipv4Addr, Ipv6Addr};

use http::header::{HOST, HeaderMap, HeaderName, HeaderValue, ORIGIN};
use http::request::Parts;

use super::address::is_loopback;
use super::listener::Peer;

/// What callers must show, and may.
#[derive(Clone, Default)]
pub struct Guard {
    /// A header that must be there with this value. Pages cannot set headers across origins without asking first (CORS),
    /// and the answer is no: this guards against old browsers that send neither `Origin` nor `Sec-Fetch-*`.
    pub require_header: Option<(HeaderName, HeaderValue)>,
    /// Values of `Host` that are good besides `localhost`, `127.0.0.0/8` and `[::1]` with the listener's port or none;
    /// compared as a whole, e.g. `auth-proxy:8181`.
    pub hosts: Vec<String>,
    /// Lets in callers from other machines, and lets the proxy listen for them. Whoever reaches it has the token.
    pub remote: bool,
}

/// Why a caller is turned away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    FetchMetadata,
    Header,
    Host,
    Origin,
    Peer,
}

impl Refused {
    /// For people. Names no header that would let the next try pass.
    pub(super) fn message(self) -> &'static str {
        match self {
            Refused::FetchMetadata => "requests of a browser are refused: there is a Sec-Fetch header",
            Refused::Header => "a header that this proxy requires is missing",
            Refused::Host => "the Host is not this proxy's: it must be localhost, 127.0.0.1 or [::1]",
            Refused::Origin => "requests of a browser are refused: there is an Origin header",
            Refused::Peer => "only callers on this machine are served",
        }
    }

    /// For metrics.
    pub(super) fn label(self) -> &'static str {
        match self {
            Refused::FetchMetadata => "fetch-metadata",
            Refused::Header => "header",
            Refused::Host => "host",
            Refused::Origin => "origin",
            Refused::Peer => "peer",
        }
    }
}

impl Guard {
    /// Looks at a request that came in at `port`; `None` for a Unix socket.
    pub(super) fn check(&self, request: &Parts, peer: Peer, port: Option<u16>) -> Result<(), Refused> {
        match peer {
            Peer::Tcp(ip) if !self.remote && !is_loopback(ip) => return Err(Refused::Peer),
            _ => {}
        }
        for name in request.headers.keys() {
            // Whatever its value, `null` too.
            if *name == ORIGIN {
                return Err(Refused::Origin);
            }
            if name.as_str().starts_with("sec-fetch-") {
                return Err(Refused::FetchMetadata);
            }
        }
        // No name leads to a Unix socket, and clients write any into the URL.
        if let Some(port) = port {
            self.check_host(request, port)?;
        }
        Ok(())
    }

    /// Looks for the header that is required.
    pub(super) fn check_header(&self, headers: &HeaderMap) -> Result<(), Refused> {
        let Some((name, value)) = &self.require_header else { return Ok(()) };
        let mut found = headers.get_all(name).iter();
        match (found.next(), found.next()) {
            (Some(found), None) if same(found.as_bytes(), value.as_bytes()) => Ok(()),
            _ => Err(Refused::Header),
        }
    }

    /// HTTP/2 has `:authority`, HTTP/1 has `Host`; who sends both must mean one.
    fn check_host(&self, request: &Parts, port: u16) -> Result<(), Refused> {
        let authority = request.uri.authority().map(|a| a.as_str().as_bytes());
        let hosts = request.headers.get_all(HOST).iter().map(HeaderValue::as_bytes);
        let mut any = false;
        for host in authority.into_iter().chain(hosts) {
            any = true;
            let named = self.hosts.iter().any(|named| host.eq_ignore_ascii_case(named.as_bytes()));
            if !named && !is_this_machine(host, port) {
                return Err(Refused::Host);
            }
        }
        if any { Ok(()) } else { Err(Refused::Host) }
    }
}

/// Whether a `Host` means this machine and this port.
fn is_this_machine(host: &[u8], port: u16) -> bool {
    let Ok(host) = std::str::from_utf8(host) else { return false };
    // The colon behind a bracket, or the only one.
    let end = host.rfind(']').map_or(0, |at| at + 1);
    let (name, given) = match host[end..].find(':') {
        Some(at) => (&host[..end + at], Some(&host[end + at + 1..])),
        None => (host, None),
    };
    let right_port = given.is_none_or(|given| {
        // `+80` is a number for Rust, not for a URL.
        given.bytes().all(|b| b.is_ascii_digit()) && given.parse() == Ok(port)
    });
    let address = || name.parse::<Ipv4Addr>().is_ok_and(|ip| ip.is_loopback());
    let bracketed = || {
        let inner = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        inner.is_some_and(|inner| inner.parse() == Ok(Ipv6Addr::LOCALHOST))
    };
    right_port && (name.eq_ignore_ascii_case("localhost") || address() || bracketed())
}

/// Compares in a time that does not tell how much of it is right, in case somebody uses a secret.
fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |differences, (a, b)| differences | (a ^ b)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(guard: &Guard, lines: &[(&str, &str)]) -> Result<(), Refused> {
        let mut request = http::Request::get("/token");
        for (name, value) in lines {
            request = request.header(*name, *value);
        }
        let parts = request.body(()).unwrap().into_parts().0;
        guard.check(&parts, Peer::Tcp([127, 0, 0, 1].into()), Some(8181))
    }

    #[test]
    fn hosts_of_this_machine_pass() {
        for host in ["localhost", "LocalHost:8181", "127.0.0.1:8181", "127.1.2.3", "[::1]:8181", "[::1]"] {
            assert_eq!(check(&Guard::default(), &[("host", host)]), Ok(()), "{host}");
        }
    }

    #[test]
    fn others_do_not() {
        for host in [
            "",
            "evil.example",
            "evil.example:8181",
            "localhost.evil.example",
            "localhost:80",
            "localhost:",
            "127.0.0.1:",
            "localhost:+8181",
            "127.0.0.1.nip.io",
            "0.0.0.0",
            "0x7f.1",
            "2130706433",
            "127.1",
            "10.0.0.1:8181",
            "[::]",
            "::1",
            "[::1",
            "[::ffff:127.0.0.1]",
            "user@localhost",
            "localhost,evil",
            "[::1]x",
            "localhost:8181:8181",
        ] {
            assert_eq!(check(&Guard::default(), &[("host", host)]), Err(Refused::Host), "{host}");
        }
        let both = [("host", "localhost"), ("host", "evil.example")];
        assert_eq!(check(&Guard::default(), &both), Err(Refused::Host));
        assert_eq!(check(&Guard::default(), &[]), Err(Refused::Host));
        let named = Guard { hosts: vec!["auth-proxy:8181".into()], ..Guard::default() };
        assert_eq!(check(&named, &[("host", "Auth-Proxy:8181")]), Ok(()));
        assert_eq!(check(&named, &[("host", "auth-proxy")]), Err(Refused::Host));
    }

    #[test]
    fn browsers_do_not() {
        for origin in ["null", "http://localhost:8181", ""] {
            let lines = [("host", "localhost"), ("origin", origin)];
            assert_eq!(check(&Guard::default(), &lines), Err(Refused::Origin));
        }
        for name in ["Sec-Fetch-Site", "sec-fetch-mode", "Sec-Fetch-Dest", "sec-fetch-new"] {
            let lines = [("host", "localhost"), (name, "none")];
            assert_eq!(check(&Guard::default(), &lines), Err(Refused::FetchMetadata));
        }
    }

    #[test]
    fn a_required_header_is_there_once_and_right() {
        let value = HeaderValue::from_static("tokensmith");
        let guard = Guard {
            require_header: Some((HeaderName::from_static("metadata-flavor"), value)),
            ..Guard::default()
        };
        let check = |values: &[&str]| {
            let mut request = http::Request::get("/token");
            for value in values {
                request = request.header("Metadata-Flavor", *value);
            }
            guard.check_header(&request.body(()).unwrap().into_parts().0.headers)
        };
        assert_eq!(check(&["tokensmith"]), Ok(()));
        for bad in [&[][..], &["Tokensmith"], &["tokensmit"], &["tokensmith", "tokensmith"], &[""]] {
            assert_eq!(check(bad), Err(Refused::Header));
        }
    }

    #[test]
    fn peers_elsewhere_do_not_unless_told() {
        let request = http::Request::get("/token").header("host", "localhost").body(()).unwrap();
        let parts = request.into_parts().0;
        let check = |guard: &Guard, ip: &str| guard.check(&parts, Peer::Tcp(ip.parse().unwrap()), Some(8181));
        let local = Guard::default();
        assert_eq!(check(&local, "::ffff:127.0.0.1"), Ok(()));
        assert_eq!(check(&local, "::1"), Ok(()));
        assert_eq!(check(&local, "192.0.2.1"), Err(Refused::Peer));
        assert_eq!(check(&Guard { remote: true, ..local }, "192.0.2.1"), Ok(()));
    }
}
