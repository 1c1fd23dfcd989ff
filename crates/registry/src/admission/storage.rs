//! What is in use stays (`plugin/pkg/admission/storage/storageobjectinuseprotection`), and a claim grows if its class lets it
//! (`…/storage/persistentvolume/resize`).

use serde_json::Value;
use tokensmith_core::access::admission::{Admission, Answer, Operation, Write};
use tokensmith_core::error::Error;
use tokensmith_objects::kinds::storage::class_of;
use tokensmith_objects::{Object, quantity};

const CLAIMS: &str = "persistentvolumeclaims";
const CLASSES: &str = "storageclasses";

/// Marks what a controller lets go once nobody uses it.
pub(super) struct StorageObjectInUseProtection;

/// Which finalizer is put on what.
const PROTECTED: [(&str, &str, &str); 3] = [
    ("", "persistentvolumes", "kubernetes.io/pv-protection"),
    ("", "persistentvolumeclaims", "kubernetes.io/pvc-protection"),
    ("storage.k8s.io", "volumeattributesclasses", "kubernetes.io/vac-protection"),
];

impl Admission for StorageObjectInUseProtection {
    fn handles(&self, write: &Write<'_>) -> bool {
        write.operation == Operation::Create && write.subresource.is_empty() && protection(write).is_some()
    }

    fn mutate<'a>(
        &'a self,
        write: &'a Write<'a>,
        new: Option<&'a mut Object>,
        _warnings: &'a mut Vec<String>,
    ) -> Answer<'a> {
        if let (Some(object), Some(finalizer)) = (new, protection(write))
            && !object.finalizers().any(|there| there == finalizer)
        {
            let mut all: Vec<Value> = object.finalizers().map(Value::from).collect();
            all.push(finalizer.into());
            object.set(&["metadata", "finalizers"], all);
        }
        Ok(()).into()
    }
}

fn protection(write: &Write<'_>) -> Option<&'static str> {
    PROTECTED
        .iter()
        .find(|(group, resource, _)| write.is_of(group, resource))
        .map(|(.., finalizer)| *finalizer)
}

/// Lets a claim ask for more only where its class says that volumes grow.
pub(super) struct PersistentVolumeClaimResize;

impl Admission for PersistentVolumeClaimResize {
    fn handles(&self, write: &Write<'_>) -> bool {
        write.is_of("", CLAIMS) && write.subresource.is_empty() && write.operation == Operation::Update
    }

    fn validate<'a>(
        &'a self,
        write: &'a Write<'a>,
        new: Option<&'a Object>,
        _warnings: &'a mut Vec<String>,
    ) -> Answer<'a> {
        match (new, write.old) {
            (Some(new), Some(old)) => may_grow(write, new, old),
            _ => Ok(()),
        }
        .into()
    }
}

fn may_grow(write: &Write<'_>, new: &Object, old: &Object) -> Result<(), Error> {
    let size =
        |claim: &'_ Object| -> String { claim.str_at(&["spec", "resources", "requests", "storage"]).into() };
    if quantity::compare(&size(new), &size(old)).is_le() {
        return Ok(());
    }
    if old.str_at(&["status", "phase"]) != "Bound" {
        return Err(write.forbidden(Some(new), "Only bound persistent volume claims can be expanded"));
    }
    let class = class_of(new);
    let there = write.objects.get("storage.k8s.io", CLASSES, "", class);
    let grows = there.is_some_and(|class| class.raw(&["allowVolumeExpansion"]) == Some("true"));
    if class.is_empty() || class != class_of(old) || !grows {
        let cause = "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support resize";
        return Err(write.forbidden(Some(new), cause));
    }
    Ok(())
}
