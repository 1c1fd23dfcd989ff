//! An ingress that names no class gets the default one (`plugin/pkg/admission/network/defaultingressclass`).

use tokensmith_core::access::admission::{Admission, Answer, Operation, Write};
use tokensmith_objects::Object;

use super::classes;

const GROUP: &str = "networking.k8s.io";
const DEFAULT: &str = "ingressclass.kubernetes.io/is-default-class";
/// Where an ingress named its class before there was a field for it.
const CLASS: &str = "kubernetes.io/ingress.class";

/// Names the default class.
pub(super) struct DefaultIngressClass;

impl Admission for DefaultIngressClass {
    fn handles(&self, write: &Write<'_>) -> bool {
        write.is_of(GROUP, "ingresses")
            && write.subresource.is_empty()
            && write.operation == Operation::Create
    }

    fn mutate<'a>(
        &'a self,
        write: &'a Write<'a>,
        new: Option<&'a mut Object>,
        _warnings: &'a mut Vec<String>,
    ) -> Answer<'a> {
        let Some(ingress) = new else { return Ok(()).into() };
        let named =
            ingress.at(&["spec", "ingressClassName"]).is_some() || ingress.annotation(CLASS).is_some();
        let classes = || write.objects.list(GROUP, "ingressclasses", "").map(|(_, class)| &**class);
        let marked = || classes().filter(|class| class.annotation(DEFAULT).as_deref() == Some("true"));
        if !named && let Some(class) = classes::latest(marked()) {
            ingress.set(&["spec", "ingressClassName"], class);
        }
        Ok(()).into()
    }
}
