//! A kind's own rules, in one room each.

pub(crate) mod cluster_trust_bundle;
pub(crate) mod config_map;
pub(crate) mod namespace;
pub(crate) mod node;
pub mod pod;
pub(crate) mod role;
pub(crate) mod role_binding;
pub(crate) mod secret;
pub(crate) mod service_account;

#[cfg(test)]
pub(crate) mod testing {
    use serde_json::Value;

    use crate::field::Findings;
    use crate::schema::kind;
    use crate::{Object, defaults};

    pub(crate) fn defaulted(group: &str, plural: &str, object: Value) -> Value {
        let mut object = Object::from_value(object).unwrap();
        defaults::apply(kind(group, plural).unwrap(), &mut object);
        object.into_value()
    }

    pub(crate) fn texts(errors: Findings) -> Vec<String> {
        errors.told().iter().map(ToString::to_string).collect()
    }
}
