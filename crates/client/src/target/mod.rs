//! From flags, kubeconfigs and the environment to one server, whom to trust for it and who one is there, by kubectl's rules.

mod cluster;
mod files;
mod resolve;
mod user;

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use rustls_pki_types::ServerName;
use url::{ParseError, Url};

use crate::Error;
use crate::certificate::Certificate;
use crate::kubeconfig::Impersonate;
use crate::plugin::Plugin;
use crate::proxy::Route;

/// How a server is asked for. In this order: what is named here, the files of `KUBECONFIG`, the file of `fallback`,
/// `~/.kube/config`, the configuration of the pod that this runs in.
#[derive(Clone, Debug, Default)]
pub struct TargetOptions {
    /// This kubeconfig instead of those in `KUBECONFIG`.
    pub kubeconfig: Option<PathBuf>,
    /// This context instead of the current one.
    pub context: Option<String>,
    /// This cluster instead of the context's.
    pub cluster: Option<String>,
    /// This user instead of the context's.
    pub user: Option<String>,
    /// This server instead of the cluster's.
    pub server: Option<String>,
    /// This name in the server's certificate instead of the cluster's; a `server` alone takes the cluster's away.
    pub tls_server_name: Option<String>,
    /// Any certificate will do.
    pub insecure_skip_tls_verify: bool,
    /// This file's certificates instead of the cluster's.
    pub certificate_authority: Option<PathBuf>,
    /// This bearer token instead of the user's credentials.
    pub token: Option<Bearer>,
    /// This certificate and its key, both files, instead of the user's credentials.
    pub certificate: Option<(PathBuf, PathBuf)>,
    /// As whom to ask instead of the user's.
    pub impersonate: Impersonate,
    /// This proxy instead of the cluster's, and of those of the environment.
    pub proxy_url: Option<String>,
    /// How long a request may take, repeats included; zero is for ever.
    pub request_timeout: Option<Duration>,
    /// This namespace instead of the context's.
    pub namespace: Option<String>,
    /// A kubeconfig to use when nothing before it names a server.
    pub fallback: PathBuf,
}

/// A server and who one is there.
///
/// ```
/// use tokensmith_client::target::{Bearer, Target, TargetOptions};
///
/// let target = Target::resolve(&TargetOptions {
///     server: Some("https://127.0.0.1:6443".into()),
///     token: Some(Bearer::Fixed("secret".into())),
///     ..TargetOptions::default()
/// })?;
/// assert_eq!(target.server.as_str(), "https://127.0.0.1:6443/");
/// # Ok::<_, tokensmith_client::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Target {
    /// The base URL.
    pub server: Url,
    /// What to trust.
    pub trust: Trust,
    /// The name that TLS asks for and expects, if not the URL's.
    pub server_name: Option<String>,
    /// Through which proxies.
    pub route: Route,
    /// Who one is.
    pub credentials: Credentials,
    /// As whom one asks.
    pub impersonate: Impersonate,
    /// How long a request may take; zero is for ever, `None` as long as a server may need.
    pub request_timeout: Option<Duration>,
    /// The user's name in the kubeconfig; empty without one.
    pub user: String,
    /// The namespace to use.
    pub namespace: String,
}

impl Target {
    /// A server, and nobody in particular: the system's certificates, no credentials, the environment's proxies, the namespace
    /// `default`.
    pub fn of(server: Url) -> Target {
        Target {
            server,
            trust: Trust::System,
            server_name: None,
            route: Route::of_the_process(),
            credentials: Credentials::default(),
            impersonate: Impersonate::default(),
            request_timeout: None,
            user: String::new(),
            namespace: "default".into(),
        }
    }

    /// The name that TLS asks for, if not the URL's.
    pub(crate) fn tls_name(&self) -> Result<Option<ServerName<'static>>, Error> {
        let Some(name) = &self.server_name else { return Ok(None) };
        let bad = |_| Error::failed(format!("tls-server-name: {name:?} is no name of a server"));
        ServerName::try_from(name.clone()).map(Some).map_err(bad)
    }
}

/// Whose signature under the server's certificate counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trust {
    /// These certificates, PEM.
    Authority(Vec<u8>),
    /// Anyone's (`insecure-skip-tls-verify`).
    Anyone,
    /// No one's: the server shows the first certificate in here, PEM, whatever its names and chain.
    Leaf(Vec<u8>),
    /// The system's.
    System,
}

/// A bearer token. `Debug` shows none.
#[derive(Clone, PartialEq, Eq)]
pub enum Bearer {
    /// A file that someone renews: it is read again and again.
    File(PathBuf),
    /// Such a file, and the token itself while it cannot be read.
    FileOr(PathBuf, String),
    /// The token itself.
    Fixed(String),
}

impl fmt::Debug for Bearer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Bearer::File(path) | Bearer::FileOr(path, _) => write!(f, "Bearer({})", path.display()),
            Bearer::Fixed(_) => f.write_str("Bearer(…)"),
        }
    }
}

impl Bearer {
    /// The token as it is now.
    ///
    /// # Errors
    /// Its file cannot be read, or there is no token: who has one to show must not go on as nobody.
    pub fn read(&self) -> Result<String, Error> {
        match self {
            Bearer::File(path) => token_in(path),
            Bearer::FileOr(path, token) => Ok(token_in(path).unwrap_or_else(|_| token.clone())),
            Bearer::Fixed(text) if text.trim().is_empty() => Err(Error::usage("the bearer token is empty")),
            Bearer::Fixed(text) => Ok(text.clone()),
        }
    }
}

fn token_in(path: &Path) -> Result<String, Error> {
    let bytes = read_file(path)?;
    let text = std::str::from_utf8(&bytes)
        .map_err(|_| Error::failed(format!("{} holds no token", path.display())))?;
    match text.trim() {
        "" => Err(Error::failed(format!("{} holds no token: it is empty", path.display()))),
        token => Ok(token.to_owned()),
    }
}

/// Who one is. `Debug` shows no secret.
#[derive(Clone, Default)]
pub struct Credentials {
    /// A bearer token.
    pub token: Option<Bearer>,
    /// A client certificate and its key.
    pub certificate: Option<Certificate>,
    /// The header of basic authentication.
    pub basic: Option<HeaderValue>,
    /// A program that gives them.
    pub plugin: Option<Arc<Plugin>>,
}

impl Credentials {
    /// A bearer token and nothing else.
    pub fn of_token(token: Option<Bearer>) -> Credentials {
        Credentials { token, ..Credentials::default() }
    }

    /// Whether there are any.
    pub fn is_some(&self) -> bool {
        self.token.is_some() || self.certificate.is_some() || self.basic.is_some() || self.plugin.is_some()
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(…)")
    }
}

/// A server's base URL, which `named_by` holds. What is no URL is not told: it may be a token that was put into the wrong place,
/// and of a URL nothing is that says who one is.
///
/// # Errors
/// It is not `http` or `https` with a host, or it says who one is.
pub fn parse_url(text: &str, named_by: &str) -> Result<Url, Error> {
    let refuse = |why: &str| {
        Err(Error::usage(format!("{named_by} {why}: give the URL of a server, like https://127.0.0.1:6443")))
    };
    // kubectl takes `host:port` for plain HTTP; here a scheme is asked for, which is clearer.
    let mut url = match Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") => url,
        Ok(_) | Err(ParseError::RelativeUrlWithoutBase) => {
            return refuse("does not begin with https:// or http://");
        }
        Err(ParseError::InvalidPort) => return refuse("has a port that is no number from 0 to 65535"),
        Err(ParseError::EmptyHost) => return refuse("has no host"),
        Err(_) => return refuse("has a host that is neither a name nor an address"),
    };
    if !url.username().is_empty() || url.password().is_some() {
        let _ = url.set_username("");
        let _ = url.set_password(None);
        url.set_query(None);
        url.set_fragment(None);
        return Err(Error::usage(format!(
            "{named_by} ({url}) holds a user or a password, which is not sent: leave it out"
        )));
    }
    Ok(url)
}

pub(crate) fn read_file(path: &Path) -> Result<Vec<u8>, Error> {
    fs::read(path).map_err(|e| Error::failed(format!("cannot read {}: {e}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_url_is_told_without_it() {
        let token = "eyJhbGciOiJFUzI1NiIsImtpZCI6ImsifQ.eyJzdWIiOiJhIn0.AAAA";
        let scheme = "does not begin with https:// or http://";
        let port = "has a port that is no number from 0 to 65535";
        let host = "has a host that is neither a name nor an address";
        for (text, why) in [
            ("localhost:8080", scheme),
            ("admin:s3cret@10.0.0.1:6443", scheme),
            ("s3cret", scheme),
            ("//admin:s3cret@h", scheme),
            ("ftp://admin:s3cret@h", scheme),
            ("file:///s3cret", scheme),
            (token, scheme),
            ("https://admin:s3cret@h:99999", port),
            ("https://h:s3cret", port),
            ("https://", "has no host"),
            ("https://admin:s3cret@", "has no host"),
            ("https://s3cret h", host),
            ("https://[s3cret]", host),
            ("https://%zz/s3cret", host),
        ] {
            let error = parse_url(text, "--server").unwrap_err();
            let told = format!("--server {why}: give the URL of a server, like https://127.0.0.1:6443");
            assert_eq!(error, Error::Usage(told), "{text}");
        }
        for text in ["https://admin:s3cret@h:1/a?token=s3cret#s3cret", "https://s3cret@h:1/a"] {
            let error = parse_url(text, "--server").unwrap_err().to_string();
            let told = "--server (https://h:1/a) holds a user or a password, which is not sent: leave it out";
            assert_eq!(error, told);
        }
    }
}
