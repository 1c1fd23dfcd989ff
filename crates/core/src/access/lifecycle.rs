//! Nothing new in a namespace that is not there or is going (`plugin/pkg/admission/namespace/lifecycle`).

use crate::error::{Error, Qualified};
use crate::view::Snapshot;

/// Judges what is to be made in a namespace: an object, or a token, which is none. `group`, `plural` and `name` are what
/// the refusal speaks of.
///
/// # Errors
/// 404 where the namespace is not there, 403 where it is going.
pub fn open_namespace(
    objects: &Snapshot,
    group: &str,
    plural: &str,
    namespace: &str,
    name: &str,
) -> Result<(), Error> {
    let Some(found) = objects.get("", "namespaces", "", namespace) else {
        return Err(Error::not_found("", "namespaces", namespace));
    };
    if found.deletion_timestamp().is_none() && found.str_at(&["status", "phase"]) != "Terminating" {
        return Ok(());
    }
    Err(Error::Forbidden {
        resource: Qualified::new(group, plural),
        name: name.into(),
        cause: format!(
            "unable to create new content in namespace {namespace} because it is being terminated"
        ),
        causes: vec![(
            "NamespaceTerminating".into(),
            format!("namespace {namespace} is being terminated"),
            "metadata.namespace".into(),
        )],
    })
}
