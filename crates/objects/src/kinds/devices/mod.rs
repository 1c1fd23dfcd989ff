//! Devices that are claimed, and who has them (`pkg/apis/resource`). Nobody allocates any: they are kept, and their
//! expressions as text.

mod claim;
mod slice;
#[cfg(test)]
mod tests;

pub(super) use claim::{Claim, ClaimTemplate, Class};
pub(super) use slice::Slice;

use crate::field::Findings;
use crate::names;
use crate::path::Path;

const MAX_DRIVER: usize = 63;

/// A driver's name, as those of CSI are.
fn driver(errors: &mut Findings, at: &Path<'_>, name: &str) {
    if name.is_empty() {
        errors.required(at, "");
    }
    if name.len() > MAX_DRIVER {
        errors.too_long(at, MAX_DRIVER);
    }
    if !name.is_empty() {
        errors.each(at, name, names::subdomain(&name.to_lowercase()));
    }
}
