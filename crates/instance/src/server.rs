//! A server with its listener: started from a few options, gone when it is dropped.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use rustls::ClientConfig;
use serde_json::json;
use tokensmith_core::access::authenticators::{ClientCertificates, TokenFile};
use tokensmith_core::access::{Identity, MASTERS};
use tokensmith_core::clock::{Clock, ManualClock, SystemClock};
use tokensmith_core::keys::{Algorithm, Keys, KeysConfig, RotationPolicy, SealSource};
use tokensmith_core::random;
use tokensmith_core::supervise::Supervisor;
use tokensmith_objects::schema::Current;
use tokensmith_server::audit::Audit;
use tokensmith_server::{App, listener};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use zeroize::Zeroizing;

use crate::call::TokenRequest;
use crate::certificates::{Authority, OWN_NAMES};
use crate::clock::TestClock;
use crate::error::{EndError, StartError};
use crate::issuers::{self, StartIssuers};
use crate::options::Options;
use crate::renewal::Renewal;
use crate::storage::Storage;
use crate::tls::{self, TlsError};
use crate::wire::{Instance, Parts};

/// The administrator, whose token is in [`Server::kubeconfig`].
const ADMIN: &str = "admin";

/// A server that runs. Dropped, it is gone: its tasks, connections, threads and memory.
pub struct Server {
    instance: Instance,
    url: String,
    ca: String,
    admin_token: Zeroizing<String>,
    stop: watch::Sender<bool>,
    serving: JoinSet<()>,
}

/// What a server is to be. [`Builder::start`] makes it.
#[must_use = "nothing is there before it is started"]
pub struct Builder {
    address: SocketAddr,
    algorithm: Option<Algorithm>,
    options: Options,
    rotation: RotationPolicy,
    storage: Storage,
    stands: bool,
}

impl Server {
    /// A server in memory: with a clock that stands until [`Server::clock`] moves it, and an ES256 key, which is made at
    /// once (an RSA key takes up to seconds).
    pub fn ephemeral() -> Builder {
        Builder { algorithm: Some(Algorithm::ES256), stands: true, ..Builder::on(Storage::Memory) }
    }

    /// A server whose objects, keys and ledger are in a folder, with the machine's clock. `seal` opens its private keys:
    /// without it the folder is of no use, and nobody else should have both. CA and administrator are new at each start.
    ///
    /// A bare [`SealKey`] is the caller's to keep, so `POST /admin/v1/keys/reseal` is refused. To replace it, hand over
    /// [`SealKeys`](crate::SealKeys), the new one first, and reseal with `"keepFile": true`; or hand over a
    /// [`SealSource`] that keeps what it is given, as an `Arc<dyn SealSource>`.
    ///
    /// The issuer of the first start stays, as do the API's audiences: where neither [`Builder::issuer`] nor
    /// [`Builder::address`] is said, it is the URL of that start, whose port the next one need not have. A start that would
    /// refuse tokens of before is refused, unless [`Options::dropped_issuers`] or [`Options::dropped_audiences`] lets them
    /// go. Who verifies by discovery needs an issuer that can be reached: say one.
    pub fn on_disk(folder: impl Into<PathBuf>, seal: impl Into<Arc<dyn SealSource>>) -> Builder {
        Builder::on(Storage::Disk { folder: folder.into(), seal: seal.into() })
    }

    /// The kinds that it serves: one that is added is served at once, one that is taken away is a 404.
    pub fn schema(&self) -> &Arc<Current> {
        &self.app().schema
    }

    /// Where it listens: `https://127.0.0.1:PORT`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// `iss` of its tokens: its URL, or on disk that of the first start, unless told otherwise.
    pub fn issuer(&self) -> &str {
        &self.app().tokens.config().issuer
    }

    /// The CA that its clients must trust, PEM. Its key was made in memory and is nowhere else.
    pub fn ca(&self) -> &str {
        &self.ca
    }

    /// A client's TLS that trusts this server alone.
    ///
    /// # Errors
    /// None for a CA of our own; the TLS library's all the same.
    pub fn client_tls(&self) -> Result<ClientConfig, TlsError> {
        tls::client(&self.ca)
    }

    /// A kubeconfig of the administrator, for kubectl and other clients. It holds a credential.
    pub fn kubeconfig(&self) -> Zeroizing<String> {
        let cluster =
            json!({"server": self.url, "certificate-authority-data": BASE64_STANDARD.encode(&self.ca)});
        let config = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "tokensmith", "cluster": cluster}],
            "contexts": [{"name": "tokensmith", "context": {"cluster": "tokensmith", "user": ADMIN}}],
            "current-context": "tokensmith",
            "users": [{"name": ADMIN, "user": {"token": &**self.admin_token}}],
        });
        // JSON is YAML.
        Zeroizing::new(format!("{config:#}\n"))
    }

    /// Asks for a token of an account, `NAMESPACE/NAME`. Both are made if they are not there.
    pub fn token(&self, account: &str) -> TokenRequest<'_> {
        TokenRequest::new(self, account)
    }

    /// The clock, of a server whose clock can be moved ([`Server::ephemeral`], unless told otherwise).
    ///
    /// # Panics
    /// The server goes by the machine's clock, which nobody moves.
    pub fn clock(&self) -> &TestClock {
        self.instance.clock.as_ref().expect("a server that goes by the machine's clock has none to move")
    }

    /// Stops: open requests end, all that is queued is written, and the store is closed. To drop a server is enough where
    /// nothing of it is to stay.
    ///
    /// # Errors
    /// The disk does not answer.
    pub async fn stop(self) -> Result<(), EndError> {
        let Server { instance, stop, mut serving, .. } = self;
        stop.send_replace(true);
        while serving.join_next().await.is_some() {}
        instance.end().await
    }

    pub(crate) fn admin_token(&self) -> &Zeroizing<String> {
        &self.admin_token
    }

    pub(crate) fn app(&self) -> &App {
        &self.instance.app
    }

    pub(crate) fn router(&self) -> Router {
        self.instance.router.clone()
    }
}

impl Builder {
    fn on(storage: Storage) -> Self {
        Builder {
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            algorithm: None,
            options: Options::default(),
            rotation: RotationPolicy::default(),
            storage,
            stands: false,
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
        self.stands = false;
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
        if let Some(seconds) = self.options.max_token_seconds {
            self.rotation.max_token_lifetime = Some(Duration::from_secs(seconds.unsigned_abs()));
        }
        self.rotation.check()?;
        let socket = TcpListener::bind(self.address).await.map_err(StartError::Listen)?;
        let made = self.storage.make()?;
        let started = self.run(socket).await;
        if started.is_err() {
            made.undo();
        }
        started
    }

    /// Makes and begins all that is checked by now.
    async fn run(self, socket: TcpListener) -> Result<Server, StartError> {
        let Builder { algorithm, mut options, rotation, storage, stands, .. } = self;
        let address = socket.local_addr().map_err(StartError::Listen)?;
        let url = format!("https://{address}");
        let system = Arc::new(SystemClock::new());
        let authority = Authority::make(system.now())?;
        let (ca, admin_token) = (authority.pem().to_owned(), administrator(&mut options));
        options.root_ca.clone_from(&ca);
        let renewal = renewal(system.clone(), authority, address, options.client_certificates.clone())?;

        let test_clock = stands.then(|| Arc::new(ManualClock::new(system.now())));
        let clock: Arc<dyn Clock> = match &test_clock {
            Some(clock) => clock.clone(),
            None => system.clone(),
        };
        let supervisor = Supervisor::new(clock.clone());
        let stored = storage.open(&supervisor)?;
        if options.issuers.is_empty() {
            // The port of this start may be another: tokens of before keep their issuer.
            let recorded = issuers::recorded(&*stored.store).await?;
            options.issuers.push(recorded.unwrap_or_else(|| url.clone()));
        }
        let wanted = StartIssuers {
            issuers: &options.issuers,
            audiences: options.audiences(),
            dropped_issuers: &options.dropped_issuers,
            dropped_audiences: &options.dropped_audiences,
            kept: None,
            listed: false,
            now: clock.now(),
        };
        let passed = issuers::check(wanted, &*stored.store, &*stored.ledger).await?;
        let config = KeysConfig {
            algorithm,
            profile_algorithms: options.profiles.algorithms(),
            policy: rotation,
            ..KeysConfig::new(options.issuers[0].clone(), stored.seal)
        };
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
            audit: Audit::none(),
            stopping: stopping.clone(),
        };
        let instance = Instance::start(parts, options).await?;
        let app = &instance.app;
        let (live, stats) = (renewal.live(), app.metrics.listening());
        let mut serving = JoinSet::new();
        serving.spawn(renewal.run(supervisor.clone(), stopping.clone()));
        serving.spawn(listener::serve(
            socket,
            Some(live),
            instance.router.clone(),
            stats,
            supervisor,
            stopping,
        ));
        if stands {
            // What is due at the beginning is done: the spare key is there before time passes.
            keys.tick().await.map_err(StartError::Tick)?;
        }
        Ok(Server { instance, url, ca, admin_token, stop, serving })
    }
}

/// TLS with a certificate of the CA, made anew before it ends.
fn renewal(
    clock: Arc<dyn Clock>,
    authority: Authority,
    address: SocketAddr,
    clients: Option<Arc<ClientCertificates>>,
) -> Result<Renewal, StartError> {
    let mut names = OWN_NAMES.map(str::to_owned).to_vec();
    let own = address.ip().to_string();
    if !address.ip().is_unspecified() && !names.contains(&own) {
        names.push(own);
    }
    Renewal::begin(clock, move |now| {
        let made = authority.serving(&names, now)?;
        let cas = clients.as_ref().map(|clients| clients.cas());
        Ok::<_, StartError>((tls::server(made.chain, made.key, cas.as_deref())?, Some(made.renew_at)))
    })
}

/// Makes an administrator that nobody else knows. Gives their token.
fn administrator(options: &mut Options) -> Zeroizing<String> {
    let token = Zeroizing::new(BASE64_URL_SAFE_NO_PAD.encode(random::bytes::<32>()));
    let admin = Identity { name: ADMIN.into(), groups: vec![MASTERS.into()], ..Identity::default() };
    options.authenticators.insert(0, Arc::new(TokenFile::single(&token, admin)));
    token
}
