//! A server's objects over a world's store, and what watches of them say.

use std::sync::Arc;

use futures::{FutureExt, StreamExt};
use serde_json::json;
use tokensmith_core::access::chain::AlwaysAllow;
use tokensmith_core::error::Error;
use tokensmith_core::store::{Expect, Store};
use tokensmith_core::view::{Bounds, View};
use tokensmith_objects::schema::{self, Kind};
use tokensmith_objects::validate::Limits;
use tokensmith_registry::{Event, ListOptions, Registry, RegistryConfig, Turn, Watch as Watching};

use crate::world::{World, settle};

/// A server's objects, fed from a world's store.
pub struct Served {
    pub registry: Arc<Registry>,
    pub feeding: tokio::task::JoinHandle<()>,
}

impl Served {
    pub async fn from(world: &World) -> Self {
        Self::keeping(world, Bounds::default()).await
    }

    pub async fn keeping(world: &World, bounds: Bounds) -> Self {
        let now = View::load(&*world.store).await.unwrap().snapshot();
        let view = Arc::new(View::keeping(bounds, (*now).clone()));
        let (fed, store, clock) = (view.clone(), world.store.clone(), world.clock.clone());
        let feeding = tokio::spawn(async move { fed.feed(store, clock).await });
        let config = RegistryConfig {
            limits: Limits::default(),
            implicit_service_account_token: true,
            root_ca: "CA".into(),
            services: Default::default(),
        };
        let (store, clock) = (world.store.clone(), world.clock.clone());
        let registry = Arc::new(Registry::new(store, view, clock, Arc::new(AlwaysAllow), config));
        settle().await;
        Served { registry, feeding }
    }

    pub async fn watch(&self, resource: &str, namespace: &str, query: &str) -> Result<Watching, Error> {
        let kind = kind(resource);
        let options = ListOptions::read(kind, &format!("watch=true&{query}")).unwrap();
        self.registry.watch(kind, namespace, &options).await
    }

    /// Names and revisions of what was there.
    pub fn list(&self, query: &str) -> Result<Vec<(String, u64)>, Error> {
        let kind = kind("configmaps");
        let found = self.registry.list(kind, "", &ListOptions::read(kind, query).unwrap())?;
        Ok(found.items.iter().map(|object| (object.name().to_owned(), object.revision())).collect())
    }
}

pub fn kind(resource: &str) -> &'static Kind {
    schema::kind("", resource).unwrap()
}

pub async fn put(
    store: &dyn Store,
    resource: &str,
    namespace: &str,
    name: &str,
    more: &serde_json::Value,
) -> u64 {
    let kind = kind(resource);
    let mut object = json!({
        "kind": kind.kind, "apiVersion": "v1", "metadata": {"name": name, "namespace": namespace},
    });
    object.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap_or_default());
    let key = format!("/registry/{resource}/{namespace}/{name}");
    store.put(&key, object.to_string().into(), Expect::Any).await.unwrap()
}

pub async fn config(world: &World, namespace: &str, name: &str) -> u64 {
    put(&*world.store.inner, "configmaps", namespace, name, &json!({})).await
}

/// What an event says: of which object, at which revision.
pub fn said(event: &Event) -> (Option<Turn>, String, u64) {
    match event {
        Event::Changed(turn, moved) => {
            let object = moved.new.as_ref().or(moved.old.as_ref()).unwrap();
            (Some(*turn), object.name().to_owned(), moved.revision)
        }
        Event::There(object) => (None, object.name().to_owned(), object.revision()),
        Event::Begun(revision) => (None, String::new(), *revision),
    }
}

/// All that a watch has to tell without waiting.
pub fn ready(watch: &mut Watching) -> Vec<Result<Event, Error>> {
    std::iter::from_fn(|| watch.next().now_or_never().flatten()).collect()
}

pub fn revisions(watch: &mut Watching) -> Vec<u64> {
    ready(watch).into_iter().map(|event| said(&event.unwrap()).2).collect()
}

/// What a watch says that has been cut off, before it ends.
#[track_caller]
pub fn cut_off(watch: &mut Watching) -> String {
    let last = watch.next().now_or_never().flatten().unwrap();
    assert!(matches!(watch.next().now_or_never(), Some(None)), "it ends");
    match last {
        Err(Error::Expired(text)) => text,
        other => panic!("{other:?}"),
    }
}

/// Numbers that look like chance and are the same each time.
pub struct Lot(pub u64);

impl Lot {
    pub fn draw(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) % below
    }
}
