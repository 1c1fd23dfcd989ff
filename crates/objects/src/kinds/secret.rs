//! Secrets.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;
use time::OffsetDateTime;

use super::{Rules, key_pair, pem};
use crate::field::Findings;
use crate::schema::Kind;
use crate::table::count;
use crate::validate::data::{self, MAX_DATA, immutable};
use crate::validate::{Limits, unchanged};
use crate::{FieldError, Object};

/// The type of Secrets that hold a legacy token.
const TOKEN: &str = "kubernetes.io/service-account-token";
/// The type of Secrets that hold a certificate and its key.
const TLS: &str = "kubernetes.io/tls";

/// Secrets are not mixed up with what they were: neither their type nor immutable data change.
#[derive(Debug)]
pub(super) struct Secret;

impl Rules for Secret {
    fn converted(&self, object: &mut Object) {
        string_data(object);
    }

    fn cell(&self, object: &Object, column: &str, _: OffsetDateTime) -> Option<Value> {
        match column {
            "Data" => Some(count(object, "data").into()),
            "Type" => Some(object.str_at(&["type"]).into()),
            _ => None,
        }
    }

    fn defaults(&self, object: &mut Object) {
        if object.str_at(&["type"]).is_empty() {
            object.set(&["type"], "Opaque");
        }
    }

    fn prepare_create(&self, _: &Kind, object: &mut Object) {
        string_data(object);
    }

    fn prepare_update(&self, object: &mut Object, _: &Object) {
        string_data(object);
    }

    fn validate(&self, errors: &mut Findings, _: &Kind, object: &Object, _: &Limits) {
        create(errors, object);
    }

    fn validate_update(&self, errors: &mut Findings, _: &Kind, new: &Object, old: &Object, _: &Limits) {
        create(errors, new);
        unchanged(errors, &["type"], new, old);
        immutable(errors, new, old, &["data"]);
    }

    /// A pair that no TLS server could use.
    fn warnings(&self, object: &Object, _: Option<&Object>) -> Vec<String> {
        if object.str_at(&["type"]) != TLS {
            return Vec::new();
        }
        let text = |key: &str| {
            let bytes = BASE64_STANDARD.decode(object.str_at(&["data", key])).unwrap_or_default();
            String::from_utf8_lossy(&bytes).into_owned()
        };
        let (certificate, key) = (text("tls.crt"), text("tls.key"));
        Vec::from_iter(key_pair::unusable(&pem::blocks(&certificate), &pem::blocks(&key)))
    }
}

/// `stringData` is written into `data` and never read back.
fn string_data(object: &mut Object) {
    let Some(Value::Object(texts)) = object.remove(&["stringData"]) else { return };
    for (key, text) in texts {
        let encoded = BASE64_STANDARD.encode(text.as_str().unwrap_or_default());
        object.set(&["data", &key], encoded);
    }
}

fn create(errors: &mut Findings, secret: &Object) {
    let mut total = 0;
    for (key, value) in secret.get("data").and_then(Value::as_object).into_iter().flatten() {
        data::key(errors, "data", key);
        total += value.as_str().map_or(0, str::len) / 4 * 3;
    }
    if total > MAX_DATA {
        errors.push(|| FieldError::too_long("data", MAX_DATA));
    }
    let has = |key: &str| secret.at(&["data", key]).is_some();
    let mut need = |keys: &[&str]| {
        for key in keys.iter().filter(|key| !has(key)) {
            errors.push(|| FieldError::required(format!("data[{key}]"), ""));
        }
    };
    match secret.str_at(&["type"]) {
        TOKEN if secret.annotation("kubernetes.io/service-account.name").is_none_or(str::is_empty) => {
            errors.push(|| {
                FieldError::required("metadata.annotations[kubernetes.io/service-account.name]", "")
            });
        }
        "kubernetes.io/dockercfg" => need(&[".dockercfg"]),
        "kubernetes.io/dockerconfigjson" => need(&[".dockerconfigjson"]),
        "kubernetes.io/tls" => need(&["tls.crt", "tls.key"]),
        "kubernetes.io/ssh-auth" => need(&["ssh-privatekey"]),
        "kubernetes.io/basic-auth" if !has("username") && !has("password") => {
            errors.push(|| FieldError::required("data[username]", ""));
            errors.push(|| FieldError::required("data[password]", ""));
        }
        _ => {}
    }
    for key in [".dockercfg", ".dockerconfigjson"] {
        let wanted = secret.str_at(&["type"]) == format!("kubernetes.io/{}", key.trim_start_matches('.'));
        let text = secret.str_at(&["data", key]);
        if wanted && has(key) && !is_json(text) {
            // The value would show a password: upstream hides it too.
            errors.push(|| {
                FieldError::invalid(
                    format!("data[{key}]"),
                    &"<secret contents redacted>".into(),
                    "invalid JSON",
                )
            });
        }
    }
}

fn is_json(text: &str) -> bool {
    BASE64_STANDARD.decode(text).is_ok_and(|bytes| tokensmith_api::json::parse(&bytes).is_ok())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::Object;
    use crate::kinds::testing::{defaulted, texts};
    use crate::schema::kind;
    use crate::strategy::prepare_create;
    use crate::validate::{Limits, create, update};

    #[test]
    fn without_a_type_it_is_opaque() {
        assert_eq!(defaulted("", "secrets", json!({}))["type"], "Opaque");
    }

    #[test]
    fn a_secret_has_what_its_type_asks_for_and_keeps_what_is_immutable() {
        let secrets = kind("", "secrets").unwrap();
        let secret = |rest: Value| {
            let mut object = json!({"metadata": {"name": "s", "namespace": "n"}});
            object.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
            Object::from_value(object).unwrap()
        };
        let found = |rest| texts(create(secrets, &secret(rest), &Limits::default()));
        assert_eq!(
            found(json!({"type": "kubernetes.io/service-account-token"})),
            ["metadata.annotations[kubernetes.io/service-account.name]: Required value"]
        );
        assert_eq!(
            found(json!({"type": "kubernetes.io/tls"})),
            ["data[tls.crt]: Required value", "data[tls.key]: Required value"]
        );
        let (old, new) = (
            secret(json!({"immutable": true, "data": {"a": "eA=="}})),
            secret(json!({"immutable": true, "data": {"a": "eQ=="}})),
        );
        assert_eq!(
            texts(update(secrets, &new, &old, &Limits::default())),
            ["data: Forbidden: field is immutable when `immutable` is set"]
        );
    }

    #[test]
    fn string_data_becomes_data() {
        let mut secret =
            Object::from_value(json!({"data": {"a": "eA=="}, "stringData": {"a": "y", "b": "z"}})).unwrap();
        prepare_create(kind("", "secrets").unwrap(), &mut secret);
        assert_eq!(secret.into_value(), json!({"data": {"a": "eQ==", "b": "eg=="}}));
    }
}
