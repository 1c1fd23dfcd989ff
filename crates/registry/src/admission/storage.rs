//! What is in use stays (`plugin/pkg/admission/storage/storageobjectinuseprotection`), and a claim that names no class gets
//! the default one (`…/storage/storageclass/setdefault`).

use serde_json::Value;
use tokensmith_core::access::admission::{Admission, Answer, Operation, Write};
use tokensmith_objects::kinds::storage::is_default;
use tokensmith_objects::{Object, Stored};

use super::is_made;

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

/// Names the default class.
pub(super) struct DefaultStorageClass;

impl Admission for DefaultStorageClass {
    fn handles(&self, write: &Write<'_>) -> bool {
        is_made(write, "persistentvolumeclaims")
    }

    fn mutate<'a>(
        &'a self,
        write: &'a Write<'a>,
        new: Option<&'a mut Object>,
        _warnings: &'a mut Vec<String>,
    ) -> Answer<'a> {
        let Some(claim) = new else { return Ok(()).into() };
        // An empty name says that no class is wanted.
        let named = claim.at(&["spec", "storageClassName"]).is_some()
            || claim.annotation("volume.beta.kubernetes.io/storage-class").is_some();
        if !named && let Some(class) = default_class(write) {
            claim.set(&["spec", "storageClassName"], class);
        }
        Ok(()).into()
    }
}

/// The one that was made last, the first by name of those.
fn default_class(write: &Write<'_>) -> Option<String> {
    let classes = write.objects.list("storage.k8s.io", "storageclasses", "");
    let mut marked: Vec<&Stored> =
        classes.map(|(_, class)| &**class).filter(|class| is_default(&class.object())).collect();
    let made = |class: &Stored| class.text(&["metadata", "creationTimestamp"]).into_owned();
    marked.sort_by(|one, other| made(other).cmp(&made(one)).then_with(|| one.name().cmp(other.name())));
    marked.first().map(|class| class.name().to_owned())
}
