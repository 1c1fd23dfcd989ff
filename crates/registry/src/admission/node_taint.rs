//! A new node takes no pods until it is ready (`plugin/pkg/admission/nodetaint`).

use serde_json::{Value, json};
use tokensmith_objects::Object;

use super::is_made;
use tokensmith_core::access::admission::{Admission, Answer, Write};

/// Taints a new node.
pub(super) struct NodeTaint;

const KEY: &str = "node.kubernetes.io/not-ready";
const EFFECT: &str = "NoSchedule";

impl Admission for NodeTaint {
    fn handles(&self, write: &Write<'_>) -> bool {
        is_made(write, ("", "nodes"))
    }

    fn mutate<'a>(
        &'a self,
        _write: &'a Write<'a>,
        new: Option<&'a mut Object>,
        _warnings: &'a mut Vec<String>,
    ) -> Answer<'a> {
        if let Some(node) = new {
            let mut taints =
                node.at(&["spec", "taints"]).and_then(Value::as_array).cloned().unwrap_or_default();
            if !taints.iter().any(|taint| taint["key"] == KEY && taint["effect"] == EFFECT) {
                taints.push(json!({"key": KEY, "effect": EFFECT}));
                node.set(&["spec", "taints"], taints);
            }
        }
        Ok(()).into()
    }
}
