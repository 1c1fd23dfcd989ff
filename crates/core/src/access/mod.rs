//! Who is asking, and may they: authenticators, authorizers and what they exchange.

pub mod admission;
pub mod authenticators;
pub mod authn;
pub mod bearer;
pub mod chain;
pub mod constrained;
pub mod header;
pub mod impersonate;
pub mod node;
pub mod rbac;
pub mod request;
pub mod restriction;
pub mod review;
pub mod why;

use std::collections::BTreeMap;
use std::fmt;

use tokensmith_objects::selector::FieldRequirement;

pub use authn::{AuthError, Authenticated, LegacySecret, Notes, TokenAuthenticator, WarnAfter};
pub use chain::{Authentication, Authorizers};
pub use request::RequestInfo;
pub use why::{Clearance, Step};

use crate::view::Snapshot;

/// A bearer token as it came in. Never shown, never logged.
pub struct BearerToken(String);

impl BearerToken {
    /// Wraps the text.
    pub fn new(text: impl Into<String>) -> Self {
        BearerToken(text.into())
    }

    /// The text, for the code that checks it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for BearerToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BearerToken(…)")
    }
}

/// Who an authenticator found (`user.Info` in apiserver).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// E.g. `system:serviceaccount:default:builder`.
    pub name: String,
    /// May be empty.
    pub uid: String,
    /// In order; `system:authenticated` last.
    pub groups: Vec<String>,
    /// E.g. `authentication.kubernetes.io/credential-id`.
    pub extra: BTreeMap<String, Vec<String>>,
}

/// The user name of a request without credentials.
pub const ANONYMOUS: &str = "system:anonymous";
/// The group of everyone without credentials.
pub const UNAUTHENTICATED: &str = "system:unauthenticated";
/// The group of everyone with credentials.
pub const AUTHENTICATED: &str = "system:authenticated";
/// The group whose members may do everything.
pub const MASTERS: &str = "system:masters";

/// What is asked for (`authorizer.Attributes` in apiserver). Empty strings mean "not given".
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    /// `get`, `list`, `create`, …; the lower-case HTTP method on non-resource paths.
    pub verb: String,
    /// API group.
    pub group: String,
    /// API version.
    pub version: String,
    /// Plural resource; empty on a non-resource path.
    pub resource: String,
    /// E.g. `token`.
    pub subresource: String,
    /// Namespace.
    pub namespace: String,
    /// Object name.
    pub name: String,
    /// The path, for non-resource requests.
    pub path: String,
    /// Whether this is about a resource.
    pub resource_request: bool,
    /// What a list, watch or deletecollection selects by fields; empty when it selects all, or when its selector cannot
    /// be read.
    pub field_selector: Vec<FieldRequirement>,
}

/// An authorizer's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Yes, and why.
    Allow(String),
    /// No, and nobody else may say yes.
    Deny(String),
    /// Nothing to say; the reason is added to the 403's text.
    NoOpinion(String),
}

/// Decides from attributes and the objects as they are.
pub trait Authorizer: Send + Sync {
    /// Whether `user` may do what `attributes` say.
    fn authorize(&self, user: &Identity, attributes: &Attributes, objects: &Snapshot) -> Decision;

    /// What [`explain`](Authorizer::explain) calls it.
    fn name(&self) -> &'static str {
        why::short(std::any::type_name::<Self>())
    }

    /// Decides as [`authorize`](Authorizer::authorize) does, and tells what it has looked at.
    fn explain(
        &self,
        user: &Identity,
        attributes: &Attributes,
        objects: &Snapshot,
        asker: &Clearance,
        steps: &mut Vec<Step>,
    ) -> Decision {
        let _ = asker;
        let decision = self.authorize(user, attributes, objects);
        steps.push(Step::decided(self.name(), &decision));
        decision
    }

    /// All that `user` may do in a namespace, as far as it can be listed.
    fn rules_for(&self, user: &Identity, namespace: &str, objects: &Snapshot) -> rbac::UserRules {
        let _ = (user, namespace, objects);
        rbac::UserRules::default()
    }
}
