//! `--sts`: the clouds' security token services beside the server.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use http::Uri;
use tokensmith_federation::{Cloud, ConfigError, Ground, Sts, StsConfig};
use tokensmith_server::App;
use tokensmith_server::metrics::StsAnswered;
use tokio::net::TcpListener;

use super::keys::read;
use super::tls::local_address;
use crate::failure::Failure;
use crate::files::check_given;

/// Which services there are, and where.
#[derive(Args, Debug)]
pub struct StsArgs {
    /// Serve the security token services of these clouds, for their SDKs to log in at: aws, azure, gcp. The credentials
    /// open nothing
    #[arg(
        long,
        value_name = "LIST",
        env = "TOKENSMITH_STS",
        value_enum,
        value_delimiter = ',',
        requires = "sts_config",
        help_heading = "Federation"
    )]
    pub sts: Vec<StsCloud>,

    /// What these services trust, and what they were told (YAML, see docs/federation.md)
    #[arg(
        long,
        value_name = "PATH",
        env = "TOKENSMITH_STS_CONFIG",
        requires = "sts",
        help_heading = "Federation"
    )]
    pub sts_config: Option<PathBuf>,

    /// Serve them on this port (TLS); 0 picks a free one
    #[arg(
        long,
        value_name = "PORT",
        env = "TOKENSMITH_STS_PORT",
        default_value_t = 6444,
        help_heading = "Federation"
    )]
    pub sts_port: u16,

    /// Serve them on this address
    #[arg(
        long,
        value_name = "IP",
        env = "TOKENSMITH_STS_BIND_ADDRESS",
        default_value = "127.0.0.1",
        help_heading = "Federation"
    )]
    pub sts_bind_address: IpAddr,

    /// How clients reach them, for documents that name endpoints and for the certificate. Default: https://IP:PORT of the listener
    #[arg(
        long,
        value_name = "URL",
        env = "TOKENSMITH_STS_EXTERNAL_URL",
        value_parser = external,
        requires = "sts",
        help_heading = "Federation"
    )]
    pub sts_external_url: Option<String>,
}

/// An origin (RFC 6454 §4) over TLS, without a stroke at its end: paths are the clouds'.
fn external(text: &str) -> Result<String, String> {
    let origin = || {
        let uri: Uri = text.parse().ok()?;
        let authority = uri.authority().filter(|authority| !authority.as_str().contains('@'))?;
        let plain = uri.scheme_str() == Some("https") && uri.path() == "/" && uri.query().is_none();
        let plain = plain && !text.contains('#') && !authority.host().is_empty();
        let shown = if authority.port_u16() == Some(443) { authority.host() } else { authority.as_str() };
        plain.then(|| format!("https://{}", shown.to_ascii_lowercase()))
    };
    origin().ok_or_else(|| "it must be https://HOST or https://HOST:PORT".to_owned())
}

/// A cloud (`--sts`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum StsCloud {
    /// Amazon's.
    Aws,
    /// Microsoft's.
    Azure,
    /// Google's.
    Gcp,
}

impl From<StsCloud> for Cloud {
    fn from(flag: StsCloud) -> Self {
        match flag {
            StsCloud::Aws => Cloud::Aws,
            StsCloud::Azure => Cloud::Azure,
            StsCloud::Gcp => Cloud::Gcp,
        }
    }
}

impl StsArgs {
    fn clouds(&self) -> Vec<Cloud> {
        self.sts.iter().copied().map(StsCloud::into).collect()
    }

    /// Whether there are any, and then the address that their certificate is for.
    pub(super) fn address(&self) -> Option<IpAddr> {
        (!self.sts.is_empty()).then_some(self.sts_bind_address)
    }

    /// The names that clients have for them, which their certificate is for.
    pub(super) fn names(&self) -> impl Iterator<Item = String> {
        let external: Option<Uri> = self.sts_external_url.as_ref().and_then(|url| url.parse().ok());
        let external = external.and_then(|url| Some(url.host()?.trim_matches(['[', ']']).to_owned()));
        self.address().map(|ip| ip.to_string()).into_iter().chain(external)
    }

    /// The configuration, read and judged.
    pub(super) fn config(&self) -> Result<Option<StsConfig>, Failure> {
        let Some(path) = self.sts_config.as_ref().filter(|_| !self.sts.is_empty()) else { return Ok(None) };
        check_given(path)?;
        let config = StsConfig::parse(&read(path)?, &self.clouds());
        config.map(Some).map_err(|e| refused(path, &e))
    }

    /// Judges, before anything is made, whether this server's own documents can be those that are asked for. `own` are the names
    /// that its issuer has or may get.
    pub(super) fn check_own(&self, config: Option<&StsConfig>, own: &[&str]) -> Result<(), Failure> {
        let Some((path, config)) = self.sts_config.as_ref().zip(config) else { return Ok(()) };
        config.check_own(own).map_err(|e| refused(path, &e))
    }
}

fn refused(path: &Path, e: &ConfigError) -> Failure {
    Failure::failed(format!("the STS configuration {} cannot be used: {e}", path.display()))
}

/// The services, and the socket where they are going to be.
pub(super) struct Federation {
    pub(super) sts: Arc<Sts>,
    pub(super) listener: TcpListener,
    /// As clients have it.
    pub(super) url: String,
}

impl Federation {
    /// Sets up, on a socket that is bound.
    pub(super) fn new(
        args: &StsArgs,
        config: StsConfig,
        listener: TcpListener,
        app: &Arc<App>,
    ) -> Result<Self, Failure> {
        let bound = listener.local_addr().map_err(|e| Failure::failed(format!("cannot listen: {e}")))?;
        let url = match &args.sts_external_url {
            Some(url) => url.clone(),
            None => format!("https://{}", SocketAddr::new(local_address(bound.ip()), bound.port())),
        };
        let metrics = app.metrics.clone();
        let ground = Ground {
            clock: app.clock.clone(),
            keys: app.keys.clone(),
            url: url.clone(),
            counted: Box::new(move |cloud, code| {
                metrics.sts_answered(StsAnswered { cloud: cloud.name(), code });
            }),
        };
        let sts = Sts::new(config, &args.clouds(), ground);
        let sts = sts.map_err(|e| Failure::failed(format!("the STS configuration cannot be used: {e}")))?;
        Ok(Federation { sts, listener, url })
    }
}

/// Reads the configuration anew; one that is wrong changes nothing.
pub(super) fn reload(args: &StsArgs, sts: &Sts) {
    let Some(path) = &args.sts_config else { return };
    let done = args.config().map_err(|e| e.to_string()).and_then(|config| match config {
        Some(config) => sts.reload(config).map_err(|e| e.to_string()),
        None => Ok(()),
    });
    match done {
        Ok(()) => tracing::info!("reloaded {}", path.display()),
        Err(cause) => tracing::error!(cause, "{} stays as it was", path.display()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_external_url_is_an_origin() {
        for (text, origin) in [
            ("https://localhost:6444", Some("https://localhost:6444")),
            ("https://sts:443/", Some("https://sts")),
            ("https://[::1]:1", Some("https://[::1]:1")),
            ("http://localhost:6444", None),
            ("https://u@localhost", None),
            ("https://localhost/a", None),
            ("https://localhost?a", None),
            ("localhost:6444", None),
            ("", None),
        ] {
            let found = external(text).ok();
            assert_eq!(found.as_deref(), origin, "{text}");
        }
    }
}
