//! Nothing new in a namespace that is not there or is going, and some namespaces do not go
//! (`plugin/pkg/admission/namespace/lifecycle`).

use tokensmith_core::access::admission::{Admission, Answer, Operation, Write};
use tokensmith_core::error::{Error, Qualified};
use tokensmith_objects::Object;

/// Those that cannot be deleted.
const PROTECTED: [&str; 3] = ["default", "kube-public", "kube-system"];

pub(super) struct NamespaceLifecycle;

impl Admission for NamespaceLifecycle {
    /// What is made in a namespace, an object or a token, but for reviews: they ask what would be in one that is not there.
    fn handles(&self, write: &Write<'_>) -> bool {
        match write.operation {
            Operation::Create => !write.namespace.is_empty() && write.group != "authorization.k8s.io",
            Operation::Delete => write.is_of("", "namespaces"),
            Operation::Connect | Operation::Update => false,
        }
    }

    fn mutate<'a>(
        &'a self,
        write: &'a Write<'a>,
        new: Option<&'a mut Object>,
        _warnings: &'a mut Vec<String>,
    ) -> Answer<'a> {
        match write.operation {
            Operation::Create => is_open(write, new.as_deref()).into(),
            _ => may_go(write).into(),
        }
    }
}

fn is_open(write: &Write<'_>, new: Option<&Object>) -> Result<(), Error> {
    let namespace = write.namespace;
    let Some(found) = write.objects.get("", "namespaces", "", namespace) else {
        return Err(Error::not_found("", "namespaces", namespace));
    };
    if found.deletion_timestamp().is_none() && found.text(&["status", "phase"]) != "Terminating" {
        return Ok(());
    }
    Err(Error::Forbidden {
        resource: Qualified::new(write.group, write.resource),
        name: write.shown_name(new).into(),
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

fn may_go(write: &Write<'_>) -> Result<(), Error> {
    // By what is there: a collection that is deleted has no names.
    match write.old.is_some_and(|old| PROTECTED.contains(&old.name())) {
        true => Err(write.forbidden(None, "this namespace may not be deleted")),
        false => Ok(()),
    }
}
