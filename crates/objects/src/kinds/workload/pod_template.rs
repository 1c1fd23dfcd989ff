//! Templates that stand alone.

use serde_json::Value;
use time::OffsetDateTime;

use super::{cells, inner, template_warnings};
use crate::Object;
use crate::field::Findings;
use crate::kinds::Rules;
use crate::kinds::look::of;
use crate::kinds::pod::{self, validate};
use crate::path::Path;
use crate::schema::Kind;
use crate::table::or_none;
use crate::validate::Limits;

/// What pods can be made of.
#[derive(Debug)]
pub(in crate::kinds) struct PodTemplate;

impl Rules for PodTemplate {
    fn warnings(&self, object: &Object, old: Option<&Object>) -> Vec<String> {
        template_warnings(&Path::new("template"), of(object, "template"), object, old)
    }

    fn cell(&self, object: &Object, column: &str, _: OffsetDateTime) -> Option<Value> {
        let template = object.get("template").unwrap_or(&Value::Null);
        if column == "Pod Labels" {
            let labels = template["metadata"]["labels"].as_object().map(tokensmith_api::json::sorted);
            let pair = |(key, value): (&String, &Value)| format!("{key}={}", value.as_str().unwrap_or(""));
            let all: Vec<_> = labels.into_iter().flatten().map(pair).collect();
            return Some(or_none(&all.join(",")));
        }
        cells::containers(template, column)
    }

    fn defaults(&self, object: &mut Object) {
        if let Some(template) = inner(&mut object.0, "template") {
            pod::template_defaults(template);
        }
    }

    fn validate(&self, errors: &mut Findings, _: &Kind, object: &Object, limits: &Limits) {
        let template = object.get("template").unwrap_or(&Value::Null);
        validate::template(errors, &Path::new("template"), template, limits);
    }
}
