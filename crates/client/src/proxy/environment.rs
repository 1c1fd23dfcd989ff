//! `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY`, as Go reads them (`golang.org/x/net/http/httpproxy`).
//!
//! - Of both spellings the one in small letters counts. `HTTPS_PROXY` is for `https` URLs, `HTTP_PROXY` for `http` ones.
//! - `localhost` and addresses of this machine are never asked through a proxy.
//! - `NO_PROXY` has addresses, CIDRs and names, with a port or without; a name stands for those below it, too, one with a dot in
//!   front (or `*.`) for those below it alone, `*` for everything.
//! - Where `REQUEST_METHOD` is set, `HTTP_PROXY` counts for nothing: in a CGI it is a header that whoever asks has chosen.
//!
//! Other than in Go, a proxy that cannot be read is an error when it is needed: Go passes over it and goes there directly.

use std::ffi::OsString;
use std::net::IpAddr;

use url::{Host, Url};

use super::Proxy;
use crate::Error;

/// What the environment says about proxies. It is shown without passwords.
#[derive(Clone, Default)]
pub struct Environment {
    http: Option<Named>,
    https: Option<Named>,
    cgi: bool,
    exceptions: Exceptions,
}

/// A variable and what it holds.
#[derive(Clone)]
struct Named {
    variable: &'static str,
    value: OsString,
}

impl std::fmt::Debug for Environment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Environment(…)")
    }
}

impl Environment {
    /// What the variables say that `get` knows.
    pub fn of(get: impl Fn(&str) -> Option<OsString>) -> Self {
        let set = |variable: &'static str| {
            get(variable).filter(|value| !value.is_empty()).map(|value| Named { variable, value })
        };
        let either = |small, capital| set(small).or_else(|| set(capital));
        let exceptions = either("no_proxy", "NO_PROXY").map(|named| named.value);
        Environment {
            http: either("http_proxy", "HTTP_PROXY"),
            https: either("https_proxy", "HTTPS_PROXY"),
            cgi: set("REQUEST_METHOD").is_some(),
            exceptions: Exceptions::parse(&exceptions.unwrap_or_default().to_string_lossy()),
        }
    }

    /// The proxy for a URL.
    ///
    /// # Errors
    /// The variable that is for it names none that can be used.
    pub fn proxy(&self, url: &Url) -> Result<Option<Proxy>, Error> {
        let named = match url.scheme() {
            "https" => &self.https,
            "http" if !self.cgi => &self.http,
            _ => &None,
        };
        let Some(Named { variable, value }) = named else { return Ok(None) };
        if self.exceptions.cover(url) {
            return Ok(None);
        }
        let Some(text) = value.to_str() else {
            return Err(Error::usage(format!("{variable} is not UTF-8")));
        };
        // A host and perhaps a port, in Go's eyes: a proxy of plain HTTP.
        let text = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
        Proxy::of_variable(&text, variable).map(Some)
    }
}

/// Which hosts are asked without a proxy.
#[derive(Clone, Default)]
struct Exceptions {
    everything: bool,
    all: Vec<Exception>,
}

#[derive(Clone)]
enum Exception {
    Address {
        ip: IpAddr,
        port: Option<String>,
    },
    Block {
        network: IpAddr,
        bits: u8,
    },
    /// Names that end so; and the name without its dot, if `itself`.
    Name {
        suffix: String,
        itself: bool,
        port: Option<String>,
    },
}

impl Exceptions {
    fn parse(text: &str) -> Exceptions {
        let entries: Vec<String> = text.split(',').map(|entry| entry.trim().to_lowercase()).collect();
        // What comes before a star does not matter, and what comes after it is not looked at.
        let everything = entries.iter().any(|entry| entry == "*");
        Exceptions { everything, all: entries.iter().filter_map(|entry| Exception::parse(entry)).collect() }
    }

    fn cover(&self, url: &Url) -> bool {
        let port = url.port_or_known_default().unwrap_or_default().to_string();
        let (name, ip) = match url.host() {
            None => return true,
            Some(Host::Domain(name)) => (name.to_lowercase(), name.parse().ok()),
            Some(Host::Ipv4(ip)) => (ip.to_string(), Some(IpAddr::V4(ip))),
            Some(Host::Ipv6(ip)) => (ip.to_string(), Some(IpAddr::V6(ip).to_canonical())),
        };
        // This machine is behind no proxy.
        if name == "localhost" || ip.is_some_and(|ip: IpAddr| ip.is_loopback()) {
            return true;
        }
        self.everything || self.all.iter().any(|exception| exception.covers(&name, ip, &port))
    }
}

impl Exception {
    fn parse(entry: &str) -> Option<Exception> {
        if entry.is_empty() {
            return None;
        }
        if let Some((network, bits)) = block(entry) {
            return Some(Exception::Block { network, bits });
        }
        let (host, port) = match host_and_port(entry) {
            Some((host, port)) => (host, Some(port).filter(|port| !port.is_empty())),
            None => (entry, None),
        };
        let port = port.map(str::to_owned);
        if let Ok(ip) = host.parse::<IpAddr>() {
            return Some(Exception::Address { ip: ip.to_canonical(), port });
        }
        let host = host.strip_prefix('*').filter(|rest| rest.starts_with('.')).unwrap_or(host);
        let (itself, name) = match host.strip_prefix('.') {
            Some(name) => (false, name),
            None if host.is_empty() => return None,
            None => (true, host),
        };
        // As names are sent: what is not ASCII is punycode.
        let ascii = if name.is_ascii() { None } else { Host::parse(name).ok() };
        let name = ascii.map_or_else(|| name.to_owned(), |host| host.to_string());
        Some(Exception::Name { suffix: format!(".{name}"), itself, port })
    }

    fn covers(&self, name: &str, ip: Option<IpAddr>, port: &str) -> bool {
        let same = |own: &Option<String>| own.as_ref().is_none_or(|own| own == port);
        match (self, ip) {
            (Exception::Address { ip: own, port: p }, Some(ip)) => *own == ip && same(p),
            (Exception::Block { network, bits }, Some(ip)) => within(*network, *bits, ip),
            (Exception::Name { suffix, itself, port: p }, None) => {
                (name.ends_with(suffix) || (*itself && name == &suffix[1..])) && same(p)
            }
            _ => false,
        }
    }
}

/// `net.ParseCIDR`
fn block(entry: &str) -> Option<(IpAddr, u8)> {
    let (ip, bits) = entry.split_once('/')?;
    let ip: IpAddr = ip.parse().ok()?;
    if bits.is_empty() || !bits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let bits: u8 = bits.parse().ok()?;
    match ip {
        IpAddr::V4(_) if bits <= 32 => Some((ip, bits)),
        // An IPv4 address in IPv6's form: Go looks at its last 32 bits.
        IpAddr::V6(v6) if bits <= 128 => match v6.to_ipv4_mapped() {
            Some(v4) => Some((IpAddr::V4(v4), bits.saturating_sub(96))),
            None => Some((ip, bits)),
        },
        _ => None,
    }
}

fn within(network: IpAddr, bits: u8, ip: IpAddr) -> bool {
    match (network, ip) {
        (IpAddr::V4(network), IpAddr::V4(ip)) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0);
            network.to_bits() & mask == ip.to_bits() & mask
        }
        (IpAddr::V6(network), IpAddr::V6(ip)) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0);
            network.to_bits() & mask == ip.to_bits() & mask
        }
        _ => false,
    }
}

/// `net.SplitHostPort`: `host:port` or `[host]:port`; an IPv6 address without brackets is neither.
fn host_and_port(entry: &str) -> Option<(&str, &str)> {
    let (host, port) = entry.rsplit_once(':')?;
    let host = match host.strip_prefix('[') {
        Some(inner) => inner.strip_suffix(']')?,
        None if host.contains(':') => return None,
        None => host,
    };
    (!host.contains(['[', ']']) && !port.contains(['[', ']'])).then_some((host, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(variables: &[(&str, &str)]) -> Environment {
        Environment::of(|name| {
            variables.iter().find(|(own, _)| *own == name).map(|(_, value)| (*value).into())
        })
    }

    /// The proxy's URL; empty for none.
    fn via(variables: &[(&str, &str)], url: &str) -> String {
        let proxy = environment(variables).proxy(&Url::parse(url).unwrap()).unwrap();
        proxy.map(|proxy| proxy.url()).unwrap_or_default()
    }

    /// `proxyForURLTests` of Go's own test, with the ports written out.
    #[test]
    fn gos_own_cases() {
        let example = "http://example.com";
        for (variables, url, want) in [
            (&[("HTTP_PROXY", "127.0.0.1:8080")][..], example, "http://127.0.0.1:8080"),
            (&[("HTTP_PROXY", "cache.corp.example.com:1234")], example, "http://cache.corp.example.com:1234"),
            (&[("HTTP_PROXY", "cache.corp.example.com")], example, "http://cache.corp.example.com:80"),
            (&[("HTTP_PROXY", "localhost")], example, "http://localhost:80"),
            (&[("HTTP_PROXY", "localhost:3128")], example, "http://localhost:3128"),
            (
                &[("HTTP_PROXY", "https://cache.corp.example.com")],
                example,
                "https://cache.corp.example.com:443",
            ),
            (&[("HTTP_PROXY", "http://127.0.0.1:8080")], example, "http://127.0.0.1:8080"),
            (&[("HTTP_PROXY", "https://127.0.0.1:8080")], example, "https://127.0.0.1:8080"),
            (&[("HTTP_PROXY", "socks5://127.0.0.1")], example, "socks5://127.0.0.1:1080"),
            (
                &[("HTTP_PROXY", "http.proxy.tld"), ("HTTPS_PROXY", "secure.proxy.tld")],
                "http://insecure.tld/",
                "http://http.proxy.tld:80",
            ),
            (
                &[("HTTP_PROXY", "http.proxy.tld"), ("HTTPS_PROXY", "secure.proxy.tld")],
                "https://secure.tld/",
                "http://secure.proxy.tld:80",
            ),
            (
                &[("HTTP_PROXY", "http.proxy.tld"), ("HTTPS_PROXY", "https://secure.proxy.tld")],
                "https://secure.tld/",
                "https://secure.proxy.tld:443",
            ),
            (&[("HTTP_PROXY", "http.proxy.tld")], "https://secure.tld/", ""),
            (&[("HTTP_PROXY", "http.proxy.tld")], "ftp://insecure.tld/", ""),
            // Go has an error here; where nobody may choose the proxy, there is none.
            (&[("HTTP_PROXY", "http://10.1.2.3:8080"), ("REQUEST_METHOD", "PUT")], example, ""),
            (
                &[("HTTPS_PROXY", "https://secure.proxy.tld"), ("REQUEST_METHOD", "PUT")],
                "https://secure.tld/",
                "https://secure.proxy.tld:443",
            ),
            (&[], example, ""),
            (&[("NO_PROXY", "example.com"), ("HTTP_PROXY", "proxy")], example, ""),
            (&[("NO_PROXY", ".example.com"), ("HTTP_PROXY", "proxy")], example, "http://proxy:80"),
            (&[("NO_PROXY", "ample.com"), ("HTTP_PROXY", "proxy")], example, "http://proxy:80"),
            (&[("NO_PROXY", "example.com"), ("HTTP_PROXY", "proxy")], "http://foo.example.com/", ""),
            (&[("NO_PROXY", ".foo.com"), ("HTTP_PROXY", "proxy")], example, "http://proxy:80"),
            (&[("NO_PROXY", ".示例.com"), ("HTTP_PROXY", "proxy")], "http://www.示例.com", ""),
            (&[("NO_PROXY", "xn--fsq092h.com"), ("HTTP_PROXY", "proxy")], "http://www.示例.com", ""),
            (&[("NO_PROXY", "示例.com"), ("HTTP_PROXY", "proxy")], "http://www.xn--fsq092h.com", ""),
            (&[("NO_PROXY", ":1"), ("HTTP_PROXY", "proxy")], example, "http://proxy:80"),
        ] {
            assert_eq!(via(variables, url), want, "{variables:?} {url}");
        }
    }

    /// `UseProxyTests` of Go's own test.
    #[test]
    fn gos_own_exceptions() {
        let list = "foobar.com, .barbaz.net, *.wildcard.io, 192.168.1.1, 192.168.1.2:81, 192.168.1.3:80, 10.0.0.0/30, 2001:db8::52:0:1, [2001:db8::52:0:2]:443, [2001:db8::52:0:3]:80, 2002:db8:a::45/64";
        for (host, goes) in [
            ("localhost", false),
            ("127.0.0.1", false),
            ("127.0.0.2", false),
            ("[::1]", false),
            ("[::2]", true),
            ("[::ffff:127.0.0.1]", false),
            ("192.168.1.1", false),
            ("192.168.1.2", true),
            ("192.168.1.3", false),
            ("192.168.1.4", true),
            ("10.0.0.2", false),
            ("[::ffff:10.0.0.2]", false),
            ("[2001:db8::52:0:1]", false),
            ("[2001:db8::52:0:2]", true),
            ("[2001:db8::52:0:3]", false),
            ("[2002:db8:a::123]", false),
            ("[fe80::424b:c8be:1643:a1b6]", true),
            ("barbaz.net", true),
            ("www.barbaz.net", false),
            ("foobar.com", false),
            ("FOOBAR.com", false),
            ("www.foobar.com", false),
            ("foofoobar.com", true),
            ("baz.com", true),
            ("localhost.net", true),
            ("local.localhost", true),
            ("barbarbaz.net", true),
            ("wildcard.io", true),
            ("nested.wildcard.io", false),
            ("awildcard.io", true),
        ] {
            let url = format!("http://{host}:80");
            let went = !via(&[("NO_PROXY", list), ("HTTP_PROXY", "p")], &url).is_empty();
            assert_eq!(went, goes, "{host}");
            assert_eq!(via(&[("NO_PROXY", "x, *"), ("HTTP_PROXY", "p")], &url), "", "{host}");
        }
    }

    #[test]
    fn small_letters_win_and_empty_ones_are_not_set() {
        let both =
            [("HTTPS_PROXY", "upper"), ("https_proxy", "lower"), ("NO_PROXY", "*"), ("no_proxy", "a.b")];
        assert_eq!(via(&both, "https://c"), "http://lower:80");
        assert_eq!(via(&[("HTTPS_PROXY", "upper"), ("https_proxy", "")], "https://c"), "http://upper:80");
    }

    #[test]
    fn a_proxy_that_cannot_be_read_is_refused_where_it_is_needed() {
        let bad = environment(&[("HTTPS_PROXY", "socks4://u:s3cret@p:1"), ("NO_PROXY", "a.b")]);
        let error = bad.proxy(&Url::parse("https://c").unwrap()).unwrap_err().to_string();
        assert_eq!(
            error,
            "HTTPS_PROXY names a proxy of the scheme \"socks4\": it must be http, https or socks5"
        );
        for url in ["https://127.0.0.1:1", "https://a.b", "http://c"] {
            assert!(bad.proxy(&Url::parse(url).unwrap()).unwrap().is_none(), "{url}");
        }
        let bad = environment(&[("https_proxy", "http://u:s3cret@:80")]);
        let error = bad.proxy(&Url::parse("https://c").unwrap()).unwrap_err().to_string();
        assert_eq!(error, "https_proxy is not the URL of a proxy");
    }

    #[test]
    fn a_proxy_is_shown_without_its_password() {
        let named = environment(&[("https_proxy", "http://jane:s3cret%21@p:3128")]);
        let proxy = named.proxy(&Url::parse("https://c").unwrap()).unwrap().unwrap();
        assert_eq!(proxy.to_string(), "http://p:3128 (https_proxy)");
        assert_eq!(proxy.user, Some(("jane".into(), "s3cret!".into())));
        assert!(!format!("{proxy:?} {named:?}").contains("s3cret"));
    }
}
