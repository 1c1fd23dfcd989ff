//! How much room there is for volumes of a class.

use super::super::Rules;
use super::super::look::of;
use crate::field::Findings;
use crate::path::Path;
use crate::schema::Kind;
use crate::validate::{Limits, selector, stays};
use crate::{Object, names, quantity};

/// Where and of which class it is stays.
#[derive(Debug)]
pub(in super::super) struct CsiStorageCapacity;

impl Rules for CsiStorageCapacity {
    fn validate(&self, errors: &mut Findings, _: &Kind, object: &Object, _: &Limits) {
        selector::validate(errors, &Path::new("nodeTopology"), of(object, "nodeTopology"));
        let class = object.str_at(&["storageClassName"]);
        errors.each(&Path::new("storageClassName"), class, names::subdomain(class));
        for field in ["capacity", "maximumVolumeSize"] {
            let amount = object.str_at(&[field]);
            if quantity::compare(amount, "0").is_lt() {
                errors.invalid(&Path::new(field), amount, "must be greater than or equal to 0");
            }
        }
    }

    fn validate_change(&self, errors: &mut Findings, new: &Object, old: &Object) {
        for field in ["nodeTopology", "storageClassName"] {
            stays(errors, &Path::new(field), of(new, field), of(old, field));
        }
    }
}
