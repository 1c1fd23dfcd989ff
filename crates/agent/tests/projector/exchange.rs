//! Tokens that others are exchanged for, in the volumes of pods that ask for them.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value, json};
use tokensmith_agent::api::Resource;
use tokensmith_agent::exchange::{Exchanger, TokenExchange};
use tokensmith_agent::projector::status::{Condition, Status};
use tokensmith_agent::projector::{Config, Projector};
use tokensmith_client::exchange::{ExchangeError, ExchangeRequest, Exchanged, OAuthRefusal, TokenType};
use tokensmith_core::clock::ManualClock;
use tokensmith_objects::Object;

use crate::api::{Api, away};
use crate::memory::Memory;
use crate::world::{START, World, account, all, config, config_map, name, object, pod_with};

const ANNOTATION: &str = "tokensmith.dev/exchange";

/// A token endpoint in memory.
#[derive(Default)]
struct Endpoint(Mutex<State>);

#[derive(Default)]
struct State {
    asked: Vec<ExchangeRequest>,
    issued: u64,
    life: Option<u64>,
    refuses: Option<ExchangeError>,
}

#[async_trait]
impl TokenExchange for Endpoint {
    async fn exchange(&self, request: &ExchangeRequest) -> Result<Exchanged, ExchangeError> {
        let mut state = self.0.lock().unwrap();
        state.asked.push(request.clone());
        if let Some(error) = &state.refuses {
            return Err(error.clone());
        }
        state.issued += 1;
        Ok(Exchanged {
            access_token: format!("exchanged-{}", state.issued),
            issued_token_type: TokenType::AccessToken,
            token_type: "Bearer",
            expires_in: state.life.map(Duration::from_secs),
            scope: None,
        })
    }
}

impl Endpoint {
    fn refuse(&self, code: &str) {
        let refusal = OAuthRefusal { status: 400, code: code.into(), description: None, retry_after: None };
        self.0.lock().unwrap().refuses = Some(refusal.into());
    }

    fn take(&self) {
        self.0.lock().unwrap().refuses = None;
    }

    /// What it was asked since the last time.
    fn asked(&self) -> Vec<ExchangeRequest> {
        std::mem::take(&mut self.0.lock().unwrap().asked)
    }
}

struct Scene {
    world: World,
    endpoint: Arc<Endpoint>,
}

impl Scene {
    fn new() -> Scene {
        Scene::with(&json!([{"volume": "tokens", "from": "token", "path": "api", "audience": "orders"}]))
    }

    fn with(annotation: &Value) -> Scene {
        let clock = Arc::new(ManualClock::new(START));
        let api = Api::new(clock.clone());
        api.put(Resource::ServiceAccounts, account("account-1"));
        api.put(Resource::ConfigMaps, config_map("ca-1"));
        api.put(Resource::Pods, pod(annotation));
        let endpoint = Arc::<Endpoint>::default();
        let mut world = World::with(clock, api, all());
        world.disk = Arc::new(Memory::default());
        let mut scene = Scene { world, endpoint };
        scene.begin(true);
        scene
    }

    /// The agent begins, for the first time or again.
    fn begin(&mut self, with_endpoint: bool) {
        let World { clock, api, disk, .. } = &self.world;
        let endpoint: Arc<dyn TokenExchange> = self.endpoint.clone();
        let exchanger = with_endpoint.then(|| Exchanger::new(endpoint, clock.clone()));
        let config = Config { exchanger, ..config(clock, api, disk, all()) };
        self.world.projector = Projector::new(config).unwrap();
    }

    async fn settle(&mut self) {
        self.world.settle().await;
    }

    fn token(&self) -> Option<String> {
        self.world.file("web", "api")
    }

    fn status(&self) -> Status {
        self.world.status()
    }
}

fn pod(annotation: &Value) -> Object {
    let mut pod = pod_with(
        "web",
        "pod-1",
        json!([
            {"serviceAccountToken": {"path": "token", "audience": "sts", "expirationSeconds": 3600}},
            {"configMap": {"name": "kube-root-ca.crt"}},
        ]),
    );
    pod.set(&["metadata", "annotations"], json!({ANNOTATION: annotation.to_string()}));
    pod
}

#[tokio::test(start_paused = true)]
async fn it_is_written_with_its_volume_and_replaced_with_the_token_that_it_is_made_of() {
    let mut scene = Scene::new();
    scene.endpoint.0.lock().unwrap().life = Some(7200);
    scene.settle().await;
    assert_eq!(scene.token().as_deref(), Some("exchanged-1"));
    let asked = scene.endpoint.asked();
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].audience, ["orders"]);
    assert_eq!(Some(asked[0].subject_token.clone()), scene.world.file("web", "token"));
    // It lives for two hours, and counts for no longer than what it is made of.
    let state = scene.world.state("web");
    let tokens = &state.volumes["tokens"].tokens;
    let grant = |path: &str| tokens[path].token.clone().unwrap();
    assert_eq!(grant("api").expires_at, grant("token").expires_at);
    assert_eq!(grant("api").due, grant("token").due);
    let before = scene.world.asked();
    scene.world.pass(86_400).await;
    let (tokens, exchanged) = (scene.world.asked() - before + 1, scene.endpoint.asked());
    assert!((tokens..=tokens + 1).contains(&exchanged.len()), "{tokens} {}", exchanged.len());
    let last = exchanged.last().unwrap();
    assert_eq!(Some(last.subject_token.clone()), scene.world.file("web", "token"));
    assert!(scene.world.healthy() && scene.world.projector.unfinished().is_empty());
    let metrics = scene.world.projector.metrics();
    assert!(metrics.contains(&format!("tokensmith_agent_token_exchanges_total {}", exchanged.len() + 1)));
    assert!(
        metrics.contains("token_expiry_seconds{namespace=\"ns\",pod=\"web\",volume=\"tokens\",path=\"api\"}")
    );
}

#[tokio::test(start_paused = true)]
async fn one_that_lives_shorter_is_replaced_by_itself() {
    let mut scene = Scene::new();
    scene.endpoint.0.lock().unwrap().life = Some(300);
    scene.settle().await;
    scene.world.pass_first_period().await;
    scene.endpoint.asked();
    scene.world.pass(2400).await;
    // 300 s at 80 %, less up to 5 %, for 40 minutes, in which the other token is not due.
    let asked = scene.endpoint.asked().len();
    assert!((10..=12).contains(&asked), "{asked}");
    assert_eq!(scene.world.asked(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_keeps_the_volume_away_as_one_of_the_api_server_does() {
    let mut scene = Scene::new();
    scene.endpoint.refuse("invalid_target");
    scene.settle().await;
    assert_eq!((scene.token(), scene.world.file("web", "token")), (None, None));
    let unfinished = scene.world.projector.unfinished().join("; ");
    assert!(
        unfinished.contains("MountVolume.SetUp failed for volume \"tokens\" : failed to exchange token: the token endpoint refuses (400 invalid_target)"),
        "{unfinished}"
    );
    scene.world.pass(120).await;
    assert!(!scene.world.healthy());
    assert_eq!(scene.status().alarms.len(), 1);
    let metrics = scene.world.projector.metrics();
    assert!(
        metrics.contains("tokensmith_agent_token_exchange_failures_total{reason=\"invalid_target\"}"),
        "{metrics}"
    );
    assert!(!metrics.contains("token_refresh_failures_total{"), "{metrics}");
    scene.endpoint.take();
    scene.world.pass(120).await;
    assert!(scene.token().is_some() && scene.world.file("web", "token").is_some());
    assert!(scene.world.healthy() && scene.status().alarms.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_refusal_takes_nothing_away_that_still_holds() {
    let mut scene = Scene::new();
    scene.settle().await;
    let (old, first) = (scene.token(), scene.world.jti("web"));
    scene.endpoint.refuse("invalid_grant");
    scene.world.pass_first_period().await;
    // The other token is fresh, this one is kept, and tells why.
    assert_ne!(scene.world.jti("web"), first);
    assert_eq!(scene.token(), old);
    let unfinished = scene.world.projector.unfinished().join("; ");
    assert!(
        unfinished.contains("tokens/api: the token endpoint refuses (400 invalid_grant)"),
        "{unfinished}"
    );
    let state = scene.world.state("web");
    let failure = state.volumes["tokens"].tokens["api"].failure.clone().unwrap();
    assert!(failure.message.contains("invalid_grant"), "{failure:?}");
    scene.world.pass(3600).await;
    assert!(!scene.world.healthy());
    assert!(scene.status().alarms.iter().any(|alarm| alarm.path.as_deref() == Some("api")));
    scene.endpoint.take();
    scene.world.pass(120).await;
    assert_ne!(scene.token(), old);
    assert!(scene.world.healthy());
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_is_away_is_tried_again_and_the_other_token_is_asked_for_once() {
    let mut scene = Scene::new();
    let gone = tokensmith_client::Error::failed("cannot reach it");
    scene.endpoint.0.lock().unwrap().refuses = Some(ExchangeError::Unreachable(gone));
    scene.settle().await;
    scene.world.pass(30).await;
    assert!(scene.endpoint.asked().len() > 1);
    scene.endpoint.take();
    scene.world.pass(60).await;
    assert!(scene.token().is_some());
    assert_eq!(scene.world.asked(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_token_that_is_dead_has_what_was_made_of_it_replaced_too() {
    let mut scene = Scene::new();
    scene.world.api.publish(&["k1"]);
    scene.world.api.permit_reviews(None);
    scene.settle().await;
    let (old, jti) = (scene.token(), scene.world.jti("web"));
    scene.world.pass(30).await;
    // It is of another issuer, and no key set and no review is about it: neither takes it away.
    assert_eq!(scene.token(), old);
    scene.world.api.revoke(&jti);
    scene.world.pass(120).await;
    assert_ne!(scene.world.jti("web"), jti);
    assert_ne!(scene.token(), old);
    let (jti, old) = (scene.world.jti("web"), scene.token());
    scene.world.api.publish(&["k2"]);
    scene.world.pass(60).await;
    assert_ne!((scene.world.jti("web"), scene.token()), (jti, old));
    assert!(scene.world.healthy());
}

#[tokio::test(start_paused = true)]
async fn its_account_made_again_is_noticed_by_the_other_token() {
    let mut scene = Scene::new();
    scene.settle().await;
    let old = scene.token();
    scene.world.api.put(Resource::ServiceAccounts, account("account-2"));
    scene.settle().await;
    assert_ne!(scene.token(), old);
}

#[tokio::test(start_paused = true)]
async fn status_tells_of_which_token_it_is_made_and_goes_by_that_one() {
    let mut scene = Scene::new();
    scene.world.api.publish(&["k1"]);
    scene.settle().await;
    scene.world.pass(30).await;
    let find = |status: &Status, path: &str| {
        status.pods[0].volumes[0].tokens.iter().find(|token| token.path == path).unwrap().clone()
    };
    let status = scene.status();
    let token = find(&status, "api");
    assert_eq!((token.exchanged_from.as_deref(), token.audience.as_deref()), (Some("token"), Some("orders")));
    assert_eq!((token.condition, token.checked), (Condition::Fresh, find(&status, "token").checked));
    assert!(status.to_string().contains("api (for token)"), "{status}");
    // Nobody looks any more: neither is called fresh.
    scene.world.clock.advance(Duration::from_secs(200));
    let status = scene.status();
    assert_eq!([find(&status, "api").condition, find(&status, "token").condition], [Condition::Unchecked; 2]);
}

#[tokio::test(start_paused = true)]
async fn a_restart_exchanges_what_is_due_or_was_asked_for_otherwise() {
    let mut scene = Scene::new();
    scene.settle().await;
    let (old, asked) = (scene.token(), scene.endpoint.asked().len());
    assert_eq!(asked, 1);
    scene.begin(true);
    scene.settle().await;
    assert_eq!((scene.token(), scene.endpoint.asked().len(), scene.world.asked()), (old.clone(), 0, 1));
    // While nobody was there, the pod has come to want another one.
    let another = json!([{"volume": "tokens", "from": "token", "path": "api", "audience": "billing"}]);
    scene.world.api.put(Resource::Pods, pod(&another));
    scene.begin(true);
    scene.settle().await;
    assert_eq!(scene.endpoint.asked()[0].audience, ["billing"]);
    assert_ne!(scene.token(), old);
}

#[tokio::test(start_paused = true)]
async fn an_annotation_that_comes_or_goes_is_followed() {
    let mut scene = Scene::new();
    scene.settle().await;
    assert!(scene.token().is_some());
    scene.world.api.put(Resource::Pods, pod(&json!([])));
    scene.settle().await;
    assert_eq!(scene.token(), None);
    assert!(scene.world.file("web", "token").is_some());
    let back = json!([{"volume": "tokens", "from": "token", "path": "sub/api", "resource": "https://a"}]);
    scene.world.api.put(Resource::Pods, pod(&back));
    scene.settle().await;
    assert!(scene.world.file("web", "sub/api").is_some());
}

#[tokio::test(start_paused = true)]
async fn without_an_endpoint_that_is_told() {
    let mut scene = Scene::new();
    scene.begin(false);
    scene.settle().await;
    assert_eq!(scene.world.file("web", "token"), None);
    let unfinished = scene.world.projector.unfinished().join("; ");
    assert!(unfinished.contains("failed to exchange token: no token endpoint was named to this agent: start it with --exchange URL"), "{unfinished}");
}

#[tokio::test(start_paused = true)]
async fn it_replaces_no_file_of_another_source() {
    let mut scene =
        Scene::with(&json!([{"volume": "tokens", "from": "token", "path": "ca.crt", "audience": "orders"}]));
    scene.settle().await;
    assert_eq!(scene.world.file("web", "ca.crt"), None);
    let unfinished = scene.world.projector.unfinished().join("; ");
    assert!(
        unfinished.contains("the path \"ca.crt\" of an exchanged token is another source's, too"),
        "{unfinished}"
    );
    let changed = object(json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"namespace": "ns", "name": "kube-root-ca.crt", "uid": "c"},
        "data": {"another": "x"},
    }));
    scene.world.api.put(Resource::ConfigMaps, changed);
    scene.settle().await;
    assert_eq!(scene.world.file("web", "ca.crt").as_deref(), Some("exchanged-1"));
}

#[tokio::test(start_paused = true)]
async fn no_state_and_no_metric_holds_a_token() {
    let mut scene = Scene::new();
    scene.settle().await;
    scene.endpoint.refuse("invalid_grant");
    scene.world.pass(4000).await;
    let given: Vec<String> = scene.endpoint.asked().into_iter().map(|asked| asked.subject_token).collect();
    let state = String::from_utf8(scene.world.disk.state(&name("web")).unwrap()).unwrap();
    let texts = [state, scene.world.projector.metrics(), scene.world.projector.unfinished().join("\n")];
    for text in texts {
        assert!(!text.contains("exchanged-") && given.iter().all(|token| !text.contains(token)), "{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_api_server_that_is_away_keeps_what_holds() {
    let mut scene = Scene::new();
    scene.endpoint.0.lock().unwrap().life = Some(7200);
    scene.settle().await;
    scene.world.pass_first_period().await;
    let (old, asked) = (scene.token(), scene.endpoint.asked().len());
    assert!(asked >= 2, "{asked}");
    scene.world.api.fail(Some(away()));
    scene.world.pass(3500).await;
    // An exchange of the same token would bring no longer life: nobody is asked for it.
    assert_eq!((scene.token(), scene.endpoint.asked().len()), (old.clone(), 0));
    scene.world.api.fail(None);
    scene.world.pass(200).await;
    assert_ne!(scene.token(), old);
}
