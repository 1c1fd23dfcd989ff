//! From kubectl's own apply to the server's (`managedfields/internal/lastappliedmanager.go`, `lastappliedupdater.go`): what the
//! annotation says was applied, kubectl may take over without a conflict, and the annotation is kept up to date.

use serde_json::Value;
use tokensmith_api::json;
use tokensmith_objects::Object;

use super::{Applied, ApplyError, Recorder};
use crate::walk::{self, Twice};
use crate::{Managers, Set};

const ANNOTATION: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// The one manager that does so.
const KUBECTL: &str = "kubectl";
/// So much all annotations of an object may take (apimachinery `validation.TotalAnnotationSizeLimitB`).
const ANNOTATIONS: usize = 256 * 1024;

impl Recorder<'_> {
    /// The object says nothing of its managers, whom `written` names.
    pub(super) fn apply_taking_over(
        &self,
        live: &mut Object,
        written: Option<&Value>,
        config: &Object,
        managers: Managers,
        (name, force): (&str, bool),
    ) -> Result<Applied, ApplyError> {
        let value = config.clone().into_value();
        let first = self.merge(live, &value, managers, (name, force));
        if name != KUBECTL {
            return first;
        }
        let mut applied = match first {
            Err(ApplyError::Conflicts(conflicts)) => {
                let Some(allowed) = self.last_applied(live) else {
                    return Err(ApplyError::Conflicts(conflicts));
                };
                let left = conflicts.without(&allowed);
                if !left.0.is_empty() {
                    return Err(ApplyError::Conflicts(left));
                }
                let managers = Managers::read(written).unwrap_or_default();
                self.merge(live, &value, managers, (name, true))?
            }
            other => other?,
        };
        if applied.object.annotation(ANNOTATION).is_some_and(|text| !text.is_empty()) {
            note(&mut applied.object, config);
        }
        Ok(applied)
    }

    /// The fields that the annotation says were applied, and that are still so.
    fn last_applied(&self, live: &Object) -> Option<Set> {
        let text = live.annotation(ANNOTATION).filter(|text| !text.is_empty())?;
        let last = json::parse(text.as_bytes()).ok()?.value;
        if last["apiVersion"] != self.version {
            return None;
        }
        let (of, live) = (self.versions.of(self.version)?, live.clone().into_value());
        walk::validate(of, &live, Twice::Refused).ok()?;
        walk::validate(of, &last, Twice::Refused).ok()?;
        let compared = walk::compare(of, &last, &live).ok()?;
        Some(walk::fields(of, &last).ok()?.difference(&compared.changed()).difference(&compared.removed))
    }
}

/// Writes down what was applied, where there is room for it.
fn note(object: &mut Object, config: &Object) {
    let mut config = config.clone();
    config.remove(&["metadata", "annotations", ANNOTATION]);
    let mut text = Vec::new();
    json::write_sorted(&mut text, &config.into_value());
    text.push(b'\n');
    let path = &["metadata", "annotations", ANNOTATION];
    object.set(path, String::from_utf8(text).unwrap_or_default());
    let annotations = object.at(&["metadata", "annotations"]).and_then(Value::as_object);
    let size = |(name, value): (&String, &Value)| name.len() + value.as_str().map_or(0, str::len);
    if annotations.into_iter().flatten().map(size).sum::<usize>() > ANNOTATIONS {
        object.remove(path);
    }
}
