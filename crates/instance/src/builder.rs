//! From a few decisions to a server: what is checked first, and how it begins.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use time::OffsetDateTime;
use tokensmith_core::clock::{Clock, ManualClock, SystemClock};
use tokensmith_core::keys::{Algorithm, Keys, KeysConfig, RotationPolicy};
use tokensmith_core::random;
use tokensmith_core::supervise::Supervisor;
use tokensmith_server::audit::Audit;
use tokensmith_server::listener;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use zeroize::Zeroizing;

use crate::certificates::{Authority, OWN_NAMES};
use crate::end::Ground;
use crate::error::StartError;
use crate::issuers::{self, StartIssuers};
use crate::options::Options;
use crate::renewal::Renewal;
use crate::server::{self, Server};
use crate::storage::Storage;
use crate::tls::{self, Certificate};
use crate::wire::{Instance, Parts};

/// What a server is to be. [`Builder::start`] makes it.
#[must_use = "nothing is there before it is started"]
pub struct Builder {
    address: SocketAddr,
    algorithm: Option<Algorithm>,
    audit: Option<Box<dyn Write + Send>>,
    certificate: Option<Certificate>,
    keys: Option<ChangeKeys>,
    options: Options,
    rotation: RotationPolicy,
    storage: Storage,
    time: Time,
}

type ChangeKeys = Box<dyn FnOnce(&mut KeysConfig) + Send>;

/// What a server's clock goes by.
#[derive(Clone, Copy)]
enum Time {
    Machine,
    /// It stands until it is moved; from the machine's time on, or another one.
    Stands(Option<OffsetDateTime>),
}

impl Builder {
    pub(crate) fn on(storage: Storage) -> Self {
        Builder {
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            algorithm: None,
            audit: None,
            certificate: None,
            keys: None,
            options: Options::default(),
            rotation: RotationPolicy::default(),
            storage,
            time: Time::Machine,
        }
    }

    /// Listens there; else on a free port of 127.0.0.1.
    pub fn address(mut self, address: SocketAddr) -> Self {
        self.address = address;
        self
    }

    /// Signs with a key of this algorithm.
    pub fn algorithm(mut self, algorithm: Algorithm) -> Self {
        self.algorithm = Some(algorithm);
        self
    }

    /// `iss` of its tokens, instead of its URL (on disk, of the first start's).
    pub fn issuer(mut self, issuer: &str) -> Self {
        self.options.issuers = vec![issuer.to_owned()];
        self
    }

    /// Opens the discovery document and the key set to callers without credentials, as most verifiers are.
    pub fn public_discovery(mut self) -> Self {
        self.options.http.anonymous_oidc = true;
        self
    }

    /// When its keys change. The longest life of tokens is that of [`Options::max_token_seconds`], where it is said.
    pub fn rotation(mut self, policy: RotationPolicy) -> Self {
        self.rotation = policy;
        self
    }

    /// Goes by the machine's clock: tokens expire by themselves, and [`Server::clock`] moves nothing.
    pub fn machine_clock(mut self) -> Self {
        self.time = Time::Machine;
        self
    }

    /// Goes by a clock that stands at this time until [`Server::clock`] moves it, on disk, too.
    pub fn clock(mut self, at: OffsetDateTime) -> Self {
        self.time = Time::Stands(Some(at));
        self
    }

    pub(crate) fn standing(mut self) -> Self {
        self.time = Time::Stands(None);
        self
    }

    /// Writes the audit log there, a line of JSON for each decision. It is written nowhere else.
    pub fn audit(mut self, out: impl Write + Send + 'static) -> Self {
        self.audit = Some(Box::new(out));
        self
    }

    /// Serves this certificate instead of one of a CA of its own.
    pub fn certificate(mut self, certificate: Certificate) -> Self {
        self.certificate = Some(certificate);
        self
    }

    /// Changes whatever else there is to decide about its keys: a signing key from elsewhere, keys that verify, where they
    /// are published. The issuer is the server's.
    pub fn keys(mut self, change: impl FnOnce(&mut KeysConfig) + Send + 'static) -> Self {
        self.keys = Some(Box::new(change));
        self
    }

    /// Changes whatever else there is to decide.
    pub fn with(mut self, change: impl FnOnce(&mut Options)) -> Self {
        change(&mut self.options);
        self
    }

    /// Starts it. It listens when this returns.
    ///
    /// # Errors
    /// The options do not go together, the address is taken, or the folder cannot be used. A folder that was not there
    /// before is not there afterwards.
    pub async fn start(mut self) -> Result<Server, StartError> {
        self.options.check()?;
        let keys = self.keys_config();
        keys.policy.check()?;
        let system = Arc::new(SystemClock::new());
        let certificates = match self.certificate.take() {
            Some(given) => Certificates::Given(given),
            None => Certificates::Own(Authority::make(system.now())?),
        };
        let socket = TcpListener::bind(self.address).await.map_err(StartError::Listen)?;
        let address = socket.local_addr().map_err(StartError::Listen)?;
        let (ca, renewal) = certificates.begin(system.clone(), address, &self.options)?;
        self.options.root_ca.clone_from(&ca);
        let made = self.storage.make()?;
        let started = self.run(keys, system, (socket, address), renewal, ca).await;
        if started.is_err() {
            made.undo().await;
        }
        started
    }

    /// What is decided about the keys; the issuer is not known yet.
    fn keys_config(&mut self) -> KeysConfig {
        let max = self.options.max_token_seconds.map(|seconds| Duration::from_secs(seconds.unsigned_abs()));
        let max_token_lifetime = max.or(self.rotation.max_token_lifetime);
        let mut config = KeysConfig {
            algorithm: self.algorithm,
            profile_algorithms: self.options.profiles.algorithms(),
            policy: RotationPolicy { max_token_lifetime, ..self.rotation },
            ..KeysConfig::new("", self.storage.seal.clone())
        };
        if let Some(change) = self.keys.take() {
            change(&mut config);
        }
        config
    }

    /// Makes and begins all that is checked by now.
    async fn run(
        self,
        mut config: KeysConfig,
        system: Arc<SystemClock>,
        (socket, address): (TcpListener, SocketAddr),
        renewal: Renewal,
        ca: String,
    ) -> Result<Server, StartError> {
        let Builder { audit, mut options, storage, time, .. } = self;
        let url = format!("https://{address}");
        let admin_token = administrator(&mut options);
        let test_clock = match time {
            Time::Machine => None,
            Time::Stands(at) => Some(Arc::new(ManualClock::new(at.unwrap_or_else(|| system.now())))),
        };
        let stands = test_clock.is_some();
        let clock = test_clock.clone().map_or(system as Arc<dyn Clock>, |clock| clock as Arc<dyn Clock>);
        let supervisor = Supervisor::new(clock.clone());
        let audit = match audit {
            Some(out) => Audit::to(out, supervisor.clone()).map_err(StartError::Audit)?,
            None => Audit::none(),
        };
        let stored = storage.open(&supervisor).await?;
        let ground = Ground::new(&stored.store, &stored.ledger, None);
        if options.issuers.is_empty() {
            // The port of this start may be another: tokens of before keep their issuer.
            let recorded = issuers::recorded(&*stored.store).await?;
            options.issuers.push(recorded.unwrap_or_else(|| url.clone()));
        }
        let listed = !config.verification_keys.is_empty();
        let wanted = StartIssuers { listed, ..options.start_issuers(clock.now()) };
        let passed = issuers::check(wanted, &*stored.store, &*stored.ledger).await?;
        config.issuer.clone_from(&options.issuers[0]);
        let keys = Keys::open(stored.store.clone(), clock.clone(), config).await?;
        passed.keep(&*stored.store).await?;
        let (stop, stopping) = watch::channel(false);
        let parts = Parts {
            store: stored.store,
            ledger: stored.ledger,
            keys: keys.clone(),
            clock,
            test_clock,
            supervisor: supervisor.clone(),
            problem: stored.problem,
            identity: stored.identity,
            files: Box::new(|| Ok(Vec::new())),
            audit,
            stopping: stopping.clone(),
        };
        ground.hand_over();
        let instance = Instance::start(parts, options).await?;
        let (live, stats) = (renewal.live(), instance.app.metrics.listening());
        let mut serving = JoinSet::new();
        serving.spawn(renewal.run(supervisor.clone(), stopping.clone()));
        let router = instance.router.clone();
        serving.spawn(listener::serve(socket, Some(live), router, stats, supervisor, stopping));
        if stands {
            // What is due at the beginning is done: the spare key is there before time passes.
            keys.tick().await.map_err(StartError::Tick)?;
        }
        Ok(Server { instance, url, ca, admin_token, stop, serving })
    }
}

/// Where a server's certificates come from.
enum Certificates {
    Given(Certificate),
    Own(Authority),
}

impl Certificates {
    /// TLS for an address, kept current; and what clients must trust.
    fn begin(
        self,
        clock: Arc<dyn Clock>,
        address: SocketAddr,
        options: &Options,
    ) -> Result<(String, Renewal), StartError> {
        let clients = options.client_certificates.clone();
        let cas = move || clients.as_ref().map(|clients| clients.cas());
        match self {
            Certificates::Given(given) => {
                let ca = given.ca.clone();
                let build = move |_| Ok::<_, StartError>((given.server(cas().as_deref())?.into(), None));
                Ok((ca, Renewal::begin(clock, build)?))
            }
            Certificates::Own(authority) => {
                let (ca, names) = (authority.pem().to_owned(), names(address));
                let build = move |now| {
                    let made = authority.serving(&names, now)?;
                    let config = tls::server(made.chain, made.key, cas().as_deref())?;
                    Ok::<_, StartError>((config.into(), Some(made.renew_at)))
                };
                Ok((ca, Renewal::begin(clock, build)?))
            }
        }
    }
}

/// By which a server is reached that listens there.
fn names(address: SocketAddr) -> Vec<String> {
    let mut names = OWN_NAMES.map(str::to_owned).to_vec();
    let own = address.ip().to_string();
    if !address.ip().is_unspecified() && !names.contains(&own) {
        names.push(own);
    }
    names
}

/// Makes an administrator that nobody else knows. Gives their token.
fn administrator(options: &mut Options) -> Zeroizing<String> {
    let token = Zeroizing::new(BASE64_URL_SAFE_NO_PAD.encode(random::bytes::<32>()));
    options.authenticators.insert(0, server::administrator(&token));
    token
}
