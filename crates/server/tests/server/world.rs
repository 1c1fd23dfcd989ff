//! A whole server in this process: memory store, a clock that stands until it is moved, no sockets.

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::macros::datetime;
use tokensmith::{Instance, Options, Parts};
use tokensmith_core::Supervisor;
use tokensmith_core::access::authenticators::{ClientCertificates, TokenFile};
use tokensmith_core::clock::ManualClock;
use tokensmith_core::keys::{Algorithm, Keys, KeysConfig, SealKey, SealMemory, SealSource};
use tokensmith_core::ledger::Ledger;
use tokensmith_core::store::{Expect, Store};
use tokensmith_core::tokens::profile::ServerLimits;
use tokensmith_core::tokens::{LedgerMode, TokenLedger, TokenProfiles};
use tokensmith_core::view::View;
use tokensmith_objects::schema::Schema;
use tokensmith_server::AppConfig;
use tokensmith_server::audit::Audit;
use tokensmith_store::{MemoryLedger, MemoryStore};
use tokio::sync::watch;
use tower::ServiceExt;

pub const ADMIN: &str = "test-only-admin";
pub const JANE: &str = "test-only-jane";
pub const START: OffsetDateTime = datetime!(2026-01-01 10:00:07 UTC);

pub struct World {
    pub clock: Arc<ManualClock>,
    pub keys: Arc<Keys>,
    /// Tells the server to stop.
    pub stop: watch::Sender<bool>,
    pub store: Arc<dyn Store>,
    ledger: Arc<dyn Ledger>,
    router: Router,
    audit: Arc<Mutex<Vec<u8>>>,
    /// Its tasks run for as long.
    _instance: Instance,
}

pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub bytes: Vec<u8>,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap_or(Value::Null)
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or("")
    }

    #[track_caller]
    pub fn ok(self) -> Value {
        assert!(self.status.is_success(), "{}: {}", self.status, String::from_utf8_lossy(&self.bytes));
        self.json()
    }
}

/// Status and message.
pub fn told(answer: &Answer) -> (u16, String) {
    (answer.status.as_u16(), answer.json()["message"].as_str().unwrap_or_default().to_owned())
}

/// A test's own; worth nothing.
const SEAL: [u8; 32] = [7; 32];

#[derive(Clone)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl World {
    pub async fn new() -> World {
        World::with(|_| {}).await
    }

    /// With `--runtime-config`.
    pub async fn serving(entry: &str) -> World {
        let served = Schema::serving([entry]).unwrap();
        World::with(|config| config.served = served).await
    }

    pub async fn with(change: impl FnOnce(&mut AppConfig)) -> World {
        World::with_options(|options| change(&mut options.http)).await
    }

    pub async fn with_options(change: impl FnOnce(&mut Options)) -> World {
        let ledger = Arc::new(MemoryLedger::new());
        World::build(TokenProfiles::default(), LedgerMode::Full, ledger, None, change).await
    }

    /// With the profiles of a file.
    pub async fn with_profiles(yaml: &str) -> World {
        let limits = ServerLimits { min_seconds: 600, max_seconds: Some(86_400) };
        let profiles = TokenProfiles::parse(yaml.as_bytes(), &limits).unwrap();
        World::build(profiles, LedgerMode::Full, Arc::new(MemoryLedger::new()), None, |_| {}).await
    }

    pub async fn with_store(store: Arc<dyn Store>) -> World {
        let place = (store, Arc::new(ManualClock::new(START)));
        let ledger = Arc::new(MemoryLedger::new());
        World::start(place, TokenProfiles::default(), LedgerMode::Full, ledger, None, |_| {}).await
    }

    pub async fn with_ledger(mode: LedgerMode, ledger: Arc<dyn Ledger>) -> World {
        World::build(TokenProfiles::default(), mode, ledger, None, |_| {}).await
    }

    /// With `--client-ca-file`.
    pub async fn with_certificates(clients: Arc<ClientCertificates>) -> World {
        let ledger = Arc::new(MemoryLedger::new());
        World::build(TokenProfiles::default(), LedgerMode::Full, ledger, Some(clients), |_| {}).await
    }

    /// The same store and ledger after a restart.
    pub async fn restarted(self, mode: LedgerMode) -> World {
        let ledger = self.ledger.clone();
        self.restarted_with(mode, ledger).await
    }

    /// The same store after a restart, with another ledger.
    pub async fn restarted_with(self, mode: LedgerMode, ledger: Arc<dyn Ledger>) -> World {
        let place = (self.store, self.clock);
        World::start(place, TokenProfiles::default(), mode, ledger, None, |_| {}).await
    }

    async fn build(
        profiles: TokenProfiles,
        mode: LedgerMode,
        ledger: Arc<dyn Ledger>,
        clients: Option<Arc<ClientCertificates>>,
        change: impl FnOnce(&mut Options),
    ) -> World {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        let place = (store, Arc::new(ManualClock::new(START)));
        World::start(place, profiles, mode, ledger, clients, change).await
    }

    async fn start(
        (store, clock): (Arc<dyn Store>, Arc<ManualClock>),
        profiles: TokenProfiles,
        mode: LedgerMode,
        kept: Arc<dyn Ledger>,
        clients: Option<Arc<ClientCertificates>>,
        change: impl FnOnce(&mut Options),
    ) -> World {
        let issuer = "https://issuer.test";
        let keys_config = KeysConfig {
            algorithm: Some(Algorithm::ES256),
            profile_algorithms: profiles.algorithms(),
            ..KeysConfig::new(issuer, SealMemory::new(SealKey::new(SEAL)) as Arc<dyn SealSource>)
        };
        let keys = Keys::open(store.clone(), clock.clone(), keys_config).await.unwrap();
        let users =
            TokenFile::parse(&format!("{ADMIN},admin,1,system:masters\n{JANE},jane,2,devs\n")).unwrap();
        let mut options = Options {
            api_audiences: vec!["api".into(), "https://kubernetes.default.svc".into()],
            authenticators: vec![Arc::new(users)],
            client_certificates: clients,
            issuers: vec![issuer.into()],
            ledger: mode,
            max_token_seconds: Some(86_400),
            profiles,
            root_ca: "CA".into(),
            ..Options::default()
        };
        change(&mut options);
        let audit = Arc::new(Mutex::new(Vec::new()));
        let supervisor = Supervisor::new(clock.clone());
        let stop = watch::Sender::new(false);
        let parts = Parts {
            store: store.clone(),
            ledger: kept.clone(),
            keys: keys.clone(),
            clock: clock.clone(),
            test_clock: Some(clock.clone()),
            audit: Audit::to(Box::new(Shared(audit.clone())), supervisor.clone()).unwrap(),
            supervisor,
            problem: Box::new(|| None),
            identity: None,
            files: Box::new(|| Ok(Vec::new())),
            stopping: stop.subscribe(),
        };
        let instance = Instance::start(parts, options).await.unwrap();
        let router = instance.router.clone();
        World { clock, keys, stop, store, ledger: kept, router, audit, _instance: instance }
    }

    /// A ledger as a restart would open it.
    pub async fn open_ledger(&self, mode: LedgerMode, ledger: Arc<dyn Ledger>) -> Arc<TokenLedger> {
        let view = Arc::new(View::load(&*self.store).await.unwrap());
        TokenLedger::open(ledger, mode, self.clock.clone(), self.keys.clone(), view).await.unwrap()
    }

    pub async fn send(
        &self,
        method: &str,
        path: &str,
        token: Option<&str>,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> Answer {
        self.send_body(method, path, token, headers, Body::from(body)).await
    }

    /// With a body that may come in its own time.
    pub async fn send_body(
        &self,
        method: &str,
        path: &str,
        token: Option<&str>,
        headers: &[(&str, &str)],
        body: Body,
    ) -> Answer {
        let mut request = Request::builder().method(Method::from_bytes(method.as_bytes()).unwrap()).uri(path);
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.ask(request.body(body).unwrap()).await
    }

    /// The server as one service, for a listener.
    pub fn router(&self) -> Router {
        self.router.clone()
    }

    pub async fn ask(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes().to_vec();
        Answer { status: parts.status, headers: parts.headers, bytes }
    }

    /// Asks, and reads no body.
    pub async fn head(&self, request: Request<Body>) -> StatusCode {
        self.router.clone().oneshot(request).await.unwrap().status()
    }

    /// The revision of the store's last change.
    pub async fn revision(&self) -> u64 {
        self.store.revision().await.unwrap()
    }

    /// Puts an account into the store with an annotation that nobody has looked at, as older data may have.
    pub async fn store_as_is(&self, mut account: Value, annotation: &str, value: &str) {
        account["metadata"].as_object_mut().unwrap().remove("resourceVersion");
        account["metadata"]["annotations"] = json!({ annotation: value });
        let key = "/registry/serviceaccounts/default/default";
        self.store.put(key, account.to_string().into(), Expect::Any).await.unwrap();
        let path = "/api/v1/namespaces/default/serviceaccounts/default";
        self.until("it shows", || async {
            self.get(path, Some(ADMIN)).await.json()["metadata"]["annotations"][annotation] == value
        })
        .await;
    }

    pub async fn get(&self, path: &str, token: Option<&str>) -> Answer {
        self.send("GET", path, token, &[], Vec::new()).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.send("POST", path, Some(ADMIN), &[], serde_json::to_vec(&body).unwrap()).await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        self.send("DELETE", path, Some(ADMIN), &[], Vec::new()).await
    }

    /// A token of `default/default`.
    pub async fn mint(&self, spec: Value) -> Answer {
        self.post("/api/v1/namespaces/default/serviceaccounts/default/token", json!({ "spec": spec })).await
    }

    /// `status` of a TokenReview.
    pub async fn review(&self, token: &str) -> Value {
        let body = json!({"spec": {"token": token}});
        self.post("/apis/authentication.k8s.io/v1/tokenreviews", body).await.ok()["status"].clone()
    }

    /// Waits for what another task does.
    pub async fn until<F: Future<Output = bool>>(&self, what: &str, condition: impl Fn() -> F) {
        let waited = tokio::time::timeout(Duration::from_secs(60), async {
            while !condition().await {
                tokio::task::yield_now().await;
            }
        });
        waited.await.unwrap_or_else(|_| panic!("never: {what}"));
    }

    pub fn audit(&self) -> Vec<Value> {
        let bytes = self.audit.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap().lines().map(|l| serde_json::from_str(l).unwrap()).collect()
    }
}

pub fn token(answer: &Value) -> String {
    answer["status"]["token"].as_str().unwrap().to_owned()
}

pub fn claims(token: &str) -> Value {
    use base64::Engine;
    let payload = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&base64::prelude::BASE64_URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
}
