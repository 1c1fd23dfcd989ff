//! Service accounts.

use serde_json::{Map, Value};

use super::Rules;
use crate::Object;
use crate::schema::Kind;

/// It names its Secrets.
#[derive(Debug)]
pub(super) struct ServiceAccount;

impl Rules for ServiceAccount {
    fn prepare_create(&self, _: &Kind, object: &mut Object) {
        secret_names(object);
    }

    fn prepare_update(&self, object: &mut Object, _: &Object) {
        secret_names(object);
    }
}

/// References in `secrets` are by name alone.
fn secret_names(object: &mut Object) {
    let Some(Value::Array(secrets)) = object.0.get_mut("secrets") else { return };
    for secret in secrets.iter_mut() {
        let name = secret.get("name").cloned().unwrap_or_default();
        *secret = Value::Object(Map::from_iter([("name".to_owned(), name)]));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::Object;
    use crate::schema::kind;
    use crate::strategy::prepare_create;

    #[test]
    fn secrets_are_named_alone() {
        let mut account =
            Object::from_value(json!({"secrets": [{"name": "a", "namespace": "n", "uid": "u"}]})).unwrap();
        prepare_create(kind("", "serviceaccounts").unwrap(), &mut account);
        assert_eq!(account.get("secrets"), Some(&json!([{"name": "a"}])));
    }
}
