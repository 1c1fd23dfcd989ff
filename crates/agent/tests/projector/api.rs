//! An API server in memory: objects with watches, tokens with right times, and everything that can go wrong.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures::StreamExt;
use futures::channel::mpsc::{UnboundedSender, unbounded};
use futures::stream::BoxStream;
use serde_json::json;
use time::OffsetDateTime;
use tokensmith_agent::api::{
    ApiError, ApiServer, Event, IssuedToken, KeySet, List, Resource, Review, Selection, TokenSpec,
};
use tokensmith_agent::payload::Secret;
use tokensmith_core::Clock;
use tokensmith_core::clock::ManualClock;
use tokensmith_objects::Object;

type Key = (Resource, String, String);

/// The server. It has a clock of its own, which may differ from the agent's.
pub struct Api {
    clock: Arc<ManualClock>,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    revision: u64,
    objects: BTreeMap<Key, Object>,
    watchers: Vec<Watcher>,
    fault: Option<ApiError>,
    silent: HashSet<String>,
    refused: HashSet<Resource>,
    unwatchable: HashSet<Resource>,
    ahead: time::Duration,
    asked: Vec<Asked>,
    issued: u64,
    watches_opened: usize,
    generation: Option<String>,
    /// The keys that are published, the last of which signs; none: there is no key set.
    keys: Vec<String>,
    /// What signs instead, published or not.
    signs: Option<String>,
    keys_fault: Option<ApiError>,
    /// The set is there, and has no key.
    keys_empty: bool,
    /// When the key set was asked for.
    looks: Vec<OffsetDateTime>,
    /// Why tokens may not be reviewed; `None`: they may.
    unreviewed: Option<Result<Review, ApiError>>,
    reviews: Vec<OffsetDateTime>,
    revoked: HashSet<String>,
}

struct Watcher {
    resource: Resource,
    selection: Selection,
    events: UnboundedSender<Result<Event, ApiError>>,
}

/// A token request that came, whatever became of it.
#[derive(Clone, Debug)]
pub struct Asked {
    pub at: OffsetDateTime,
    pub pod: String,
    pub audience: Option<String>,
    pub granted: bool,
}

impl Api {
    pub fn new(clock: Arc<ManualClock>) -> Arc<Self> {
        let inner = Inner { unreviewed: Some(Ok(Review::Never)), ..Inner::default() };
        Arc::new(Api { clock, inner: Mutex::new(inner) })
    }

    /// The keys that are published from now on; the last one signs.
    pub fn publish(&self, keys: &[&str]) {
        self.inner().keys = keys.iter().map(|key| (*key).to_owned()).collect();
    }

    /// Signs with this key from now on, whatever is published.
    pub fn sign_with(&self, key: &str) {
        self.inner().signs = Some(key.to_owned());
    }

    /// The key set cannot be had; `None` ends it.
    pub fn fail_keys(&self, fault: Option<ApiError>) {
        self.inner().keys_fault = fault;
    }

    /// The key set has no key in it any more, or has its keys again.
    pub fn empty_keys(&self, empty: bool) {
        self.inner().keys_empty = empty;
    }

    /// When the key set was asked for, since the last time.
    pub fn looks(&self) -> Vec<OffsetDateTime> {
        std::mem::take(&mut self.inner().looks)
    }

    /// Tokens may be reviewed, or not for this reason.
    pub fn permit_reviews(&self, fault: Option<ApiError>) {
        self.inner().unreviewed = fault.map(Err);
    }

    /// When tokens were reviewed, since the last time.
    pub fn reviews(&self) -> Vec<OffsetDateTime> {
        std::mem::take(&mut self.inner().reviews)
    }

    /// Refuses the token of this number from now on.
    pub fn revoke(&self, jti: &str) {
        self.inner().revoked.insert(jti.to_owned());
    }

    /// Puts an object in, or changes it.
    pub fn put(&self, resource: Resource, mut object: Object) {
        let mut inner = self.inner();
        inner.revision += 1;
        object.set(&["metadata", "resourceVersion"], inner.revision.to_string());
        inner.objects.insert(key(resource, &object), object.clone());
        inner.tell(resource, &object, Event::Applied(object.clone()));
    }

    pub fn delete(&self, resource: Resource, namespace: &str, name: &str) {
        let mut inner = self.inner();
        inner.revision += 1;
        let revision = inner.revision.to_string();
        if let Some(mut object) = inner.objects.remove(&(resource, namespace.into(), name.into())) {
            object.set(&["metadata", "resourceVersion"], revision);
            inner.tell(resource, &object, Event::Deleted(object.clone()));
        }
    }

    /// Every request fails so, and open watches end; `None` ends it.
    pub fn fail(&self, fault: Option<ApiError>) {
        let mut inner = self.inner();
        if fault.is_some() {
            inner.watchers.clear();
        }
        inner.fault = fault;
    }

    /// Token requests for these pods get no answer at all.
    pub fn silence(&self, pods: impl IntoIterator<Item = String>) {
        self.inner().silent = pods.into_iter().collect();
    }

    /// Objects of this kind may not be read in any way.
    pub fn refuse(&self, resource: Resource) {
        self.inner().refused.insert(resource);
    }

    /// Objects of this kind may be read, but not listed or watched.
    pub fn refuse_watch(&self, resource: Resource) {
        self.inner().unwatchable.insert(resource);
    }

    /// Ends all watches: as servers do after a while, or with the error of a revision that is too old.
    pub fn end_watches(&self, expired: bool) {
        for watcher in self.inner().watchers.drain(..) {
            if expired {
                let _ =
                    watcher.events.unbounded_send(Err(status(410, "Expired", "too old resource version")));
            }
        }
    }

    /// How far this server's clock is ahead of the agent's.
    pub fn set_ahead(&self, ahead: time::Duration) {
        self.inner().ahead = ahead;
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.inner().asked.clone()
    }

    pub fn clear_asked(&self) {
        self.inner().asked.clear();
    }

    pub fn watches_open(&self) -> usize {
        let mut inner = self.inner();
        inner.watchers.retain(|w| !w.events.is_closed());
        inner.watchers.len()
    }

    /// A name for what is issued from now on; it stands in the claims, for comparing.
    pub fn set_generation(&self, generation: u64) {
        self.inner().generation = Some(generation.to_string());
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(|e| e.into_inner())
    }

    fn issue(&self, spec: &TokenSpec) -> Result<IssuedToken, ApiError> {
        let now = self.clock.now();
        let mut inner = self.inner();
        let reply = inner.issue(spec, now);
        let pod = spec.pod.as_ref().map(|p| p.name.clone()).unwrap_or_default();
        let audience = spec.audiences.first().cloned();
        inner.asked.push(Asked { at: now, pod, audience, granted: reply.is_ok() });
        reply
    }
}

impl Inner {
    fn tell(&mut self, resource: Resource, object: &Object, event: Event) {
        self.watchers.retain(|w| !w.events.is_closed());
        for watcher in
            self.watchers.iter().filter(|w| w.resource == resource && selects(&w.selection, object))
        {
            let copy = match &event {
                Event::Applied(object) => Event::Applied(object.clone()),
                Event::Deleted(object) => Event::Deleted(object.clone()),
                Event::Bookmark(revision) => Event::Bookmark(revision.clone()),
            };
            let _ = watcher.events.unbounded_send(Ok(copy));
        }
    }

    fn check(&self, resource: Resource) -> Result<(), ApiError> {
        if let Some(fault) = &self.fault {
            return Err(fault.clone());
        }
        if self.refused.contains(&resource) {
            return Err(status(403, "Forbidden", "is forbidden"));
        }
        Ok(())
    }

    fn issue(&mut self, spec: &TokenSpec, now: OffsetDateTime) -> Result<IssuedToken, ApiError> {
        if let Some(fault) = &self.fault {
            return Err(fault.clone());
        }
        let missing = |kind, name: &str| status(404, "NotFound", &format!("{kind} {name:?} not found"));
        let at = |resource, name: &str| (resource, spec.namespace.clone(), name.to_owned());
        let account = self.objects.get(&at(Resource::ServiceAccounts, &spec.account));
        let uid = account.ok_or_else(|| missing("serviceaccounts", &spec.account))?.uid().to_owned();
        if let Some(bound) = &spec.pod {
            let pod = self.objects.get(&at(Resource::Pods, &bound.name));
            let pod = pod.ok_or_else(|| missing("pods", &bound.name))?;
            if pod.uid() != bound.uid {
                return Err(status(409, "Conflict", "the UID in the bound object reference does not match"));
            }
        }
        self.issued += 1;
        let seconds = spec.expiration_seconds.unwrap_or(3600);
        let iat = (now + self.ahead).unix_timestamp();
        let claims = json!({
            "aud": spec.audiences, "exp": iat + seconds, "iat": iat, "jti": self.issued.to_string(),
            "generation": self.generation,
            "kubernetes.io": {"serviceaccount": {"name": spec.account, "uid": uid}},
        });
        let header = self.signs.as_ref().or(self.keys.last()).map_or("e30".into(), |key| {
            URL_SAFE_NO_PAD.encode(json!({"alg": "ES256", "kid": key}).to_string())
        });
        let token = format!("{header}.{}.c2ln", URL_SAFE_NO_PAD.encode(claims.to_string()));
        let expires_at =
            OffsetDateTime::from_unix_timestamp(iat + seconds).expect("tests stay in this century");
        Ok(IssuedToken { token: Secret::new(token), expiration_seconds: seconds, expires_at })
    }
}

#[async_trait]
impl ApiServer for Api {
    async fn token(&self, spec: &TokenSpec) -> Result<IssuedToken, ApiError> {
        let silent =
            |spec: &TokenSpec| spec.pod.as_ref().is_some_and(|p| self.inner().silent.contains(&p.name));
        if silent(spec) {
            std::future::pending::<()>().await;
        }
        self.issue(spec)
    }

    async fn get(
        &self,
        resource: Resource,
        namespace: Option<&str>,
        name: &str,
    ) -> Result<Option<Object>, ApiError> {
        let inner = self.inner();
        inner.check(resource)?;
        Ok(inner.objects.get(&(resource, namespace.unwrap_or("").into(), name.into())).cloned())
    }

    async fn list(&self, resource: Resource, selection: &Selection) -> Result<List, ApiError> {
        let inner = self.inner();
        inner.check(resource)?;
        if inner.unwatchable.contains(&resource) {
            return Err(status(403, "Forbidden", "cannot list"));
        }
        let items = inner.objects.iter().filter(|((r, ..), o)| *r == resource && selects(selection, o));
        let items = items.map(|(_, object)| object.clone()).collect();
        Ok(List { resource_version: inner.revision.to_string(), items })
    }

    async fn watch(
        &self,
        resource: Resource,
        selection: &Selection,
        resource_version: &str,
    ) -> Result<BoxStream<'static, Result<Event, ApiError>>, ApiError> {
        let mut inner = self.inner();
        inner.check(resource)?;
        inner.watches_opened += 1;
        let (events, stream) = unbounded();
        // What changed in between; what was deleted is not kept here, so a test ends no watch around a deletion.
        let after: u64 = resource_version.parse().unwrap_or(0);
        for object in inner.objects.iter().filter(|((r, ..), o)| *r == resource && selects(selection, o)) {
            if object.1.resource_version().parse::<u64>().is_ok_and(|revision| revision > after) {
                let _ = events.unbounded_send(Ok(Event::Applied(object.1.clone())));
            }
        }
        inner.watchers.push(Watcher { resource, selection: selection.clone(), events });
        Ok(stream.boxed())
    }

    async fn create(&self, resource: Resource, object: &Object) -> Result<Object, ApiError> {
        self.put(resource, object.clone());
        Ok(object.clone())
    }

    async fn delete(&self, resource: Resource, object: &Object) -> Result<(), ApiError> {
        Api::delete(self, resource, object.namespace(), object.name());
        Ok(())
    }

    async fn key_set(&self, etag: Option<&str>) -> Result<KeySet, ApiError> {
        let mut inner = self.inner();
        if inner.keys.is_empty() {
            return Ok(KeySet::None);
        }
        let now = self.clock.now();
        inner.looks.push(now);
        if let Some(fault) = inner.fault.as_ref().or(inner.keys_fault.as_ref()) {
            return Err(fault.clone());
        }
        if inner.keys_empty {
            return Ok(KeySet::New { kids: BTreeSet::new(), etag: Some("empty".into()) });
        }
        let new = inner.keys.join(",");
        Ok(match etag == Some(new.as_str()) {
            true => KeySet::Same,
            false => KeySet::New { kids: inner.keys.iter().cloned().collect(), etag: Some(new) },
        })
    }

    async fn review(&self, token: &Secret, audiences: &[String]) -> Result<Review, ApiError> {
        let mut inner = self.inner();
        if let Some(answer) = &inner.unreviewed {
            return answer.clone();
        }
        let now = self.clock.now();
        inner.reviews.push(now);
        if let Some(fault) = &inner.fault {
            return Err(fault.clone());
        }
        let parts: Vec<_> = token.expose_str().unwrap_or_default().split('.').collect();
        let read = |part: &str| serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap_or_default());
        let [header, claims]: [serde_json::Value; 2] = [0, 1].map(|n| read(parts[n]).unwrap_or_default());
        assert_eq!(claims["aud"], json!(audiences), "a review must ask for the token's own audience");
        let keys: BTreeSet<&str> = inner.keys.iter().map(String::as_str).collect();
        let jti = claims["jti"].as_str().unwrap_or_default();
        Ok(match header["kid"].as_str() {
            Some(kid) if !keys.contains(kid) => Review::Refused("invalid signature, no keys found".into()),
            _ if inner.revoked.contains(jti) => {
                Review::Refused("service account token has been revoked".into())
            }
            _ => Review::Accepted,
        })
    }
}

pub fn status(code: u16, reason: &str, message: &str) -> ApiError {
    ApiError::Status { code, reason: reason.into(), message: message.into(), retry_after: None }
}

pub fn away() -> ApiError {
    ApiError::Unreachable("connection refused".into())
}

pub fn busy(seconds: u64) -> ApiError {
    let retry_after = Some(Duration::from_secs(seconds));
    ApiError::Status { code: 429, reason: "TooManyRequests".into(), message: "busy".into(), retry_after }
}

fn key(resource: Resource, object: &Object) -> Key {
    (resource, object.namespace().into(), object.name().into())
}

fn selects(selection: &Selection, object: &Object) -> bool {
    let signer = selection.fields.strip_prefix("spec.signerName=");
    selection.namespace.as_ref().is_none_or(|ns| ns == object.namespace())
        && selection.name.as_ref().is_none_or(|name| name == object.name())
        && signer.is_none_or(|signer| object.str_at(&["spec", "signerName"]) == signer)
        && (selection.labels.is_empty()
            || selection.labels.split_once('=').is_some_and(|(k, v)| object.label(k) == Some(v)))
}
