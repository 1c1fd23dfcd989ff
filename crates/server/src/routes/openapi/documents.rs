//! The documents of the schema that is served. Each is made once, by the first who asks for it, and kept for as long as that
//! schema is the served one. What is there already is looked at without any line.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use ring::digest::{SHA512, digest};
use serde_json::Value;
use tokensmith_api::json::to_vec;
use tokensmith_objects::openapi::{self, Form};
use tokensmith_objects::schema::{Current, Schema};
use tokio::sync::OnceCell;

use crate::heavy;

/// The documents of the schema that is served just now.
#[derive(Default)]
pub struct OpenApi(Mutex<Option<Arc<Documents>>>);

impl OpenApi {
    /// Which schema is served is asked under the lock: nobody puts an older one's documents in place of a newer one's.
    pub(super) fn now(&self, current: &Current, version: &str) -> Arc<Documents> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let schema = current.now();
        if let Some(there) = kept.as_ref().filter(|there| Arc::ptr_eq(&there.schema, &schema)) {
            return there.clone();
        }
        let made = Arc::new(Documents::new(schema, version.to_owned()));
        *kept = Some(made.clone());
        made
    }
}

/// Those of one schema.
pub(super) struct Documents {
    schema: Arc<Schema>,
    version: String,
    v2: Once<Document>,
    v3: BTreeMap<String, Once<Document>>,
}

impl Documents {
    fn new(schema: Arc<Schema>, version: String) -> Documents {
        let v3 = openapi::documents(&schema).into_iter().map(|path| (path, Once::default())).collect();
        Documents { schema, version, v2: Once::default(), v3 }
    }

    /// The paths of version 3.
    pub(super) fn paths(&self) -> impl Iterator<Item = &str> {
        self.v3.keys().map(String::as_str)
    }

    pub(super) fn has(&self, path: &str) -> bool {
        self.v3.contains_key(path)
    }

    pub(super) async fn v2(&self) -> &Document {
        self.v2.get(|| Document::new(&openapi::v2(&self.schema, &self.version))).await
    }

    pub(super) async fn v3(&self, path: &str) -> Option<&Document> {
        let make = || Document::new(&openapi::v3(&self.schema, path, &self.version).unwrap_or_default());
        Some(self.v3.get(path)?.get(make).await)
    }
}

pub(super) struct Document {
    pub(super) json: Bytes,
    pub(super) hash: String,
    protobuf: Once<Bytes>,
}

impl Document {
    fn new(value: &Value) -> Document {
        let json = to_vec(value);
        Document { hash: hash(&json), json: json.into(), protobuf: Once::default() }
    }

    /// Its other form is made of the text: a tree is not kept for it.
    pub(super) async fn protobuf(&self, form: Form) -> Bytes {
        let make = || {
            let tree: Value = serde_json::from_slice(&self.json).unwrap_or_default();
            openapi::protobuf(&tree, form).into()
        };
        self.protobuf.get(make).await.clone()
    }
}

fn hash(bytes: &[u8]) -> String {
    digest(&SHA512, bytes).as_ref().iter().map(|byte| format!("{byte:02X}")).collect()
}

/// What takes long to make: made by one, once.
struct Once<T>(OnceCell<T>);

impl<T> Default for Once<T> {
    fn default() -> Self {
        Once(OnceCell::new())
    }
}

impl<T> Once<T> {
    async fn get(&self, make: impl FnOnce() -> T) -> &T {
        if let Some(made) = self.0.get() {
            return made;
        }
        // The place comes first: who makes it then waits for nobody, and who waits for them gives their own place back.
        heavy::enter().await;
        let made = self.0.get_or_init(|| async { make() }).await;
        // Whoever asks for many takes turns with others.
        tokio::task::yield_now().await;
        made
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn documents_are_those_of_the_schema_that_is_served_now() {
        let (served, kept) = (Current::new(Schema::builtin().clone()), OpenApi::default());
        let before = kept.now(&served, "v1");
        let hash = before.v3("apis/apps/v1").await.unwrap().hash.clone();
        assert!(Arc::ptr_eq(&before, &kept.now(&served, "v1")));
        served.change(|schema| schema.without("apps", "v1", "deployments"));
        served.change(|schema| schema.without("node.k8s.io", "v1", "runtimeclasses"));
        let after = kept.now(&served, "v1");
        assert_ne!(after.v3("apis/apps/v1").await.unwrap().hash, hash);
        assert!(before.has("apis/node.k8s.io/v1") && !after.has("apis/node.k8s.io/v1"));
        // Whoever still has the old ones goes on with them, and nobody else gets these.
        assert_eq!(before.v3("apis/apps/v1").await.unwrap().hash, hash);
        assert!(Arc::ptr_eq(&after, &kept.now(&served, "v1")));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn what_many_ask_for_at_once_is_made_once() {
        let (once, makings) = (Arc::new(Once::default()), Arc::new(AtomicUsize::new(0)));
        let ask = |_| {
            let (once, makings) = (once.clone(), makings.clone());
            tokio::spawn(async move { *once.get(|| makings.fetch_add(1, Ordering::Relaxed) + 7).await })
        };
        for asked in (0..64).map(ask).collect::<Vec<_>>() {
            assert_eq!(asked.await.unwrap(), 7);
        }
        assert_eq!(makings.load(Ordering::Relaxed), 1);
        // A document's bytes are the same ones for all, and its protobuf's, too.
        let documents = OpenApi::default().now(&Current::new(Schema::builtin().clone()), "v1");
        let ask = |_| {
            let documents = documents.clone();
            tokio::spawn(async move {
                let document = documents.v3("api").await.unwrap();
                (document.json.as_ptr() as usize, document.protobuf(Form::V3).await.as_ptr() as usize)
            })
        };
        let mut seen = std::collections::BTreeSet::new();
        for asked in (0..16).map(ask).collect::<Vec<_>>() {
            seen.insert(asked.await.unwrap());
        }
        assert_eq!(seen.len(), 1);
    }
}
