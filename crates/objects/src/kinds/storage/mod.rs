//! How volumes are made and brought to nodes: the kinds of `storage.k8s.io`.

mod attachment;
mod attributes_class;
mod capacity;
mod class;
mod driver;
mod node;

pub(super) use attachment::VolumeAttachment;
pub(super) use attributes_class::VolumeAttributesClass;
pub(super) use capacity::CsiStorageCapacity;
pub(super) use class::StorageClass;
pub use class::{CLASS, class_of, is_default};
pub(super) use driver::CsiDriver;
pub(super) use node::CsiNode;

use serde_json::Value;

use crate::field::Findings;
use crate::names;
use crate::path::Path;

/// The name of a CSI driver, however it is written.
pub(crate) fn driver_name(errors: &mut Findings, at: &Path<'_>, name: &str) {
    if name.is_empty() {
        return errors.required(at, "");
    }
    if name.len() > 63 {
        errors.too_long(at, 63);
    }
    errors.each(at, name, names::subdomain(&name.to_lowercase()));
}

/// The name of who provisions.
fn provisioner(errors: &mut Findings, at: &Path<'_>, name: &str) {
    match name {
        "" => errors.required(at, ""),
        name => errors.each(at, name, names::qualified(&name.to_lowercase())),
    }
}

/// What a driver is told.
fn parameters(errors: &mut Findings, at: &Path<'_>, parameters: &Value) {
    let entries = parameters.as_object();
    if entries.is_some_and(|entries| entries.len() > MOST_PARAMETERS) {
        return errors.too_long(at, MOST_PARAMETERS);
    }
    metadata(errors, at, parameters);
}

/// Keys that are not empty, and no more in sum than fits.
fn metadata(errors: &mut Findings, at: &Path<'_>, all: &Value) {
    let mut total: usize = 0;
    for (key, value) in all.as_object().into_iter().flatten() {
        if key.is_empty() {
            errors.invalid(at, "", "field can not be empty.");
        }
        total = total.saturating_add(key.len()).saturating_add(value.as_str().map_or(0, str::len));
    }
    if total > LARGEST {
        errors.too_long(at, LARGEST);
    }
}

const MOST_PARAMETERS: usize = 512;
const LARGEST: usize = 256 * 1024;

#[cfg(test)]
mod tests;
