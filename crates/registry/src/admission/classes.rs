//! Who names no class gets the default one: of a claim its storage class (`plugin/pkg/admission/storage/storageclass/setdefault`),
//! of an ingress its ingress class (`plugin/pkg/admission/network/defaultingressclass`).

use tokensmith_core::access::admission::{Admission, Answer, Write};
use tokensmith_objects::kinds::storage;
use tokensmith_objects::{Object, Stored};

use super::is_made;

/// Names the default class of what has a class and names none.
pub(super) struct DefaultClass {
    of: (&'static str, &'static str),
    classes: (&'static str, &'static str),
    /// An empty name in it says that no class is wanted.
    field: &'static str,
    /// Where it was named before there was a field for it.
    annotation: &'static str,
    is_default: fn(&Stored) -> bool,
}

impl Admission for DefaultClass {
    fn handles(&self, write: &Write<'_>) -> bool {
        is_made(write, self.of)
    }

    fn mutate<'a>(
        &'a self,
        write: &'a Write<'a>,
        new: Option<&'a mut Object>,
        _warnings: &'a mut Vec<String>,
    ) -> Answer<'a> {
        self.name_default(write, new);
        Ok(()).into()
    }
}

impl DefaultClass {
    /// Of an ingress.
    pub(super) const INGRESS: Self = DefaultClass {
        of: ("networking.k8s.io", "ingresses"),
        classes: ("networking.k8s.io", "ingressclasses"),
        field: "ingressClassName",
        annotation: "kubernetes.io/ingress.class",
        is_default: |class| {
            class.annotation("ingressclass.kubernetes.io/is-default-class").as_deref() == Some("true")
        },
    };

    /// Of a claim.
    pub(super) const STORAGE: Self = DefaultClass {
        of: ("", "persistentvolumeclaims"),
        classes: ("storage.k8s.io", "storageclasses"),
        field: "storageClassName",
        annotation: storage::CLASS,
        is_default: storage::is_default,
    };

    fn name_default(&self, write: &Write<'_>, new: Option<&mut Object>) {
        let field = ["spec", self.field];
        let Some(object) =
            new.filter(|new| new.at(&field).is_none() && new.annotation(self.annotation).is_none())
        else {
            return;
        };
        let (group, resource) = self.classes;
        let classes = write.objects.list(group, resource, "").map(|(_, class)| &**class);
        if let Some(class) = latest(classes.filter(|class| (self.is_default)(class))) {
            object.set(&field, class);
        }
    }
}

/// The name of the one that was made last, the first by name of those.
fn latest<'a>(marked: impl Iterator<Item = &'a Stored>) -> Option<String> {
    let made = |class: &Stored| class.text(&["metadata", "creationTimestamp"]).into_owned();
    let latest =
        marked.max_by(|one, other| made(one).cmp(&made(other)).then_with(|| other.name().cmp(one.name())));
    latest.map(|class| class.name().to_owned())
}
