//! What can go wrong in the domain. Knows no HTTP: the server maps these to a `Status` in one place.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::iter::successors;

use tokensmith_objects::field::go_quote;
use tokensmith_objects::schema::Kind;
use tokensmith_objects::{FieldError, Findings};

/// A resource or kind with its group, as error texts show it: `pods`, `roles.rbac.authorization.k8s.io`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Qualified {
    /// `""` for the core group.
    pub group: String,
    /// The plural resource, or the kind, as the error asks for.
    pub name: String,
}

impl Qualified {
    /// Joins a group and a resource or kind.
    pub fn new(group: impl Into<String>, name: impl Into<String>) -> Self {
        Qualified { group: group.into(), name: name.into() }
    }
}

impl std::fmt::Display for Qualified {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.group.as_str() {
            "" => f.write_str(&self.name),
            group => write!(f, "{}.{group}", self.name),
        }
    }
}

/// An answer that is no success, in Kubernetes' classes (apimachinery `api/errors`). `Display` gives the message.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// 504: a version that is not there yet; clients come again by themselves.
    #[error("Timeout: Too large resource version: {wanted}, current: {current}")]
    Ahead {
        /// The version that was asked for.
        wanted: u64,
        /// The newest that there is.
        current: u64,
        /// Whether it may come: then clients ask again.
        awaited: bool,
    },
    /// 409: an object of that name is there.
    #[error("{}{resource} {} already exists", if *going { "object is being deleted: " } else { "" }, go_quote(name))]
    AlreadyExists {
        /// The plural resource.
        resource: Qualified,
        /// Its name.
        name: String,
        /// Whether it is being deleted.
        going: bool,
    },
    /// 400: the request itself is wrong.
    #[error("{0}")]
    BadRequest(String),
    /// 409: someone else was faster, or a precondition does not hold.
    #[error("Operation cannot be fulfilled on {resource} {}: {cause}", go_quote(name))]
    Conflict {
        /// The plural resource, or the kind where Kubernetes says the kind.
        resource: Qualified,
        /// The object's name.
        name: String,
        /// Why.
        cause: String,
    },
    /// 409: the operator has turned off what this needs.
    #[error("{0}")]
    Disabled(String),
    /// 410: a continue token or a watch start that is too old.
    #[error("{0}")]
    Expired(String),
    /// 403: admission or a guard refuses. An empty name is left out of the text.
    #[error("{resource}{} is forbidden: {cause}", quoted(name))]
    Forbidden {
        /// The plural resource.
        resource: Qualified,
        /// The object's name, may be empty.
        name: String,
        /// Why.
        cause: String,
        /// Further causes for `details.causes`: (reason, message, field).
        causes: Vec<(String, String, String)>,
    },
    /// 500: not the caller's fault. The text is what the caller sees; the source goes to the log.
    #[error("Internal error occurred: {cause}")]
    Internal {
        /// A text that gives nothing away.
        cause: String,
        /// The whole chain, for the log.
        #[source]
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
    /// 422: validation found something.
    #[error("{kind} {} is invalid: {}", go_quote(name), join(errors))]
    Invalid {
        /// The kind with its group.
        kind: Qualified,
        /// The object's name, may be empty.
        name: String,
        /// At least one finding.
        errors: Vec<FieldError>,
    },
    /// 409: an apply would change what others manage.
    #[error("{message}")]
    Managed {
        /// All of it.
        message: String,
        /// For `details.causes`: (reason, message, field).
        causes: Vec<(String, String, String)>,
    },
    /// 405.
    #[error("{action} is not supported on resources of kind \"{resource}\"")]
    MethodNotSupported {
        /// The plural resource.
        resource: Qualified,
        /// E.g. `create`.
        action: String,
    },
    /// 404: no such object.
    #[error("{resource} {} not found", go_quote(name))]
    NotFound {
        /// The plural resource.
        resource: Qualified,
        /// The name asked for.
        name: String,
    },
    /// 413: more than is allowed at once.
    #[error("{0}")]
    TooLarge(String),
    /// 429: not now; clients come again by themselves after the given time.
    #[error("{message}")]
    TooManyRequests {
        /// Why.
        message: String,
        /// Seconds.
        retry_after: i64,
        /// For `details.causes`: (reason, message, field).
        causes: Vec<(String, String, String)>,
    },
    /// 409: a guard refuses what would harm. The text says how to go about it.
    #[error("{text}")]
    Unsafe {
        /// One line.
        text: String,
        /// From when on it harms nobody; `None` when time does not heal it.
        safe_at: Option<time::OffsetDateTime>,
        /// How long that is from now, seconds.
        wait_seconds: i64,
    },
    /// 500: what upstream has no class for, although the caller is to blame.
    #[error("{0}")]
    Unclassified(String),
    /// 422: a patch that does not fit the object.
    #[error("the server rejected our request due to an error in our request")]
    UnfitPatch,
    /// 503: the store, or a key, is not to be had just now.
    #[error("{0}")]
    Unavailable(String),
}

impl Error {
    /// The same, as who asked for the objects as another kind is told: events have two groups, and are stored in one.
    #[must_use]
    pub fn seen_as(mut self, asked: &Kind) -> Self {
        let stored = asked.storage();
        if asked.is_view()
            && let Error::AlreadyExists { resource, .. }
            | Error::Conflict { resource, .. }
            | Error::NotFound { resource, .. } = &mut self
            && (&resource.group, &resource.name) == (&stored.group, &stored.plural)
        {
            resource.group.clone_from(&asked.group);
        }
        self
    }

    /// A 404 for a resource of the core group.
    pub fn not_found(group: &str, resource: &str, name: &str) -> Self {
        Error::NotFound { resource: Qualified::new(group, resource), name: name.into() }
    }

    /// A 403 without further causes.
    pub fn forbidden(group: &str, resource: &str, name: &str, cause: impl Into<String>) -> Self {
        let resource = Qualified::new(group, resource);
        Error::Forbidden { resource, name: name.into(), cause: cause.into(), causes: Vec::new() }
    }

    /// A 409 for `resource` (give the kind where Kubernetes does).
    pub fn conflict(group: &str, resource: &str, name: &str, cause: impl Into<String>) -> Self {
        Error::Conflict { resource: Qualified::new(group, resource), name: name.into(), cause: cause.into() }
    }

    /// A 422.
    pub fn invalid(group: &str, kind: &str, name: &str, errors: impl Into<Findings>) -> Self {
        let errors = errors.into().told();
        Error::Invalid { kind: Qualified::new(group, kind), name: name.into(), errors }
    }

    /// A 500 with a cause that the caller may see and a source for the log.
    pub fn internal(
        cause: impl Into<String>,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Error::Internal { cause: cause.into(), source: Some(source.into()) }
    }
}

/// An error with its causes in one line, for logs and for operators.
pub fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

fn quoted(name: &str) -> String {
    if name.is_empty() { String::new() } else { format!(" \"{name}\"") }
}

/// One error bare, several distinct ones as `[E1, E2]` (apimachinery `util/errors`).
fn join(errors: &[FieldError]) -> String {
    let mut seen = HashSet::with_capacity(errors.len());
    let distinct: Vec<_> =
        errors.iter().filter(|error| seen.insert((&error.field, &error.message))).collect();
    if let [one] = distinct.as_slice() {
        return one.to_string();
    }
    let mut out = String::from("[");
    for (at, error) in distinct.into_iter().enumerate() {
        let comma = if at > 0 { ", " } else { "" };
        // Writing to a text cannot fail.
        let _ = write!(out, "{comma}{error}");
    }
    out.push(']');
    out
}
