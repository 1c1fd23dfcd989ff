//! `tokensmith healthcheck`: asks a server on this machine how it is, for images without a shell or curl.
//!
//! It finds the server by what `serve` left in the data directory (its local address and whom to trust), so it
//! needs no name that resolves from inside a container. It sends a credential only where nobody is let in without one,
//! and only to the certificate that is known.

use std::time::Duration;

use clap::{Args, ValueEnum};
use reqwest::redirect;
use tokensmith_signer::Address;

use crate::client::flags::ClientFlags;
use crate::client::http;
use crate::client::target::{self, Credentials, Trust};
use crate::client::tls;
use crate::duration::GoDuration;
use crate::failure::Failure;
use crate::files;
use crate::serve::data_dir;

const EXAMPLES: &str = "Examples:
  # in an image
  HEALTHCHECK CMD [\"/tokensmith\", \"healthcheck\"]

  # is the process alive, ready or not?
  tokensmith healthcheck --probe livez

  # a server elsewhere
  tokensmith healthcheck --server https://tokens.example.com:6443";

/// Ask a server whether it is ready.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct HealthcheckArgs {
    /// What to ask
    #[arg(long, value_enum, default_value_t)]
    probe: Probe,

    /// How long to wait for the answer
    #[arg(long, value_name = "DURATION", default_value = "3s")]
    timeout: GoDuration,

    #[command(flatten)]
    client: ClientFlags,
}

/// The health endpoints.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum Probe {
    /// The process works.
    Livez,
    /// It serves requests.
    #[default]
    Readyz,
}

impl HealthcheckArgs {
    /// Asks; done means healthy.
    ///
    /// # Errors
    /// No answer, or another than 200.
    pub async fn run(self) -> Result<(), Failure> {
        let (server, trust) = match self.place()? {
            Place::Server(server, trust) => (server, trust),
            Place::Signer(address) => return signs(&address).await,
        };
        // A certificate that is known is our own server's, so that a token of ours can be shown to it.
        let ours = matches!(trust, Trust::Leaf(_));
        let tls = tls::config(&trust, None, &Credentials::default())?;
        let wait = Duration::from_secs(self.timeout.whole_seconds().max(1).unsigned_abs());
        let client = http::builder(tls).timeout(wait).redirect(redirect::Policy::none());
        // Nothing on this machine is behind a proxy.
        let client = if ours { client.no_proxy().build() } else { client.build() };
        let client = client.map_err(|e| Failure::failed(format!("cannot set up HTTP: {e}")))?;
        let path = match self.probe {
            Probe::Livez => "/livez",
            Probe::Readyz => "/readyz",
        };
        let mut url = server.clone();
        url.set_path(path);
        let host = &server;
        let ask = |request: reqwest::RequestBuilder| async move {
            request.send().await.map_err(|e| Failure::from(http::unreachable(host, &e)))
        };
        let mut answer = ask(client.get(url.clone())).await?;
        // Without anonymous access, or without the role that opens these paths to it, it takes a token.
        if ours && matches!(answer.status().as_u16(), 401 | 403) {
            let path = self.client.data_dir.join(data_dir::ADMIN_TOKEN);
            if let Some(token) = files::read_if_there(&path)? {
                let token = http::secret(String::from_utf8_lossy(&token).trim())?;
                answer = ask(client.get(url).header(reqwest::header::AUTHORIZATION, token)).await?;
            }
        }
        match answer.status() {
            code if code.is_success() => Ok(()),
            code => Err(Failure::failed(format!(
                "{path} answered {code}; `curl -k {}{path}?verbose` says which check fails",
                server.as_str().trim_end_matches('/')
            ))),
        }
    }

    /// The server that is named, else the one whose data directory this is.
    fn place(&self) -> Result<Place, Failure> {
        if self.client.name_a_server() || self.client.certificate_authority.is_some() {
            let target = self.client.target()?;
            return Ok(Place::Server(target.server, target.trust));
        }
        let dir = &self.client.data_dir;
        let Some(address) = files::read_if_there(&dir.join(data_dir::ADDRESS))? else {
            return Err(Failure::failed(format!(
                "no server runs on {}: give --data-dir, or --server for one elsewhere",
                dir.display()
            )));
        };
        let address = String::from_utf8_lossy(&address).trim().to_owned();
        if let Some(socket) = address.strip_prefix("unix:") {
            let socket = socket.parse::<Address>();
            return Ok(Place::Signer(
                socket.map_err(|e| Failure::failed(format!("{}: {e}", dir.display())))?,
            ));
        }
        let server = target::parse_url(&address)?;
        // The certificate that is served is known here: a certificate of the operator's own need not name this address.
        let trust = match files::read_if_there(&dir.join(data_dir::SERVING_CERT))? {
            Some(pem) => Trust::Leaf(pem),
            None => Trust::System,
        };
        Ok(Place::Server(server, trust))
    }
}

/// What runs on a data directory.
enum Place {
    /// A server, and whom to trust.
    Server(reqwest::Url, Trust),
    /// A signer alone: it speaks no HTTP.
    Signer(Address),
}

/// Whether somebody listens there.
async fn signs(address: &Address) -> Result<(), Failure> {
    let connected = tokensmith_signer::socket::connect(address).await;
    connected.map(drop).map_err(|e| Failure::failed(format!("no signer answers on {address}: {e}")))
}
