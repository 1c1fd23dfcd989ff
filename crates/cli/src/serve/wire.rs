//! Wiring: store → view → keys → registry → app, and the tasks that keep them going.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::sync::Arc;

use anyhow::Context;
use tokensmith_core::access::authenticators::TokenFile;
use tokensmith_core::access::chain::{AlwaysAllow, AlwaysDeny};
use tokensmith_core::access::node::NodeAuthorizer;
use tokensmith_core::access::rbac::Rbac;
use tokensmith_core::access::{
    Authentication, Authorizer, Authorizers, Identity, MASTERS, TokenAuthenticator,
};
use tokensmith_core::clock::ClockWatch;
use tokensmith_core::store::Store;
use tokensmith_core::supervise::{Supervisor, Task};
use tokensmith_core::tokens::ledger::OpenError as LedgerOpenError;
use tokensmith_core::tokens::{IssuerConfig, TokenIssuer, TokenLedger, Verifier};
use tokensmith_core::view::View;
use tokensmith_objects::bootstrap;
use tokensmith_objects::validate::Limits;
use tokensmith_registry::controllers::Controllers;
use tokensmith_registry::{Registry, RegistryConfig};
use tokensmith_server::app::Check;
use tokensmith_server::audit::Audit;
use tokensmith_server::metrics::Metrics;
use tokensmith_server::{App, AppConfig, Backup};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::ADMIN;
use super::data_dir::DataDir;
use super::end;
use super::first_start::FirstStart;
use super::flags::{Mode, ServeArgs};
use super::issuers;
use super::keys;
use super::start::{Opened, Settings, Time};
use crate::failure::Failure;

/// A server that has everything but listeners.
pub(super) struct Server {
    pub(super) app: Arc<App>,
    pub(super) admin_token: String,
    pub(super) issuer: String,
    pub(super) token_file: Option<Arc<TokenFile>>,
    tasks: JoinSet<()>,
    store: Arc<dyn Store>,
}

impl Server {
    /// Ends the tasks, brings the ledger to disk and lets go of the store, whose last owner flushes it.
    ///
    /// # Errors
    /// The disk does not answer.
    pub(super) async fn close(self) -> Result<(), Failure> {
        let Server { app, mut tasks, store, .. } = self;
        let ledger = app.ledger.clone();
        let work = async {
            tasks.shutdown().await;
            if let Err(e) = ledger.flush().await {
                tracing::error!(cause = %e, "the last issue records are lost");
            }
        };
        end::within(end::GRACE, work, (app, store, ledger.clone())).await
    }
}

/// The tasks that run for as long as the process does.
pub(super) struct Tasks {
    pub(super) supervisor: Arc<Supervisor>,
    pub(super) running: JoinSet<()>,
}

impl Tasks {
    /// Begins one. It is begun again with the same things when it panics or ends.
    pub(super) fn run<T, W>(&mut self, task: Task, with: &T, work: impl Fn(T) -> W + Send + Sync + 'static)
    where
        T: Clone + Send + Sync + 'static,
        W: Future<Output = ()> + Send + 'static,
    {
        let (supervisor, with) = (self.supervisor.clone(), with.clone());
        self.running.spawn(async move { supervisor.run(task, || work(with.clone())).await });
    }
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
    let api_audiences =
        if args.api_audiences.is_empty() { issuers.clone() } else { args.api_audiences.clone() };
    let wanted = issuers::Wanted {
        args,
        issuers: &issuers,
        audiences: &api_audiences,
        kept: dir.kept_issuer()?,
        listed: !settings.keys.verification.is_empty(),
        now: clock.now(),
    };
    let passed = issuers::check(wanted, &*store, &*ledger).await?;
    if args.service_account_issuer.is_empty() {
        dir.issuer(&issuers[0])?;
    }
    let jwks_uri = args.service_account_jwks_uri.as_deref();
    let profile_algorithms = settings.profiles.algorithms();
    let place = keys::Place { dir, store: &store, clock: &clock, fail: &fail, first };
    let keys = keys::open(settings.keys, profile_algorithms, place, &issuers[0], jwks_uri).await?;
    passed.keep(&*store).await?;
    let view = Arc::new(View::load(&*store).await.context("cannot read the objects")?);
    let backup = Backup::new(store.clone(), ledger.clone(), Box::new(dir.kept()), identity);
    let ledger =
        TokenLedger::open(ledger, args.ledger.into(), clock.clone(), keys.clone(), view.clone()).await;
    let ledger = ledger.map_err(|e| match e {
        LedgerOpenError::Revoked { .. } => Failure::guard(e.to_string()),
        LedgerOpenError::Ledger(_) | LedgerOpenError::Write(_) => anyhow::Error::new(e).into(),
    })?;
    let mut tasks = Tasks { supervisor, running: JoinSet::new() };
    let clock_watch = Arc::new(ClockWatch::new(clock.clone()));
    tasks.run(Task::ClockWatch, &clock_watch, |watch| async move { watch.run().await });
    let fed = (view.clone(), store.clone(), clock.clone());
    tasks.run(Task::Objects, &fed, |(view, from, by)| async move { view.feed(from, by).await });

    let bootstrap = bootstrap::rbac(&settings.served);
    let authorizer: Arc<dyn Authorizer> = Arc::new(Authorizers::new(
        args.authorization_mode
            .iter()
            .map(|mode| -> Arc<dyn Authorizer> {
                match mode {
                    Mode::AlwaysAllow => Arc::new(AlwaysAllow),
                    Mode::AlwaysDeny => Arc::new(AlwaysDeny),
                    Mode::Node => Arc::new(NodeAuthorizer::new(&bootstrap)),
                    Mode::Rbac => Arc::new(Rbac::new()),
                }
            })
            .collect(),
    ));
    let limits = Limits { min_token_expiration_seconds: settings.min_token_seconds };
    let registry = Arc::new(Registry::new(
        store.clone(),
        view.clone(),
        clock.clone(),
        authorizer.clone(),
        RegistryConfig {
            limits,
            implicit_service_account_token: settings.implicit_token,
            root_ca: trust.to_owned(),
        },
    ));
    registry
        .ensure(bootstrap)
        .await
        .map_err(anyhow::Error::new)
        .context("cannot make the built-in objects")?;
    let controllers = Controllers::new(registry.clone(), keys.clone(), clock.clone(), trust.to_owned());
    tasks.run(
        Task::Controllers,
        &Arc::new(controllers),
        |controllers| async move { controllers.run().await },
    );
    tasks.run(Task::SigningKeys, &keys, |keys| async move { keys.run().await });
    tasks.run(Task::Ledger, &ledger, |ledger| async move { ledger.run().await });

    let admin_token = dir.admin_token()?;
    let admin = Identity { name: ADMIN.into(), groups: vec![MASTERS.into()], ..Identity::default() };
    let mut authenticators: Vec<Arc<dyn TokenAuthenticator>> =
        vec![Arc::new(TokenFile::single(&admin_token, admin))];
    authenticators.extend(settings.token_file.clone().map(|f| f as Arc<dyn TokenAuthenticator>));
    let revocations = ledger.revocations().clone();
    authenticators.push(Arc::new(Verifier::new(
        keys.clone(),
        revocations,
        issuers.clone(),
        api_audiences.clone(),
    )));
    if args.service_account_extend_token_expiration
        && settings.max_token_seconds.is_some_and(|max| max < 3607)
    {
        tracing::warn!(
            "--service-account-max-token-expiration is below 3607s: tokens of automatic volumes are not extended"
        );
    }
    let tokens = TokenIssuer::new(
        view.clone(),
        clock.clone(),
        keys.clone(),
        authorizer.clone(),
        ledger.clone(),
        IssuerConfig {
            issuer: issuers[0].clone(),
            api_audiences: api_audiences.clone(),
            limits,
            max_expiration_seconds: settings.max_token_seconds,
            extend_expiration: args.service_account_extend_token_expiration,
            profiles: settings.profiles,
        },
    );
    let (ring, written) = (keys.clone(), ledger.clone());
    let (shown, by) = (view.clone(), clock.clone());
    let checks: Vec<(&'static str, Check)> = vec![
        ("store", problem),
        ("objects", Box::new(move || shown.problem(&*by))),
        ("signing-keys", Box::new(move || ring.problem())),
        ("ledger", Box::new(move || written.problem())),
    ];
    let app = Arc::new(App {
        config: AppConfig {
            anonymous_auth: args.anonymous_auth,
            anonymous_oidc: args.anonymous_oidc,
            max_request_bytes: args.max_request_bytes,
            served: settings.served,
            version: env!("CARGO_PKG_VERSION"),
        },
        clock,
        clock_watch,
        test_clock,
        view,
        registry,
        keys,
        ledger,
        tokens,
        authentication: Authentication::new(authenticators, api_audiences)
            .with_certificates(settings.client_certificates),
        authorizer,
        metrics: Metrics::new(),
        audit: audit(args, &tasks.supervisor)?,
        backup,
        stopping,
        supervisor: tasks.supervisor,
        checks,
    });
    Ok(Server {
        app,
        admin_token,
        issuer: issuers[0].clone(),
        token_file: settings.token_file,
        tasks: tasks.running,
        store,
    })
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
