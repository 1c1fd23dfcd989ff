//! Makes two servers' answers comparable: what differs from run to run is replaced by a name.

use std::collections::HashMap;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use regex_lite::{Captures, Regex};
use serde_json::{Map, Value};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Fields whose value is a server's own business.
const DROPPED: [&str; 3] = ["managedFields", "resourceVersion", "generation"];

/// One per scenario, so that the same value gets the same name in all its steps.
pub struct Normaliser {
    issuer: String,
    namespace: String,
    names: HashMap<&'static str, Vec<String>>,
    uuid: Regex,
    time: Regex,
    jwt: Regex,
    access: Regex,
    /// When the step was sent, seconds since the epoch.
    pub now: f64,
}

impl Normaliser {
    /// For a scenario in `namespace`.
    pub fn new(issuer: &str, namespace: &str) -> Self {
        let regex = |r: &str| Regex::new(r).expect("the pattern is a constant that compiles");
        Normaliser {
            issuer: issuer.into(),
            namespace: namespace.into(),
            names: HashMap::new(),
            uuid: regex(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b"),
            time: regex(r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z"),
            jwt: regex(r"\beyJ[\w-]+\.eyJ[\w-]+\.[\w-]*"),
            access: regex(r"\bkube-api-access-[a-z0-9]{5}\b"),
            now: 0.0,
        }
    }

    /// A whole answer.
    pub fn walk(&mut self, value: &Value) -> Value {
        match value {
            Value::Object(map) => {
                let kept = map.iter().filter(|(k, _)| !DROPPED.contains(&k.as_str()));
                let mut out = Map::new();
                for (key, value) in kept {
                    let key = match self.text(key) {
                        Value::String(key) => key,
                        _ => key.clone(),
                    };
                    out.insert(key, self.walk(value));
                }
                Value::Object(out)
            }
            Value::Array(items) => items.iter().map(|v| self.walk(v)).collect(),
            Value::String(text) => self.text(text),
            other => other.clone(),
        }
    }

    /// A text: names instead of UUIDs, times and tokens; a whole JWT becomes its header and claims.
    pub fn text(&mut self, text: &str) -> Value {
        if self.jwt.find(text).is_some_and(|m| m.as_str() == text) {
            return self.decode(text);
        }
        let (jwt, uuid, time) = (self.jwt.clone(), self.uuid.clone(), self.time.clone());
        let text = jwt.replace_all(text, |m: &Captures| self.name("token", &m[0]));
        let text = uuid.replace_all(&text, |m: &Captures| self.name("uid", &m[0]));
        let mut text = time.replace_all(&text, |m: &Captures| self.stamp(&m[0])).into_owned();
        text = self.access.replace_all(&text, "kube-api-access-<5>").into_owned();
        if !self.namespace.is_empty() {
            text = text.replace(&self.namespace, "<ns>");
        }
        if !self.issuer.is_empty() {
            text = text.replace(&self.issuer, "<issuer>");
        }
        Value::String(text)
    }

    fn name(&mut self, kind: &'static str, value: &str) -> String {
        let seen = self.names.entry(kind).or_default();
        let at = seen.iter().position(|v| v == value).unwrap_or_else(|| {
            seen.push(value.into());
            seen.len() - 1
        });
        format!("<{kind}{}>", at + 1)
    }

    fn stamp(&self, text: &str) -> String {
        let Ok(when) = OffsetDateTime::parse(text, &Rfc3339) else { return text.into() };
        let when = when.unix_timestamp_nanos() as f64 / 1e9;
        match ((when - self.now) / 10.0).round_ties_even() as i64 * 10 {
            // A time of the sample itself.
            delta if delta < -86400 => text.into(),
            // A step back is a slow machine.
            -30..=0 => "<now>".into(),
            delta => format!("<now{delta:+}s>"),
        }
    }

    fn decode(&mut self, jwt: &str) -> Value {
        let parts: Vec<_> = jwt.split('.').take(2).map(json_part).collect();
        let [Some(Value::Object(mut header)), Some(Value::Object(mut claims))] =
            parts.try_into().unwrap_or([None, None])
        else {
            return Value::String(self.name("token", jwt));
        };
        let iat = claims.get("iat").and_then(Value::as_i64);
        let relative = |v: &mut Value| {
            if let Some(n) = v.as_i64() {
                *v = Value::String(format!("<iat{:+}>", n - iat.unwrap_or(0)));
            }
        };
        for key in ["exp", "nbf"] {
            claims.get_mut(key).map(relative);
        }
        if let Some(after) = claims.get_mut("kubernetes.io").and_then(|k| k.get_mut("warnafter")) {
            relative(after);
        }
        if let Some(iat) = iat.filter(|iat| (*iat as f64 - self.now).abs() < 10.0) {
            claims["iat"] = Value::String("<now>".into());
            debug_assert!(iat > 0);
        }
        if let Some(kid) = header.get("kid").and_then(Value::as_str) {
            let name = self.name("kid", kid);
            header["kid"] = Value::String(name);
        }
        let (header, claims) = (self.walk(&Value::Object(header)), self.walk(&Value::Object(claims)));
        serde_json::json!({"header": header, "claims": claims})
    }
}

/// The JSON in one base64url part of a JWT.
pub fn json_part(part: &str) -> Option<Value> {
    serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(part).ok()?).ok()
}
