//! `tokensmith healthcheck`: asks a server on this machine how it is, for images without a shell or curl; or a sidecar or an
//! agent, by the address that it shows its health at.
//!
//! It finds the server by what `serve` left in the data directory (its local address and whom to trust), so it
//! needs no name that resolves from inside a container. It sends a credential only where nobody is let in without one,
//! and only over TLS whose other end is known.

use std::fmt;
use std::time::Duration;

use clap::{Args, ValueEnum};
use tokensmith_client::kubeconfig::Impersonate;
use tokensmith_client::{Client, Credentials, Route, StatusCode, Target, Trust};
use tokensmith_core::Clock;
use tokensmith_core::clock::SystemClock;
use tokensmith_signer::Address;
use tokio::time::timeout;

use crate::client::flags::ClientFlags;
use crate::client::target::{self, Bearer};
use crate::duration::GoDuration;
use crate::failure::Failure;
use crate::files;
use crate::serve::data_dir::{self, DataDir};

const EXAMPLES: &str = "Examples:
  # in an image
  HEALTHCHECK CMD [\"/tokensmith\", \"healthcheck\"]

  # until a server that was just started is ready
  tokensmith healthcheck --wait 30s

  # is the process alive, ready or not?
  tokensmith healthcheck --probe livez

  # a sidecar, or an agent, with --metrics-address 127.0.0.1:9090
  tokensmith healthcheck --probe healthz --server http://127.0.0.1:9090

  # a server elsewhere
  tokensmith healthcheck --server https://tokens.example.com:6443";

/// Ask a server whether it is ready, or a sidecar or an agent whether all is well.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct HealthcheckArgs {
    /// What to ask
    #[arg(long, value_enum, default_value_t)]
    probe: Probe,

    /// How long to wait for the answer
    #[arg(long, value_name = "DURATION", default_value = "3s")]
    timeout: GoDuration,

    /// Ask again until it is healthy, for this long at most: a server that is just being started
    #[arg(long, value_name = "DURATION")]
    wait: Option<GoDuration>,

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
    /// A sidecar or an agent at its --metrics-address: it has what it needs.
    Healthz,
}

/// How long it waits before it asks again.
const PAUSE: Duration = Duration::from_millis(100);

impl HealthcheckArgs {
    /// Asks; done means healthy.
    ///
    /// # Errors
    /// No answer, or another than 200; with `--wait`, for all that time.
    pub async fn run(self) -> Result<(), Failure> {
        let clock = SystemClock::new();
        let patience = self.wait.and_then(|wait| Duration::try_from(wait).ok()).unwrap_or_default();
        loop {
            let left = patience.saturating_sub(clock.monotonic());
            match (self.once(left).await, self.wait) {
                (Err(Failure::Failed(why)), Some(wait))
                    if clock.monotonic().saturating_add(PAUSE) >= patience =>
                {
                    return Err(Failure::failed(format!("not healthy within {wait}: {why}")));
                }
                (Err(Failure::Failed(_)), Some(_)) => clock.sleep(PAUSE).await,
                (asked, _) => return asked,
            }
        }
    }

    async fn once(&self, left: Duration) -> Result<(), Failure> {
        let usual = Duration::from_secs(self.timeout.whole_seconds().max(1).unsigned_abs());
        // Of all the time that there is to wait, an answer gets no more than is left.
        let limit = if self.wait.is_some() { usual.min(left.max(PAUSE)) } else { usual };
        let given = self.client.request_timeout.filter(|given| !given.is_zero());
        let limit = given.map_or(limit, |given| given.min(limit));
        let target = match self.place()? {
            Place::Server(target) => Target { request_timeout: Some(limit), ..*target },
            Place::Signer(address) => return signs(&address, limit).await,
        };
        let path = match self.probe {
            Probe::Livez => "/livez",
            Probe::Readyz => "/readyz",
            Probe::Healthz => "/healthz",
        };
        let stranger = Target {
            credentials: Credentials::default(),
            impersonate: Impersonate::default(),
            ..target.clone()
        };
        let (mut code, mut text) = ask(&stranger, path).await?;
        let shut = matches!(code.as_u16(), 401 | 403);
        let known = target.credentials.is_some();
        // It is known who answers: anyone else would learn the credentials.
        let verified = target.server.scheme() == "https" && target.trust != Trust::Anyone;
        // Without anonymous access, or without the role that opens these paths to it, it takes credentials.
        if shut && known && verified {
            (code, text) = ask(&target, path).await?;
        }
        let failing = text.lines().filter_map(|line| line.strip_prefix("[-]")?.split(' ').next());
        let failing: Vec<&str> = failing.collect();
        match code.as_u16() {
            _ if code.is_success() => Ok(()),
            401 | 403 if known && !verified => Err(Failure::failed(format!(
                "{path} answered {code} without credentials, and who answers is not verified, so that they are not sent: give the https URL and --certificate-authority"
            ))),
            401 | 403 => Err(Failure::failed(format!(
                "{path} answered {code}: give credentials that may see it, with --kubeconfig or --bearer-token-file"
            ))),
            _ if matches!(self.probe, Probe::Healthz) => {
                Err(Failure::failed(format!("{path} answered {code}: {}", first_line(&text))))
            }
            _ if failing.is_empty() => Err(Failure::failed(format!("{path} answered {code}"))),
            _ => Err(Failure::failed(format!(
                "{path} answered {code}: what is not well: {}; the server's log says why",
                failing.join(", ")
            ))),
        }
    }

    /// The server that is named, else the one whose data directory this is.
    fn place(&self) -> Result<Place, Failure> {
        if self.client.name_a_server() || self.client.certificate_authority.is_some() {
            // A sidecar's variables name the credentials of what it does, which its health does not take.
            let plain = self.client.server.as_deref().is_some_and(|server| server.starts_with("http://"));
            let target =
                if plain { self.client.with_credentials_by_hand().target() } else { self.client.target() };
            return Ok(Place::Server(Box::new(target?)));
        }
        let mut dir = self.client.data_dir.clone();
        let mut address = files::read_if_there(&dir.join(data_dir::ADDRESS));
        // An image names its folder, and its command may say that nothing is kept.
        if !matches!(address, Ok(Some(_)))
            && std::env::var_os("TOKENSMITH_DATA_DIR").is_some_and(|named| *named == *dir)
            && let Some(other) = DataDir::of_ephemeral()
        {
            address = files::read_if_there(&other.join(data_dir::ADDRESS));
            dir = other;
        }
        let Some(address) = address? else {
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
        let server = target::parse_url(&address, &dir.join(data_dir::ADDRESS).display().to_string())?;
        // The certificate that is served is known here: a certificate of the operator's own need not name this address.
        let trust = match files::read_if_there(&dir.join(data_dir::SERVING_CERT))? {
            Some(pem) => Trust::Leaf(pem),
            None => Trust::System,
        };
        // That certificate is our own server's, so that a token of ours can be shown to it. It is read when it is needed:
        // whoever may not read it can still ask where all are let in.
        let own = Some(dir.join(data_dir::ADMIN_TOKEN)).filter(|path| path.exists());
        let own = own.filter(|_| matches!(trust, Trust::Leaf(_))).map(Bearer::File);
        let token = self.client.bearer().or(own);
        // Nothing on this machine is behind a proxy.
        let route = Route::Direct;
        let credentials = Credentials::of_token(token);
        Ok(Place::Server(Box::new(Target { trust, route, credentials, ..Target::of(server) })))
    }
}

/// The first line, as far as it is one that people write.
fn first_line(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    line.chars().filter(|c| !c.is_control()).take(1024).collect()
}

/// What runs on a data directory.
enum Place {
    /// A server.
    Server(Box<Target>),
    /// A signer alone: it speaks no HTTP.
    Signer(Address),
}

/// The answer's code, and what it says.
async fn ask(target: &Target, path: &str) -> Result<(StatusCode, String), Failure> {
    // No list of checks is longer, and whoever answers may be anyone.
    const LONGEST: usize = 16 << 10;
    Ok(Client::new(target)?.probe(path, LONGEST).await?)
}

/// Whether a signer answers there.
async fn signs(address: &Address, wait: Duration) -> Result<(), Failure> {
    let failed =
        |cause: &dyn fmt::Display| Failure::failed(format!("no signer answers on {address}: {cause}"));
    match timeout(wait, tokensmith_signer::probe(address)).await {
        Ok(answered) => answered.map_err(|e| failed(&e)),
        Err(_) => Err(failed(&"no answer in time")),
    }
}
