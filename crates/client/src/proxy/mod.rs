//! Proxies: which one a request goes through, and how.
//!
//! What the environment says is read as Go's clients read it, `environment`; a kubeconfig's `proxy-url` wins over it and
//! holds for every host, this machine too.

mod dial;
mod environment;

use std::fmt;

use http::HeaderValue;
use percent_encoding::percent_decode_str;
use url::Url;

use crate::Error;

pub(crate) use dial::{socks, tunnel};
pub use environment::Environment;

/// How requests find their way.
#[derive(Clone, Debug)]
pub enum Route {
    /// Through no proxy.
    Direct,
    /// As the environment says, anew for each URL.
    Environment(Environment),
    /// Through this one, always.
    Proxy(Proxy),
}

impl Route {
    /// As the process's environment says.
    pub fn of_the_process() -> Route {
        Route::Environment(Environment::of(|name| std::env::var_os(name)))
    }

    /// The proxy for a URL; `None` for none.
    ///
    /// # Errors
    /// What names the proxy cannot be read: to go without would be to go where nobody said.
    pub fn of(&self, url: &Url) -> Result<Option<Proxy>, Error> {
        match self {
            Route::Direct => Ok(None),
            Route::Environment(environment) => environment.proxy(url),
            Route::Proxy(proxy) => Ok(Some(proxy.clone())),
        }
    }
}

/// A proxy. It is shown without its password, with what named it.
#[derive(Clone, PartialEq, Eq)]
pub struct Proxy {
    pub(crate) kind: Kind,
    pub(crate) host: String,
    pub(crate) port: u16,
    /// User and password, decoded.
    pub(crate) user: Option<(String, String)>,
    /// A variable's name, or a flag's or a field's.
    named_by: String,
    /// The environment does, and so `NO_PROXY` counts.
    of_environment: bool,
}

/// What a proxy speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Http,
    Https,
    /// Names are resolved by the proxy, as Go has it.
    Socks5,
}

impl Proxy {
    /// The variable or the field that names it.
    pub fn named_by(&self) -> &str {
        &self.named_by
    }

    /// Whether `NO_PROXY` may say that a host is asked without it.
    pub(crate) fn has_exceptions(&self) -> bool {
        self.of_environment
    }

    /// The one of a variable of the environment, all but the hosts of `NO_PROXY`.
    pub(crate) fn of_variable(text: &str, variable: &str) -> Result<Proxy, Error> {
        Ok(Proxy { of_environment: true, ..Self::parse(text, variable)? })
    }

    /// The proxy of a URL, which `named_by` holds.
    ///
    /// # Errors
    /// It is not `http`, `https` or `socks5` with a host.
    pub fn parse(text: &str, named_by: &str) -> Result<Proxy, Error> {
        // The text may hold a password: it is not told.
        let url =
            Url::parse(text).map_err(|_| Error::usage(format!("{named_by} is not the URL of a proxy")))?;
        let (kind, port) = match url.scheme() {
            "http" => (Kind::Http, 80),
            "https" => (Kind::Https, 443),
            "socks5" | "socks5h" => (Kind::Socks5, 1080),
            // Before a colon alone there may be a user's name.
            _ if !text.contains("://") => {
                return Err(Error::usage(format!("{named_by} is not the URL of a proxy")));
            }
            other => {
                return Err(Error::usage(format!(
                    "{named_by} names a proxy of the scheme {other:?}: it must be http, https or socks5"
                )));
            }
        };
        let Some(host) = url.host_str().filter(|host| !host.is_empty()) else {
            return Err(Error::usage(format!("{named_by} names a proxy without a host")));
        };
        let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        let user = (!url.username().is_empty() || url.password().is_some())
            .then(|| (decoded(url.username()), decoded(url.password().unwrap_or_default())));
        let (host, port) = (host.to_owned(), url.port().unwrap_or(port));
        Ok(Proxy { kind, host, port, user, named_by: named_by.to_owned(), of_environment: false })
    }

    /// What a proxy of HTTP is told about who asks.
    pub(crate) fn authorization(&self) -> Option<HeaderValue> {
        use base64::Engine;
        use base64::prelude::BASE64_STANDARD;
        let (user, password) = self.user.as_ref()?;
        let text = format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{password}")));
        let mut value = HeaderValue::from_str(&text).ok()?;
        value.set_sensitive(true);
        Some(value)
    }

    /// Its URL, without who one is there.
    pub fn url(&self) -> String {
        let scheme = match self.kind {
            Kind::Http => "http",
            Kind::Https => "https",
            Kind::Socks5 => "socks5",
        };
        format!("{scheme}://{}:{}", self.host, self.port)
    }

    /// The URL as a kubeconfig holds it, with the password.
    pub fn with_password(&self) -> String {
        let mut url = Url::parse(&self.url()).ok();
        if let (Some(url), Some((user, password))) = (&mut url, &self.user) {
            // A URL with a host has room for both.
            let _ = url.set_username(user);
            let _ = url.set_password(Some(password).filter(|p| !p.is_empty()).map(String::as_str));
        }
        url.map(|url| url.as_str().trim_end_matches('/').to_owned()).unwrap_or_default()
    }
}

/// `http://proxy:3128 (HTTPS_PROXY)`
impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.url(), self.named_by)
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proxy({self})")
    }
}
