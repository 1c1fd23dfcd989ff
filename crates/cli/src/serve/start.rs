//! What is checked before anything is made, and the store.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use tokensmith::{Options, ServiceRanges, StartError};
use tokensmith_core::access::authenticators::{ClientCertificates, TokenFile};
use tokensmith_core::clock::{Clock, ManualClock, SystemClock};
use tokensmith_core::keys::issuer::{check_authorization_endpoint, check_jwks_uri};
use tokensmith_core::ledger::Ledger;
use tokensmith_core::store::Store;
use tokensmith_core::supervise::Supervisor;
use tokensmith_federation::StsConfig;
use tokensmith_objects::validate::Limits;
use tokensmith_server::AppConfig;
use tokensmith_server::app::Check;
use tokensmith_store::{MemoryLedger, MemoryStore, OpenError, SledStore};
use zeroize::Zeroizing;

use super::data_dir::DataDir;
use super::fail::FailPoints;
use super::flags::ServeArgs;
use super::keys::{KeyFiles, read};
use super::{exchange, profiles, tls};
use crate::failure::Failure;
use crate::files::{check_given, unreadable};

/// What the flags and their files say, read and checked.
pub(super) struct Settings {
    pub(super) keys: KeyFiles,
    /// All but what the data directory and the address decide.
    pub(super) options: Options,
    pub(super) token_file: Option<Arc<TokenFile>>,
    /// What the clouds' services are to know, if there are any.
    pub(super) sts: Option<StsConfig>,
    /// The administrator's, where it is given.
    pub(super) admin_token: Option<Zeroizing<String>>,
}

impl Settings {
    /// Reads all that the flags name.
    pub(super) fn read(args: &ServeArgs) -> Result<Self, Failure> {
        let open = check_files(args)?;
        if let Some(url) = &args.discovery_authorization_endpoint {
            check_authorization_endpoint(url).map_err(|e| Failure::usage(e.to_string()))?;
        }
        if let Some(uri) = &args.service_account_jwks_uri {
            check_jwks_uri(uri).map_err(|e| Failure::usage(e.to_string()))?;
        }
        let keys = KeyFiles::read(&args.keys)?;
        if args.external_signer_socket.is_some() {
            keys.fit_api_server()?;
        }
        let token_file = match &args.token_auth_file {
            None => None,
            Some(path) => {
                // Put right, a name could be another's.
                let text = String::from_utf8(read(path)?);
                let text =
                    text.map_err(|e| unreadable(&format!("{} is not UTF-8", path.display()), e.as_bytes()))?;
                let parsed = TokenFile::parse(&text);
                Some(Arc::new(parsed.map_err(|e| Failure::failed(format!("{}: {e}", path.display())))?))
            }
        };
        let admin_token = args.admin_token_file.as_deref().map(admin_token).transpose()?;
        let profiles = profiles::read(args)?;
        let exchange = args.exchange_policy_file.as_deref().map(exchange::read).transpose()?;
        let sts = args.sts.config()?;
        if let Some(issuer) = args.service_account_issuer.first() {
            args.sts.check_own(sts.as_ref(), &[issuer])?;
        }
        tls::check(args)?;
        let client_cas = args.client_ca_file.as_deref().map(tls::client_cas).transpose()?;
        let options = Options {
            api_audiences: args.api_audiences.clone(),
            authorization: args.authorizers()?,
            client_certificates: client_cas.map(|cas| Arc::new(ClientCertificates::new(cas))),
            dropped_audiences: args.drop_api_audience.clone(),
            dropped_issuers: args.drop_service_account_issuer.clone(),
            extend_tokens: args.service_account_extend_token_expiration,
            event_ttl: args.event_ttl()?,
            exchange,
            http: AppConfig {
                anonymous_auth: args.anonymous_auth,
                anonymous_oidc: args.anonymous_oidc,
                max_request_bytes: args.max_request_bytes,
                served: args.served()?,
                version: env!("CARGO_PKG_VERSION"),
            },
            implicit_tokens: args.implicit_token()?,
            issuers: args.service_account_issuer.clone(),
            ledger: args.ledger.into(),
            limits: Limits { min_token_expiration_seconds: args.min_token_seconds()? },
            max_token_seconds: args.keys.max_token_seconds()?,
            pod_grace: args.pod_grace()?,
            profiles,
            services: ServiceRanges {
                addresses: args.service_cluster_ip_range.clone(),
                node_ports: args.service_node_port_range.clone(),
            },
            ..Options::default()
        };
        options.check().map_err(|e| refused(args, e))?;
        // Only now: what stops the start is said alone.
        for path in open {
            tracing::warn!("{} holds a secret and may be read by everyone: `chmod 600` it", path.display());
        }
        Ok(Settings { keys, options, token_file, sts, admin_token })
    }
}

/// The administrator's token in a file. It must be hard to guess, and whole in a header: RFC 6750's characters, and as many
/// as 128 random bits take in hexadecimal.
fn admin_token(path: &Path) -> Result<Zeroizing<String>, Failure> {
    let text = Zeroizing::new(read(path)?);
    let refused = |why: &str| Failure::failed(format!("--admin-token-file: {} {why}", path.display()));
    let text =
        std::str::from_utf8(&text).map_err(|_| refused("is not UTF-8"))?.trim_end_matches(['\r', '\n']);
    if !(32..=1024).contains(&text.len()) {
        return Err(refused(&format!("holds {} characters: it takes 32 to 1024", text.chars().count())));
    }
    let fits = |c: char| c.is_ascii_alphanumeric() || "-._~+/".contains(c);
    if !text.trim_end_matches('=').chars().all(fits) {
        return Err(refused(
            "holds something else than A-Z a-z 0-9 - . _ ~ + / and = at the end, on a single line",
        ));
    }
    Ok(Zeroizing::new(text.to_owned()))
}

/// What does not go together, in the flags' names.
fn refused(args: &ServeArgs, e: StartError) -> Failure {
    match &e {
        StartError::AnonymousOidc => Failure::usage(
            "--anonymous-oidc opens the documents to callers without credentials, and --anonymous-auth=false refuses all of those: leave one of them out",
        ),
        StartError::Audiences(cause) => profiles::refused(args, cause),
        _ => Failure::usage(e.to_string()),
    }
}

/// Judges who may write the files that flags name; gives the secret ones that everyone may read.
fn check_files(args: &ServeArgs) -> Result<Vec<&PathBuf>, Failure> {
    let keys = &args.keys;
    let public =
        [&args.client_ca_file, &args.exchange_policy_file, &args.tls_cert_file, &args.token_profile_file];
    for path in public.into_iter().flatten().chain(&keys.service_account_key_file) {
        check_given(path)?;
    }
    let secret = [
        &args.admin_token_file,
        &args.token_auth_file,
        &args.tls_private_key_file,
        &keys.service_account_signing_key_file,
    ];
    let mut open = Vec::new();
    for path in secret.into_iter().flatten() {
        if check_given(path)? {
            open.push(path);
        }
    }
    Ok(open)
}

/// The store, and what can be told of its health.
pub(super) struct Opened {
    pub(super) store: Arc<dyn Store>,
    pub(super) ledger: Arc<dyn Ledger>,
    /// What keeps the store from taking writes.
    pub(super) problem: Check,
    pub(super) fail: FailPoints,
    /// Which store it is, if it has an identity.
    pub(super) identity: Option<String>,
    pub(super) time: Time,
}

/// The server's clock, and who watches its tasks by it.
pub(super) struct Time {
    pub(super) clock: Arc<dyn Clock>,
    /// The same, where it can be moved.
    pub(super) test_clock: Option<Arc<ManualClock>>,
    pub(super) supervisor: Arc<Supervisor>,
}

impl Time {
    /// The system's clock, or one that stands until a test moves it.
    pub(super) fn new(test: bool) -> Self {
        let system: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let test_clock = test.then(|| Arc::new(ManualClock::new(system.now())));
        let clock = test_clock.clone().map_or(system, |c| c as Arc<dyn Clock>);
        Time { supervisor: Supervisor::new(clock.clone()), clock, test_clock }
    }
}

/// Opens the store. One that another process uses is left alone.
pub(super) fn open_store(args: &ServeArgs, dir: &DataDir) -> Result<Opened, Failure> {
    let time = Time::new(args.test_clock);
    if args.ephemeral {
        let (store, ledger) = (Arc::new(MemoryStore::new()), Arc::new(MemoryLedger::new()));
        let fail = FailPoints::from_env()?;
        return Ok(Opened { store, ledger, problem: Box::new(|| None), fail, identity: None, time });
    }
    open_sled(dir, time)
}

/// Opens the one on disk.
pub(super) fn open_sled(dir: &DataDir, time: Time) -> Result<Opened, Failure> {
    let path = dir.store();
    let fail = FailPoints::from_env()?;
    let options = tokensmith_store::Options {
        supervisor: time.supervisor.clone(),
        ..tokensmith_store::Options::default()
    };
    let opened = SledStore::open(&path, fail.options(options)).map_err(|e| not_opened(&path, e))?;
    let ledger = Arc::new(opened.ledger().context("cannot open the token ledger")?);
    let identity = Some(opened.identity());
    let store = Arc::new(opened);
    let problem = tokensmith::store_problem(&store);
    Ok(Opened { store: fail.store(store), ledger, problem, fail, identity, time })
}

/// Why a store is not opened, and what to do.
pub(super) fn not_opened(path: &Path, e: OpenError) -> Failure {
    match &e {
        OpenError::Damaged(_) => {
            let dir = path.parent().unwrap_or(path).display();
            Failure::failed(format!(
                "{e}: `tokensmith store check --data-dir {dir}` lists it, `tokensmith store salvage --data-dir {dir} --to DIR` saves what is whole"
            ))
        }
        OpenError::InUse { .. } => {
            Failure::failed(format!("{e}: stop that server, or give this one another --data-dir"))
        }
        _ => Failure::from(anyhow::Error::new(e)),
    }
}
