//! A key that is revoked: the sidecar does not go on giving out its tokens.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures::stream::BoxStream;
use tokensmith_agent::api::{
    ApiError, ApiServer, Event, IssuedToken, KeySet, List, Resource, Selection, TokenSpec,
};
use tokensmith_agent::payload::Secret;
use tokensmith_agent::source::TokenSource;
use tokensmith_core::Clock;
use tokensmith_core::clock::ManualClock;
use tokensmith_objects::Object;

use crate::world::*;

/// The fake, with a key set and tokens that name the key which signs now.
struct Signing {
    inner: Arc<FakeApi>,
    keys: Mutex<Result<KeySet, ApiError>>,
    signs: Mutex<&'static str>,
    looks: AtomicUsize,
}

#[async_trait]
impl ApiServer for Signing {
    async fn token(&self, spec: &TokenSpec) -> Result<IssuedToken, ApiError> {
        let issued = self.inner.token(spec).await?;
        let kid = *self.signs.lock().unwrap();
        let header = URL_SAFE_NO_PAD.encode(format!(r#"{{"alg":"ES256","kid":"{kid}"}}"#));
        let rest = issued.token.expose_str().unwrap().split_once('.').unwrap().1.to_owned();
        Ok(IssuedToken { token: Secret::new(format!("{header}.{rest}")), ..issued })
    }

    async fn get(&self, r: Resource, ns: Option<&str>, name: &str) -> Result<Option<Object>, ApiError> {
        self.inner.get(r, ns, name).await
    }

    async fn list(&self, r: Resource, selection: &Selection) -> Result<List, ApiError> {
        self.inner.list(r, selection).await
    }

    async fn watch(
        &self,
        r: Resource,
        selection: &Selection,
        revision: &str,
    ) -> Result<BoxStream<'static, Result<Event, ApiError>>, ApiError> {
        self.inner.watch(r, selection, revision).await
    }

    async fn create(&self, r: Resource, object: &Object) -> Result<Object, ApiError> {
        self.inner.create(r, object).await
    }

    async fn delete(&self, r: Resource, object: &Object) -> Result<(), ApiError> {
        self.inner.delete(r, object).await
    }

    async fn key_set(&self, _: Option<&str>) -> Result<KeySet, ApiError> {
        self.looks.fetch_add(1, Ordering::SeqCst);
        self.keys.lock().unwrap().clone()
    }
}

impl Signing {
    fn new(clock: &Arc<ManualClock>, keys: KeySet) -> Arc<Self> {
        Arc::new(Signing {
            inner: FakeApi::new(clock.clone()),
            keys: Mutex::new(Ok(keys)),
            signs: Mutex::new("k1"),
            looks: AtomicUsize::new(0),
        })
    }

    /// Lets time pass until the key set has been asked for again.
    async fn looked(&self, clock: &ManualClock, what: &str) {
        let before = self.looks.load(Ordering::SeqCst);
        until(what, || async {
            clock.advance(Duration::from_secs(1));
            self.looks.load(Ordering::SeqCst) > before
        })
        .await;
    }
}

fn set(keys: &[&str]) -> KeySet {
    let kids: BTreeSet<String> = keys.iter().map(|key| (*key).to_owned()).collect();
    KeySet::New { kids, etag: None }
}

#[tokio::test]
async fn a_revoked_keys_token_is_not_given_out_for_long() {
    let clock = Arc::new(ManualClock::new(START));
    let api = Signing::new(&clock, set(&["k1"]));
    let source = TokenSource::api(api.clone(), template(), clock.clone());
    let first = source.token(Some("vault")).await.unwrap().token.clone();
    let looked = async |what: &str| api.looked(&clock, what).await;
    looked("a look").await;
    *api.keys.lock().unwrap() = Err(status(503, "later"));
    looked("a look that fails").await;
    assert_eq!(api.inner.calls(), 1, "what cannot be read takes nothing away");
    (*api.keys.lock().unwrap(), *api.signs.lock().unwrap()) = (Ok(set(&["k2"])), "k2");
    looked("the look at the new set").await;
    until("another token", || async { api.inner.calls() == 2 }).await;
    until("it is given out", || async {
        source.token(Some("vault")).await.is_ok_and(|token| token.token != first)
    })
    .await;
    looked("one more").await;
    assert_eq!(api.inner.calls(), 2);
}

#[tokio::test]
async fn a_key_set_that_tells_nothing_takes_no_token_away() {
    for nothing in [KeySet::Same, set(&[])] {
        let clock = Arc::new(ManualClock::new(START));
        let api = Signing::new(&clock, nothing.clone());
        let source = TokenSource::api(api.clone(), template(), clock.clone());
        let first = source.token(Some("vault")).await.unwrap().token.clone();
        for look in ["the first look", "the second", "the third"] {
            api.looked(&clock, look).await;
        }
        assert_eq!(api.inner.calls(), 1, "{nothing:?}");
        assert_eq!(source.token(Some("vault")).await.unwrap().token, first);
        (*api.keys.lock().unwrap(), *api.signs.lock().unwrap()) = (Ok(set(&["k2"])), "k2");
        api.looked(&clock, "a look at a set").await;
        until("another token", || async { api.inner.calls() == 2 }).await;
    }
}

#[tokio::test]
async fn a_clock_that_is_set_back_does_not_keep_the_sidecar_from_looking() {
    let clock = Arc::new(ManualClock::new(START));
    let api = Signing::new(&clock, set(&["k1"]));
    let source = TokenSource::api(api.clone(), template(), clock.clone());
    source.token(Some("vault")).await.unwrap();
    api.looked(&clock, "a look").await;
    let (before, looks) = (clock.monotonic(), api.looks.load(Ordering::SeqCst));
    clock.jump(START - Duration::from_secs(30 * 86400));
    until("a look after the jump", || async {
        // Many more turns than seconds: the task that looks has to come to its turn, too.
        if api.looks.load(Ordering::SeqCst) == looks && clock.monotonic() - before < Duration::from_secs(3600)
        {
            clock.advance(Duration::from_secs(1));
        }
        api.looks.load(Ordering::SeqCst) > looks
    })
    .await;
}

#[tokio::test]
async fn a_set_of_before_the_clock_was_set_back_says_nothing_of_a_token_of_after() {
    let clock = Arc::new(ManualClock::new(START));
    let api = Signing::new(&clock, set(&["k1"]));
    let source = TokenSource::api(api.clone(), template(), clock.clone());
    source.token(Some("vault")).await.unwrap();
    api.looked(&clock, "a look").await;
    (*api.keys.lock().unwrap(), *api.signs.lock().unwrap()) = (Err(status(503, "later")), "k2");
    clock.jump(START - Duration::from_secs(3600));
    until("a token of after", || async { api.inner.calls() == 2 }).await;
    for look in ["a look that fails", "the second", "the third"] {
        api.looked(&clock, look).await;
    }
    assert_eq!(api.inner.calls(), 2);
}
