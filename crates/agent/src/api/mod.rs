//! The port to an API server: what the agent asks of it.

mod client;

use std::collections::BTreeSet;
use std::time::Duration;

use async_trait::async_trait;
use futures::stream::BoxStream;
use time::OffsetDateTime;
use tokensmith_objects::Object;

use crate::payload::Secret;

/// A kind of object that volumes are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Resource {
    /// `certificates.k8s.io/v1beta1`, cluster scope.
    ClusterTrustBundles,
    /// Core.
    ConfigMaps,
    /// Core, cluster scope.
    Namespaces,
    /// Core.
    Pods,
    /// Core.
    Secrets,
    /// Core.
    ServiceAccounts,
}

impl Resource {
    /// Where its API group is, its name in paths, its `apiVersion` and its kind.
    fn parts(self) -> (&'static str, &'static str, &'static str, &'static str) {
        match self {
            Resource::ClusterTrustBundles => (
                "/apis/certificates.k8s.io/v1beta1",
                "clustertrustbundles",
                "certificates.k8s.io/v1beta1",
                "ClusterTrustBundle",
            ),
            Resource::ConfigMaps => ("/api/v1", "configmaps", "v1", "ConfigMap"),
            Resource::Namespaces => ("/api/v1", "namespaces", "v1", "Namespace"),
            Resource::Pods => ("/api/v1", "pods", "v1", "Pod"),
            Resource::Secrets => ("/api/v1", "secrets", "v1", "Secret"),
            Resource::ServiceAccounts => ("/api/v1", "serviceaccounts", "v1", "ServiceAccount"),
        }
    }

    /// The plural, as in a URL and in Kubernetes' messages.
    pub fn plural(self) -> &'static str {
        self.parts().1
    }
}

/// Which objects of a resource.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Selection {
    /// `None` for all namespaces, and for what has none.
    pub namespace: Option<String>,
    /// The one of this name alone.
    pub name: Option<String>,
    /// A label selector; empty selects all.
    pub labels: String,
    /// A field selector; empty selects all.
    pub fields: String,
}

/// A collection at one revision.
#[derive(Debug)]
pub struct List {
    /// Where a watch goes on.
    pub resource_version: String,
    /// What was selected.
    pub items: Vec<Object>,
}

/// A change, in order.
#[derive(Debug)]
pub enum Event {
    /// The object is there, as it is now (`ADDED`, `MODIFIED`).
    Applied(Object),
    /// It is gone; as it was last.
    Deleted(Object),
    /// Nothing happened up to this revision.
    Bookmark(String),
}

/// A TokenRequest.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TokenSpec {
    /// The account's namespace.
    pub namespace: String,
    /// The account.
    pub account: String,
    /// Empty for the API server's own.
    pub audiences: Vec<String>,
    /// Seconds; `None` leaves it to the server.
    pub expiration_seconds: Option<i64>,
    /// The pod that the token is bound to.
    pub pod: Option<PodRef>,
}

/// A pod by name and UID.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PodRef {
    /// Its name, in the account's namespace.
    pub name: String,
    /// Its UID: a pod of the same name that was made anew is another one.
    pub uid: String,
}

/// What a TokenRequest was answered with. The pair of times is the reply's, not the token's: an extended token says
/// that it lives for a year, and is to be replaced within the hour (k8s-facts: `warnafter`).
#[derive(Clone, Debug)]
pub struct IssuedToken {
    /// The token.
    pub token: Secret,
    /// `spec.expirationSeconds` of the reply, which may be less than what was asked for.
    pub expiration_seconds: i64,
    /// `status.expirationTimestamp`
    pub expires_at: OffsetDateTime,
}

/// What an API server says of the keys that its tokens are signed with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeySet {
    /// They are these.
    New {
        /// Their names.
        kids: BTreeSet<String>,
        /// The set's entity tag.
        etag: Option<String>,
    },
    /// It publishes none, and never will: its tokens count by their times alone.
    None,
    /// They are those that the entity tag names.
    Same,
}

impl KeySet {
    /// Nothing follows from a set without a key that has a name, or from one that is the same as another that nobody has seen
    /// (`seen`): by either, every token's key would be gone.
    pub(crate) fn checked(self, seen: bool) -> Result<Self, ApiError> {
        let why = match self {
            KeySet::Same if !seen => "the API server says that a key set is the same which was never seen",
            KeySet::New { ref kids, .. } if kids.is_empty() => "the API server's key set names no key",
            known => return Ok(known),
        };
        Err(ApiError::Unreachable(why.into()))
    }
}

/// What an API server says of a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Review {
    /// It takes it.
    Accepted,
    /// It does not review tokens, and never will.
    Never,
    /// It refuses it; why, in its words.
    Refused(String),
}

/// Why there is no answer, or not the one that was asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApiError {
    /// A `Status`, in the server's own words.
    #[error("{message}")]
    Status {
        /// The HTTP code.
        code: u16,
        /// E.g. `NotFound`; may be empty.
        reason: String,
        /// What is wrong, for people.
        message: String,
        /// `Retry-After`: not before that.
        retry_after: Option<Duration>,
    },
    /// No connection, no answer in time, an answer that makes no sense. The text is one line without secrets.
    #[error("{0}")]
    Unreachable(String),
}

impl ApiError {
    /// The HTTP code of an answer.
    pub fn code(&self) -> Option<u16> {
        match self {
            ApiError::Status { code, .. } => Some(*code),
            ApiError::Unreachable(_) => None,
        }
    }

    /// How long the server asks to be left alone.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            ApiError::Status { retry_after, .. } => *retry_after,
            ApiError::Unreachable(_) => None,
        }
    }
}

/// An API server. The real one is behind `tokensmith-client`; tests have one in memory.
#[async_trait]
pub trait ApiServer: Send + Sync {
    /// Asks for a token (`POST …/serviceaccounts/NAME/token`).
    async fn token(&self, spec: &TokenSpec) -> Result<IssuedToken, ApiError>;

    /// Reads an object; `None` when it is not there.
    async fn get(
        &self,
        resource: Resource,
        namespace: Option<&str>,
        name: &str,
    ) -> Result<Option<Object>, ApiError>;

    /// Reads a collection.
    async fn list(&self, resource: Resource, selection: &Selection) -> Result<List, ApiError>;

    /// Every change after a revision, in order. The stream ends when the server ends it; a revision that is too old is
    /// a `Status` with code 410.
    async fn watch(
        &self,
        resource: Resource,
        selection: &Selection,
        resource_version: &str,
    ) -> Result<BoxStream<'static, Result<Event, ApiError>>, ApiError>;

    /// Creates an object.
    async fn create(&self, resource: Resource, object: &Object) -> Result<Object, ApiError>;

    /// Deletes an object at once, if it still is the one that has its UID.
    async fn delete(&self, resource: Resource, object: &Object) -> Result<(), ApiError>;

    /// The keys that its tokens are signed with (`GET /openid/v1/jwks`), unless they are those that `etag` names.
    async fn key_set(&self, _etag: Option<&str>) -> Result<KeySet, ApiError> {
        Ok(KeySet::None)
    }

    /// Whether it takes a token, for one of these audiences (`POST …/tokenreviews`).
    async fn review(&self, _token: &Secret, _audiences: &[String]) -> Result<Review, ApiError> {
        Ok(Review::Never)
    }
}

/// An answer in time, or none.
pub(crate) async fn within<T>(
    limit: Duration,
    request: impl Future<Output = Result<T, ApiError>>,
) -> Result<T, ApiError> {
    tokio::time::timeout(limit, request).await.unwrap_or_else(|_| {
        Err(ApiError::Unreachable(format!(
            "the API server did not answer within {} seconds",
            limit.as_secs()
        )))
    })
}

/// A text for one line of a log or a state, whatever a server puts into it: no control characters, and cut off. (A
/// manifest's own mistakes are escaped, and whole: `pod::one_line`.)
pub(crate) fn short_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(1000).collect()
}
