//! A pod has the labels that say where its node is (`plugin/pkg/admission/podtopologylabels`).

use tokensmith_core::access::admission::{Admission, Answer, Operation, Write};
use tokensmith_objects::Object;

/// Copies them from the node that a new pod is on, or is bound to. What the pod says itself stays.
pub(super) struct PodTopologyLabels;

const LABELS: [&str; 2] = ["topology.kubernetes.io/region", "topology.kubernetes.io/zone"];

impl Admission for PodTopologyLabels {
    fn handles(&self, write: &Write<'_>) -> bool {
        write.is_of("", "pods")
            && write.operation == Operation::Create
            && matches!(write.subresource, "" | "binding")
    }

    fn mutate<'a>(
        &'a self,
        write: &'a Write<'a>,
        new: Option<&'a mut Object>,
        _warnings: &'a mut Vec<String>,
    ) -> Answer<'a> {
        if let Some(new) = new {
            label(write, new);
        }
        Ok(()).into()
    }
}

fn label(write: &Write<'_>, new: &mut Object) {
    let node = match write.subresource {
        "" => new.str_at(&["spec", "nodeName"]),
        _ if new.str_at(&["target", "kind"]) == "Node" => new.str_at(&["target", "name"]),
        _ => "",
    };
    // One that is not there says nothing.
    let Some(node) = Some(node).filter(|n| !n.is_empty()).and_then(|n| write.objects.get("", "nodes", "", n))
    else {
        return;
    };
    for key in LABELS {
        if let Some(value) = node.label(key).filter(|_| new.label(key).is_none()) {
            new.set(&["metadata", "labels", key], value.into_owned());
        }
    }
}
