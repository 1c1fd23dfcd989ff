//! What a token is, told to whoever has it: `POST /v1/introspect` of the token service for federated tokens (STS API,
//! `introspect`; RFC 7662), and `/tokeninfo` of `oauth2.googleapis.com` for those of service accounts
//! (<https://developers.google.com/identity/protocols/oauth2>). Seen: the latter knows no federated tokens.

use serde_json::{Map, Value, json};

use super::Gcp;
use super::tokens::Holder;

/// The scope under which an account's name is told.
const EMAIL: &str = "https://www.googleapis.com/auth/userinfo.email";

impl Gcp {
    /// What a federated token says (STS API, `IntrospectTokenResponse`).
    pub(super) fn introspect(&self, token: &str) -> Value {
        let held = self.tokens.open(token, self.now());
        let Some(held) = held.filter(|held| matches!(held.holder, Holder::Federated { .. })) else {
            return json!({ "active": false });
        };
        let principal = held.holder.principal();
        json!({
            "active": true,
            "scope": held.scope,
            "username": principal,
            "sub": principal,
            "iss": "https://sts.googleapis.com/",
            "iat": held.issued,
            "exp": held.expires,
        })
    }

    /// What a service account's token says.
    pub(super) fn token_info(&self, token: &str) -> Option<Value> {
        let now = self.now();
        let held = self.tokens.open(token, now)?;
        let Holder::Account { email } = &held.holder else { return None };
        let mut info = Map::new();
        info.insert("scope".into(), held.scope.as_str().into());
        // Texts, as Google has them there.
        info.insert("exp".into(), held.expires.to_string().into());
        info.insert("expires_in".into(), held.expires.saturating_sub(now).to_string().into());
        if held.has_scope(&[EMAIL]) {
            info.insert("email".into(), email.as_str().into());
            info.insert("email_verified".into(), "true".into());
        }
        info.insert("access_type".into(), "online".into());
        Some(Value::Object(info))
    }
}
