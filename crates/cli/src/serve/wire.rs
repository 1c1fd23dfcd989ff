//! From flags and the data directory to a server: what is asked of the library, and what is asked before.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::sync::Arc;

use anyhow::Context;
use tokensmith::issuers::StartIssuers;
use tokensmith::{Authorization, ExchangePolicies, Instance, Options, Parts, StartError};
use tokensmith_core::access::TokenAuthenticator;
use tokensmith_core::access::authenticators::TokenFile;
use tokensmith_core::supervise::Supervisor;
use tokensmith_core::tokens::ledger::LedgerOpenError;
use tokensmith_server::audit::Audit;
use tokio::sync::watch;

use super::data_dir::DataDir;
use super::first_start::FirstStart;
use super::flags::{Mode, ServeArgs};
use super::keys;
use super::start::{Opened, Settings, Time};
use super::{exchange, issuers};
use crate::failure::Failure;

/// A server that has everything but listeners.
pub(super) struct Server {
    pub(super) instance: Instance,
    pub(super) admin_token: String,
    pub(super) issuer: String,
    pub(super) token_file: Option<Arc<TokenFile>>,
    /// What the token endpoint goes by.
    pub(super) policies: Option<Arc<ExchangePolicies>>,
}

/// Builds a server. `trust` is what clients must trust, PEM; `url` how others reach it.
pub(super) async fn server(
    args: &ServeArgs,
    settings: Settings,
    (dir, first): (&DataDir, &FirstStart),
    opened: Opened,
    trust: &str,
    url: &str,
    stopping: watch::Receiver<bool>,
) -> Result<Server, Failure> {
    let Opened { store, ledger, problem, fail, identity, time } = opened;
    let Time { clock, test_clock, supervisor } = time;

    let issuers = match args.service_account_issuer.as_slice() {
        [] => vec![dir.kept_issuer()?.unwrap_or_else(|| url.to_owned())],
        given => given.to_vec(),
    };
    let mut options = Options { issuers, root_ca: trust.to_owned(), ..settings.options };
    let wanted = StartIssuers {
        kept: dir.kept_issuer()?,
        listed: !settings.keys.verification.is_empty(),
        ..options.start_issuers(clock.now())
    };
    let passed = tokensmith::issuers::check(wanted, &*store, &*ledger).await;
    let passed = passed.map_err(|e| issuers::refused(e, &options))?;
    let issuer = options.issuers[0].clone();
    if args.service_account_issuer.is_empty() {
        dir.issuer(&issuer)?;
    }
    let urls = keys::Urls {
        jwks_uri: args.service_account_jwks_uri.as_deref(),
        authorization_endpoint: args.discovery_authorization_endpoint.as_deref(),
    };
    let profile_algorithms = options.profiles.algorithms();
    let place = keys::Place { dir, store: &store, clock: &clock, fail: &fail, first };
    let keys = keys::open(settings.keys, profile_algorithms, place, &issuer, urls).await?;
    passed.keep(&*store).await.map_err(anyhow::Error::new)?;

    if args.service_account_extend_token_expiration && options.max_token_seconds.is_some_and(|max| max < 3607)
    {
        tracing::warn!(
            "--service-account-max-token-expiration is below 3607s: tokens of automatic volumes are not extended"
        );
    }
    let admin_token = dir.admin_token(settings.admin_token.as_deref().map(String::as_str))?;
    options.authenticators.push(tokensmith::administrator(&admin_token));
    options.authenticators.extend(settings.token_file.clone().map(|f| f as Arc<dyn TokenAuthenticator>));
    let audit = audit(args, &supervisor)?;
    let files = Box::new(dir.kept());
    let parts = Parts {
        store,
        ledger,
        keys,
        clock,
        test_clock,
        supervisor,
        problem,
        identity,
        files,
        audit,
        stopping,
    };
    let policies = options.exchange.clone();
    let instance = Instance::start(parts, options).await.map_err(|e| not_started(args, e))?;
    Ok(Server { instance, admin_token, issuer, token_file: settings.token_file, policies })
}

impl From<Mode> for Authorization {
    fn from(mode: Mode) -> Self {
        match mode {
            Mode::AlwaysAllow => Authorization::AlwaysAllow,
            Mode::AlwaysDeny => Authorization::AlwaysDeny,
            Mode::Node => Authorization::Node,
            Mode::Rbac => Authorization::Rbac,
        }
    }
}

/// What is revoked must not come to life again by a flag: that is a guard's, all else has been tried.
fn not_started(args: &ServeArgs, e: StartError) -> Failure {
    match &e {
        StartError::Ledger(LedgerOpenError::Revoked { .. }) => Failure::guard(e.to_string()),
        StartError::Exchange(cause) => exchange::refused(args, cause),
        _ => anyhow::Error::new(e).into(),
    }
}

fn audit(args: &ServeArgs, supervisor: &Arc<Supervisor>) -> Result<Audit, Failure> {
    if args.audit_log_path.as_os_str() == "-" {
        let audit = Audit::to(Box::new(std::io::stdout()), supervisor.clone());
        return Ok(audit.context("cannot start the audit log")?);
    }
    let path = args.audit_log_path.clone();
    // Opened again on SIGHUP: logrotate has moved it away then.
    let opener = move || -> std::io::Result<Box<dyn std::io::Write + Send>> {
        let file = OpenOptions::new().create(true).append(true).mode(0o600).open(&path)?;
        Ok(Box::new(file))
    };
    let audit = Audit::open(Box::new(opener), supervisor.clone());
    Ok(audit.with_context(|| format!("cannot write {}", args.audit_log_path.display()))?)
}
