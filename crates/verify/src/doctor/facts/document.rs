//! A discovery document (OpenID Connect Discovery 1.0 §3).

use serde_json::{Map, Value};

/// What it says. Members of another type than theirs are as if they were not there, as most readers have it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Document {
    members: Map<String, Value>,
}

impl Document {
    /// Reads one; `None` where it is no JSON object.
    pub fn parse(bytes: &[u8]) -> Option<Document> {
        match serde_json::from_slice(bytes) {
            Ok(Value::Object(members)) => Some(Document { members }),
            _ => None,
        }
    }

    /// `issuer`
    pub fn issuer(&self) -> Option<&str> {
        self.text("issuer")
    }

    /// `jwks_uri`
    pub fn jwks_uri(&self) -> Option<&str> {
        self.text("jwks_uri")
    }

    /// `id_token_signing_alg_values_supported`
    pub fn algorithms(&self) -> Option<Vec<&str>> {
        let list = self.members.get("id_token_signing_alg_values_supported")?.as_array()?;
        Some(list.iter().filter_map(Value::as_str).collect())
    }

    /// Whether there is a member of this name.
    pub fn has(&self, name: &str) -> bool {
        self.members.get(name).is_some_and(|value| !value.is_null())
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.members.get(name)?.as_str()
    }
}
