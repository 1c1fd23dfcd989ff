//! The registry: create, read, list, update, patch and delete objects as kube-apiserver's generic registry does
//! (apiserver `registry/generic/registry/store.go`, `registry/rest`).
//!
//! Reads come from the view; writes go to the store with the revision that they expect, and return once the view
//! shows them. What follows from a change is done by the [`controllers`]. Nothing here knows HTTP.

// Only `moment` may use operators that panic where a time does not fit (see clippy.toml).
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

mod admission;
mod apply;
mod builtin;
pub mod controllers;
mod create;
mod delete;
mod deletion;
mod evict;
mod legacy;
mod list;
mod managed;
pub mod options;
mod pods;
mod quota;
mod scale;
mod services;
mod update;
mod watch;
mod write;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use serde_json::Value;
use time::Duration;
use tokensmith_objects::codec::FieldValidation;
use tokensmith_objects::schema::{Current, Kind, Schema};
use tokensmith_objects::validate::Limits;
use tokensmith_objects::{Object, Stored, defaults, strategy, validate};

pub use apply::Config;
pub use builtin::NAMESPACES;
pub(crate) use builtin::system;
pub use delete::Deleted;
pub use list::List;
pub use options::{DeleteOptions, GetOptions, ListOptions, WriteOptions};
pub use scale::{Rescale, scale_type};
pub use services::{AddressRange, Family, NoRange, RangesError, ServiceRanges};
pub use update::Subresource;
pub use watch::{Event, Turn, Watch};
use write::{backend, modified};

use tokensmith_core::access::admission::{Admission, Admissions, Operation, Write};
use tokensmith_core::access::{Authorizer, Identity};
use tokensmith_core::clock::Clock;
use tokensmith_core::error::{Error, Qualified};
use tokensmith_core::store::{Expect, Revision, Store, StoreError};
use tokensmith_core::view::{Snapshot, View, object_key};

/// What the registry's rules depend on.
#[derive(Clone, Debug)]
pub struct RegistryConfig {
    /// What validation allows.
    pub limits: Limits,
    /// Whether pods get a token volume of themselves.
    pub implicit_service_account_token: bool,
    /// `data["ca.crt"]` of every namespace's `kube-root-ca.crt`, PEM.
    pub root_ca: String,
    /// What services get.
    pub services: ServiceRanges,
}

/// Who writes, and how.
#[derive(Debug)]
pub struct Request<'a> {
    /// The authenticated user.
    pub user: &'a Identity,
    /// What was asked for beside the object.
    pub options: WriteOptions,
    /// For the `Warning` headers.
    pub warnings: Vec<String>,
    /// Its `User-Agent`: who says no name of a manager manages what it writes by the program's.
    pub agent: &'a str,
}

/// What is written by the server itself, as upstream's loopback client names itself.
const OWN: &str = "kube-apiserver";
/// What upstream's controllers write, which have a process of their own.
const CONTROLLERS: &str = "kube-controller-manager";

impl<'a> Request<'a> {
    /// A request that writes.
    pub fn by(user: &'a Identity) -> Self {
        Request { user, options: WriteOptions::default(), warnings: Vec::new(), agent: OWN }
    }

    /// A request that one of the controllers writes.
    pub(crate) fn by_controller(user: &'a Identity) -> Self {
        Request { agent: CONTROLLERS, ..Request::by(user) }
    }
}

/// All objects.
///
/// ```
/// use std::sync::Arc;
/// use tokensmith_core::access::chain::AlwaysAllow;
/// use tokensmith_core::clock::SystemClock;
/// use tokensmith_core::view::{Snapshot, View};
/// use tokensmith_objects::{schema, validate::Limits};
/// use tokensmith_registry::{Registry, RegistryConfig, ServiceRanges};
/// use tokensmith_store::MemoryStore;
///
/// let config = RegistryConfig { limits: Limits::default(), implicit_service_account_token: true, root_ca: String::new(), services: ServiceRanges::default() };
/// let view = Arc::new(View::new(Snapshot::default()));
/// let registry = Registry::new(Arc::new(MemoryStore::new()), view, Arc::new(SystemClock::new()), Arc::new(AlwaysAllow), config);
/// let missing = registry.get(schema::kind("", "pods").unwrap(), "default", "web").unwrap_err();
/// assert_eq!(missing.to_string(), r#"pods "web" not found"#);
/// ```
pub struct Registry {
    store: Arc<dyn Store>,
    view: Arc<View>,
    clock: Arc<dyn Clock>,
    authorizer: Arc<dyn Authorizer>,
    admission: Arc<Admissions>,
    config: RegistryConfig,
    schema: Arc<Current>,
    /// So long at most a pod takes to stop on its node, whatever it asks for.
    pod_grace: Option<Duration>,
    /// So long events are kept.
    event_ttl: Option<Duration>,
    services: services::NodePorts,
    /// Where others reach the server, if anybody knows.
    advertised: Option<SocketAddr>,
    quotas: quota::Quotas,
    /// Snapshots of before that are listed, the latest last.
    paged: Mutex<list::Paged>,
}

impl Registry {
    /// A registry on a store and the view that is fed from it.
    pub fn new(
        store: Arc<dyn Store>,
        view: Arc<View>,
        clock: Arc<dyn Clock>,
        authorizer: Arc<dyn Authorizer>,
        config: RegistryConfig,
    ) -> Self {
        let admission = Arc::new(admission::built_in(&authorizer, config.implicit_service_account_token));
        let schema = Arc::new(Current::new(Schema::builtin().clone()));
        let services = services::NodePorts::new(view.clone(), clock.clone());
        let quotas = quota::Quotas::new(store.clone(), view.clone(), clock.clone());
        Registry {
            store,
            view,
            clock,
            authorizer,
            admission,
            config,
            schema,
            pod_grace: None,
            event_ttl: None,
            services,
            advertised: None,
            quotas,
            paged: Mutex::default(),
        }
    }

    /// Goes by another schema than the built-in one, and by what becomes of it.
    #[must_use]
    pub fn with_schema(mut self, schema: Arc<Current>) -> Self {
        self.schema = schema;
        self
    }

    /// Lets pods that stop on their nodes go after so long at most.
    #[must_use]
    pub fn with_pod_grace(mut self, most: Option<Duration>) -> Self {
        self.pod_grace = most;
        self
    }

    /// Has the endpoints of the service `kubernetes` lead to where others reach the server. Without it nobody keeps them.
    #[must_use]
    pub fn with_advertised(mut self, at: Option<SocketAddr>) -> Self {
        self.advertised = at;
        self
    }

    /// Has events go when they are so old.
    #[must_use]
    pub fn with_event_ttl(mut self, ttl: Option<Duration>) -> Self {
        self.event_ttl = ttl;
        self
    }

    /// The kinds that there are just now.
    pub fn schema(&self) -> Arc<Schema> {
        self.schema.now()
    }

    /// Has further members of admission asked, after those that every server has.
    #[must_use]
    pub fn with_admission(mut self, members: impl IntoIterator<Item = Arc<dyn Admission>>) -> Self {
        Arc::make_mut(&mut self.admission).extend(members);
        self
    }

    /// What every write has to pass, also what is no object.
    pub fn admission(&self) -> &Arc<Admissions> {
        &self.admission
    }

    /// The objects as they are now.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.view.snapshot()
    }

    /// Waits until the objects show a revision.
    pub async fn reached(&self, revision: Revision) {
        self.view.reached(revision).await;
    }

    /// The store, to watch.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// One object; 404 when there is none.
    pub fn get(&self, kind: &Kind, namespace: &str, name: &str) -> Result<Arc<Stored>, Error> {
        let kind = kind.storage();
        let found = self.view.snapshot().get(&kind.group, &kind.plural, namespace, name).cloned();
        found.ok_or_else(|| Error::not_found(&kind.group, &kind.plural, name))
    }

    /// The same, no older than was asked for.
    pub fn get_at(
        &self,
        kind: &Kind,
        namespace: &str,
        name: &str,
        options: &GetOptions,
    ) -> Result<Arc<Stored>, Error> {
        let (wanted, current) = (options.revision, self.snapshot().revision());
        if wanted > current {
            return Err(Error::Ahead { wanted, current, awaited: kind.storage().rules().cached() });
        }
        self.get(kind, namespace, name)
    }
}

fn invalid(kind: &Kind, name: &str, errors: tokensmith_objects::Findings) -> Result<(), Error> {
    if errors.is_empty() { Ok(()) } else { Err(Error::invalid(&kind.group, &kind.kind, name, errors)) }
}

/// The namespace of the body against that of the URL (apiserver `registry/rest/meta.go`).
fn reconcile_namespace(kind: &Kind, namespace: &str, object: &mut Object) -> Result<(), Error> {
    match (object.namespace(), kind.namespaced) {
        (given, true) if !given.is_empty() && given != namespace => Err(elsewhere()),
        (_, true) => {
            object.set(&["metadata", "namespace"], namespace);
            Ok(())
        }
        (_, false) => {
            object.remove(&["metadata", "namespace"]);
            Ok(())
        }
    }
}

/// Leaves each owner once and tells it, once for what was sent and once for what admission made of it.
fn single_owners(object: &mut Object, mutated: bool, warnings: &mut Vec<String>) {
    let again = strategy::single_owners(object);
    if again.is_empty() {
        return;
    }
    let when = if mutated { " after mutating admission happens" } else { "" };
    let text = format!(
        ".metadata.ownerReferences contains duplicate entries{when}; API server dedups owner references in 1.20+, and may reject such requests as early as 1.24; please fix your requests; duplicate UID(s) observed: {}",
        again.join(", ")
    );
    // A write that is tried again is not told twice.
    if !warnings.contains(&text) {
        warnings.push(text);
    }
}

/// Admission changes what is in an object, and not where it is: its place has been authorized.
fn stays_in(namespace: &str, object: &Object) -> Result<(), Error> {
    if object.namespace() == namespace { Ok(()) } else { Err(elsewhere()) }
}

fn elsewhere() -> Error {
    Error::BadRequest(
        "the namespace of the provided object does not match the namespace sent on the request".into(),
    )
}

/// Puts metadata into Go's order, for replies and storage alike.
fn normalise(kind: &Kind, object: Object) -> Result<Object, Error> {
    use tokensmith_objects::codec::{Expected, decode_value};
    let decoded = decode_value(object.into_value(), &Expected::kind(kind), FieldValidation::Ignore);
    let mut object = decoded.map_err(|e| Error::BadRequest(e.to_string()))?.object;
    strategy::as_stored(kind, &mut object);
    Ok(object)
}
