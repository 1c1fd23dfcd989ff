//! Wiring: keys, store → view → ledger → registry → app, and the tasks that keep them going. The only place where a server
//! is put together.

use std::sync::Arc;

use axum::Router;
use tokensmith_core::access::{Authentication, Authorizer, TokenAuthenticator};
use tokensmith_core::clock::{Clock, ClockWatch, ManualClock};
use tokensmith_core::keys::Keys;
use tokensmith_core::ledger::Ledger;
use tokensmith_core::store::Store;
use tokensmith_core::supervise::{Supervisor, Task, Tasks};
use tokensmith_core::tokens::{AccessTokens, IssuerConfig, TokenIssuer, TokenLedger, Verifier};
use tokensmith_core::view::View;
use tokensmith_exchange::{Endpoint, Setting};
use tokensmith_objects::schema::Current;
use tokensmith_objects::{Object, bootstrap};
use tokensmith_registry::controllers::Controllers;
use tokensmith_registry::{Registry, RegistryConfig};
use tokensmith_server::app::Check;
use tokensmith_server::audit::Audit;
use tokensmith_server::backup::Files;
use tokensmith_server::metrics::Metrics;
use tokensmith_server::{App, Backup, Limit};
use tokio::sync::watch;

use crate::clock::TestClock;
use crate::end::{self, Ground};
use crate::error::{EndError, StartError};
use crate::options::Options;
use crate::testing_clock;

/// What a server stands on. Whoever has opened it says where.
pub struct Parts {
    /// The objects, the key ring.
    pub store: Arc<dyn Store>,
    /// What is known of tokens.
    pub ledger: Arc<dyn Ledger>,
    /// The signing keys, open.
    pub keys: Arc<Keys>,
    /// Time,
    pub clock: Arc<dyn Clock>,
    /// the same, where it can be moved,
    pub test_clock: Option<Arc<ManualClock>>,
    /// and who watches the tasks by it.
    pub supervisor: Arc<Supervisor>,
    /// What keeps the store from taking writes.
    pub problem: Check,
    /// Which store it is, if it has an identity.
    pub identity: Option<String>,
    /// Files that a backup takes along.
    pub files: Files,
    /// What is written down of decisions.
    pub audit: Audit,
    /// Turns true when the server is to stop.
    pub stopping: watch::Receiver<bool>,
}

/// A server that has everything but listeners. Dropped, its tasks end.
pub struct Instance {
    /// What its handlers are given parts of.
    pub app: Arc<App>,
    /// All that answers requests, as one service for a listener.
    pub router: Router,
    /// The clock, where it can be moved.
    pub clock: Option<TestClock>,
    tasks: Tasks,
    /// Last, so that nothing else of this holds a part of it.
    ground: Ground,
}

impl Instance {
    /// Puts a server together: makes what every cluster has, and begins its tasks.
    ///
    /// # Errors
    /// The options do not go together; what is in the store cannot be read, or what is missing not be written.
    pub async fn start(parts: Parts, options: Options) -> Result<Self, StartError> {
        options.check()?;
        let Parts { store, ledger, keys, clock, test_clock, supervisor, .. } = parts;
        let audit = Arc::new(parts.audit);
        let ground = Ground::new(&store, &ledger, Some(&audit));
        let issuer = options.issuers.first().cloned().ok_or(StartError::NoIssuer)?;
        let audiences = options.audiences().to_vec();
        let view = Arc::new(View::load(&*store).await.map_err(StartError::Objects)?);
        let backup = Backup::new(store.clone(), ledger.clone(), parts.files, parts.identity);
        let ledger =
            TokenLedger::open(ledger, options.ledger, clock.clone(), keys.clone(), view.clone()).await?;
        let mut tasks = Tasks::new(supervisor.clone());
        let clock_watch = Arc::new(ClockWatch::new(clock.clone()));
        tasks.run(Task::ClockWatch, &clock_watch, |watch| async move { watch.run().await });
        let fed = (view.clone(), store.clone(), clock.clone());
        tasks.run(Task::Objects, &fed, |(view, from, by)| async move { view.feed(from, by).await });

        let schema = Arc::new(Current::new(options.http.served.clone()));
        let bootstrap = bootstrap::rbac(&options.http.served);
        let authorizer = options.authorizer(&bootstrap);
        let place = (store.clone(), view.clone(), clock.clone());
        let registry = registry(place, authorizer.clone(), &schema, bootstrap, &options).await?;
        let controllers =
            Controllers::new(registry.clone(), keys.clone(), clock.clone(), options.root_ca.clone());
        tasks.run(
            Task::Controllers,
            &Arc::new(controllers),
            |controllers| async move { controllers.run().await },
        );
        tasks.run(Task::SigningKeys, &keys, |keys| async move { keys.run().await });
        tasks.run(Task::Ledger, &ledger, |ledger| async move { ledger.run().await });

        let verifier = Arc::new(Verifier::new(
            keys.clone(),
            ledger.revocations().clone(),
            options.issuers.clone(),
            audiences.clone(),
        ));
        let clock_to_move = test_clock.map(|moved| TestClock {
            clock: moved,
            keys: keys.clone(),
            view: view.clone(),
            supervisor: supervisor.clone(),
        });
        let mut routes = options.routes;
        let limit = Limit(options.http.max_request_bytes);
        routes.extend(clock_to_move.clone().map(|moved| testing_clock::route(moved, limit)));
        let metrics = Arc::new(Metrics::new());
        if let Some(policies) = options.exchange {
            let access = AccessTokens::new(
                view.clone(),
                clock.clone(),
                keys.clone(),
                ledger.clone(),
                verifier.clone(),
                issuer.clone(),
            );
            let setting = Setting {
                access: Arc::new(access),
                view: view.clone(),
                clock: clock.clone(),
                keys: keys.clone(),
                ledger: ledger.clone(),
                errands: tasks.errands().clone(),
                metrics: metrics.clone(),
                limit,
                max_token_seconds: options.max_token_seconds,
                issuers: options.issuers.clone(),
            };
            routes.extend(Endpoint::new(policies, setting)?.routes());
        }
        let mut authenticators = options.authenticators;
        authenticators.push(verifier as Arc<dyn TokenAuthenticator>);
        let tokens = TokenIssuer::new(
            view.clone(),
            clock.clone(),
            keys.clone(),
            registry.admission().clone(),
            ledger.clone(),
            IssuerConfig {
                issuer,
                api_audiences: audiences.clone(),
                limits: options.limits,
                max_expiration_seconds: options.max_token_seconds,
                extend_expiration: options.extend_tokens,
                profiles: options.profiles,
            },
        );
        let errands = tasks.errands().clone();
        let checks = checks(parts.problem, &view, &keys, &ledger, &clock);
        let app = Arc::new(App {
            config: options.http,
            clock,
            clock_watch,
            schema,
            openapi: Arc::default(),
            discovery: Arc::default(),
            view,
            registry,
            keys,
            ledger,
            tokens: Arc::new(tokens),
            authentication: Arc::new(
                Authentication::new(authenticators, audiences).with_certificates(options.client_certificates),
            ),
            authorizer,
            metrics,
            audit,
            backup: Arc::new(backup),
            stopping: parts.stopping,
            errands,
            supervisor,
            rules: routes.iter().map(|route| (route.path, route.access)).collect(),
            checks: Arc::new(checks),
        });
        let router = tokensmith_server::router(app.clone(), &routes);
        Ok(Instance { app, router, clock: clock_to_move, tasks, ground })
    }

    /// Ends the tasks, brings the ledger to disk and lets go of the store, whose last owner flushes it. No request is
    /// served any more.
    ///
    /// # Errors
    /// The disk does not answer, or somebody else still has the store.
    pub async fn end(self) -> Result<(), EndError> {
        let Instance { app, router, clock, tasks, ground } = self;
        let ledger = app.ledger.clone();
        // It has the ledger to itself, so that nobody does when the rest is closed.
        let work = async move {
            tasks.end().await;
            if let Err(e) = ledger.flush().await {
                tracing::error!(cause = %e, "the last issue records are lost");
            }
        };
        let rest = (app, router, clock);
        end::within(end::GRACE, work, move || {
            drop(rest);
            ground.close()
        })
        .await
    }
}

/// The registry, with all that every cluster has.
async fn registry(
    (store, view, clock): (Arc<dyn Store>, Arc<View>, Arc<dyn Clock>),
    authorizer: Arc<dyn Authorizer>,
    schema: &Arc<Current>,
    bootstrap: Vec<Object>,
    options: &Options,
) -> Result<Arc<Registry>, StartError> {
    let config = RegistryConfig {
        limits: options.limits,
        implicit_service_account_token: options.implicit_tokens,
        root_ca: options.root_ca.clone(),
        services: options.services.clone(),
    };
    let registry = Registry::new(store, view, clock, authorizer, config).with_schema(schema.clone());
    let registry = registry.with_pod_grace(options.pod_grace).with_event_ttl(options.event_ttl);
    let registry = registry.with_advertised(options.advertised);
    let registry = Arc::new(registry.with_admission(options.admission.iter().cloned()));
    registry.ensure(bootstrap).await.map_err(StartError::BuiltIn)?;
    Ok(registry)
}

/// What readiness asks, besides the tasks.
fn checks(
    store: Check,
    view: &Arc<View>,
    keys: &Arc<Keys>,
    ledger: &Arc<TokenLedger>,
    clock: &Arc<dyn Clock>,
) -> Vec<(&'static str, Check)> {
    let (shown, by) = (view.clone(), clock.clone());
    let (ring, written) = (keys.clone(), ledger.clone());
    vec![
        // As probes and their `exclude` name what holds the objects, whatever it is.
        ("etcd", store),
        ("objects", Box::new(move || shown.problem(&*by))),
        ("signing-keys", Box::new(move || ring.problem())),
        ("ledger", Box::new(move || written.problem())),
    ]
}
