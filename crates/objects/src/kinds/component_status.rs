//! How the parts of a control plane are.

use serde_json::Value;
use time::OffsetDateTime;

use super::Rules;
use crate::Object;

/// Made up when it is asked for.
#[derive(Debug)]
pub(super) struct ComponentStatus;

impl Rules for ComponentStatus {
    fn cell(&self, object: &Object, column: &str, _: OffsetDateTime) -> Option<Value> {
        let conditions = object.get("conditions").and_then(Value::as_array);
        let health = conditions.into_iter().flatten().find(|one| one["type"] == "Healthy");
        let text = |field: &str| health.and_then(|one| one[field].as_str()).unwrap_or("");
        match column {
            "Status" => Some(if text("status") == "True" { "Healthy" } else { "Unhealthy" }.into()),
            "Message" => Some(text("message").into()),
            "Error" => Some(text("error").into()),
            _ => None,
        }
    }
}
