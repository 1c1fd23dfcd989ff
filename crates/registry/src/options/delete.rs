//! `DeleteOptions`, which come in the body or, if there is none, in the query.

use serde_json::Value;
use tokensmith_objects::{FieldError, Object};

use super::query::Query;
use super::{dry_run, judged};
use tokensmith_core::error::Error;

/// What a delete asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeleteOptions {
    dry_run: bool,
    grace_period_seconds: Option<i64>,
    /// `orphanDependents: false` and `Background` mean the same but for the answer's code.
    orphan_dependents: Option<bool>,
    propagation: Option<Propagation>,
    resource_version: Option<String>,
    uid: Option<String>,
}

/// What becomes of the objects that the deleted one owns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Propagation {
    /// They go afterwards.
    Background,
    /// They go first.
    Foreground,
    /// They stay.
    Orphan,
}

/// The options as they came.
struct Given {
    dry_run: Vec<String>,
    grace_period_seconds: Option<i64>,
    orphan_dependents: Option<bool>,
    propagation_policy: Option<String>,
    resource_version: Option<String>,
    uid: Option<String>,
}

impl DeleteOptions {
    /// Reads the query of a delete that has no body. What the body says counts alone: upstream does not look at the
    /// query then.
    pub fn from_query(query: &str) -> Result<Self, Error> {
        let query = Query::read(query);
        let precondition = |name| query.first(name).filter(|v| !v.is_empty()).map(str::to_owned);
        Given {
            dry_run: query.all("dryRun"),
            grace_period_seconds: query.number("gracePeriodSeconds")?,
            orphan_dependents: query.flag("orphanDependents"),
            propagation_policy: query.first("propagationPolicy").map(str::to_owned),
            resource_version: precondition("resourceVersion"),
            uid: precondition("uid"),
        }
        .try_into()
    }

    /// Reads a decoded body. A precondition that is empty is one that nothing meets.
    pub fn from_body(body: &Object) -> Result<Self, Error> {
        let text = |path: &[&str]| body.at(path).and_then(Value::as_str).map(str::to_owned);
        let dry_run = body.get("dryRun").and_then(Value::as_array).into_iter().flatten();
        Given {
            dry_run: dry_run.map(|v| v.as_str().unwrap_or_default().to_owned()).collect(),
            grace_period_seconds: body.get("gracePeriodSeconds").and_then(Value::as_i64),
            orphan_dependents: body.get("orphanDependents").and_then(Value::as_bool),
            propagation_policy: text(&["propagationPolicy"]),
            resource_version: text(&["preconditions", "resourceVersion"]),
            uid: text(&["preconditions", "uid"]),
        }
        .try_into()
    }

    /// The same, of exactly the object with this UID.
    #[must_use]
    pub fn of(self, uid: &str) -> Self {
        DeleteOptions { uid: Some(uid.to_owned()), ..self }
    }

    /// The same, done or only tried.
    #[must_use]
    pub(crate) fn dry(self, dry_run: bool) -> Self {
        DeleteOptions { dry_run, ..self }
    }

    /// The same, without time to stop.
    #[must_use]
    pub fn at_once(self) -> Self {
        DeleteOptions { grace_period_seconds: Some(0), ..self }
    }

    /// Do everything but the deletion.
    pub fn dry_run(&self) -> bool {
        self.dry_run
    }

    /// Seconds until the object goes; the kind's own when not given. What is negative is one second.
    pub fn grace_period_seconds(&self) -> Option<i64> {
        self.grace_period_seconds.map(|seconds| if seconds < 0 { 1 } else { seconds })
    }

    /// What becomes of what the object owns, where that was said.
    pub fn propagation(&self) -> Option<Propagation> {
        match self.orphan_dependents {
            Some(true) => Some(Propagation::Orphan),
            Some(false) => Some(Propagation::Background),
            None => self.propagation,
        }
    }

    /// Whether it was asked for in the old words that the dependents go, too: who asks so is told 202 of an object
    /// that is still there.
    pub fn cascades_in_old_words(&self) -> bool {
        self.orphan_dependents == Some(false)
    }

    /// The version that the object must have.
    pub fn resource_version(&self) -> Option<&str> {
        self.resource_version.as_deref()
    }

    /// The UID that the object must have.
    pub fn uid(&self) -> Option<&str> {
        self.uid.as_deref()
    }
}

impl TryFrom<Given> for DeleteOptions {
    type Error = Error;

    fn try_from(given: Given) -> Result<Self, Error> {
        let mut errors = Vec::new();
        let field = "propagationPolicy";
        let asked = given.propagation_policy.as_deref();
        if let (Some(_), Some(policy)) = (given.orphan_dependents, asked) {
            let detail = "orphanDependents and deletionPropagation cannot be both set";
            errors.push(FieldError::invalid(field, &policy.into(), detail));
        }
        let propagation = match asked {
            None => None,
            Some("Background") => Some(Propagation::Background),
            Some("Foreground") => Some(Propagation::Foreground),
            Some("Orphan") => Some(Propagation::Orphan),
            Some(other) => {
                let known = ["Foreground", "Background", "Orphan", "nil"];
                errors.push(FieldError::not_supported(field, &other.into(), &known));
                None
            }
        };
        let dry_run = dry_run(&given.dry_run, &mut errors);
        judged("DeleteOptions", errors)?;
        Ok(DeleteOptions {
            dry_run,
            grace_period_seconds: given.grace_period_seconds,
            orphan_dependents: given.orphan_dependents,
            propagation,
            resource_version: given.resource_version,
            uid: given.uid,
        })
    }
}
