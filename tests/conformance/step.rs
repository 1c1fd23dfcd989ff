//! One step of a scenario: what is sent, and what of the answer is compared.

use std::collections::BTreeMap;

use anyhow::Result;
use serde::Deserialize;
use serde_json::Value;
use tokensmith_tests::Client;
use tokensmith_tests::client::{Answer, Lines};
use tokensmith_tests::server::{ADMIN, JANE};

/// Values that earlier steps have saved, by name.
pub type Names = BTreeMap<String, String>;

/// A step whose placeholders have been filled.
#[derive(Deserialize)]
pub struct Step {
    #[serde(default)]
    pub what: String,
    pub method: String,
    pub path: String,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    /// Absent: the administrator; null: nobody; else a known user or a token.
    #[serde(default, deserialize_with = "given")]
    user: Option<Option<String>>,
    #[serde(default)]
    raw: Option<String>,
    #[serde(default)]
    body: Option<Value>,
    #[serde(default)]
    pub save: BTreeMap<String, String>,
    #[serde(default)]
    pub mangle: BTreeMap<String, (String, String)>,
    #[serde(default)]
    pub only: Option<Vec<String>>,
    #[serde(default = "yes")]
    pub body_compared: bool,
    #[serde(default)]
    pub compare_headers: Vec<String>,
    /// Asked again until these pointers hold these values; `status` is the HTTP status.
    #[serde(default)]
    pub until: Option<BTreeMap<String, Value>>,
    /// Pointers to what a server allocates: whether it is there is compared, not what it is.
    #[serde(default)]
    pub any: Vec<String>,
    /// Lists whose order means nothing.
    #[serde(default)]
    pub unordered: Vec<String>,
    /// Whether raw values equal saved ones.
    #[serde(default)]
    pub equals: Option<BTreeMap<String, Value>>,
    /// The parts of what is compared.
    #[serde(default)]
    pub compare: Option<Vec<String>>,
    /// For text that is no JSON: the parts it should hold.
    #[serde(default)]
    pub text_has: Option<Vec<String>>,
}

fn yes() -> bool {
    true
}

fn given<'de, D: serde::Deserializer<'de>>(d: D) -> Result<Option<Option<String>>, D::Error> {
    Option::<String>::deserialize(d).map(Some)
}

impl Step {
    /// Fills the placeholders of a recorded step, after it has made its own (`make`).
    pub fn read(recorded: &Value, names: &mut Names) -> Result<Self> {
        let made: BTreeMap<String, (String, usize)> = match recorded.get("make") {
            Some(made) => serde_json::from_value(made.clone())?,
            None => BTreeMap::new(),
        };
        names.extend(made.into_iter().map(|(name, (text, times))| (name, text.repeat(times))));
        let mut sent = recorded.clone();
        // What is expected is compared as it was recorded; what is saved is named before it is filled.
        for kept in ["expect", "save", "mangle"] {
            sent.as_object_mut().and_then(|s| s.remove(kept));
        }
        let mut filled = fill_all(&sent, names);
        for kept in ["save", "mangle"] {
            if let Some(value) = recorded.get(kept) {
                filled[kept] = value.clone();
            }
        }
        Ok(serde_json::from_value(filled)?)
    }

    /// How many lines of a stream are read; `None` for an answer that ends by itself.
    pub fn events(&self) -> Option<usize> {
        let asked = self.headers.get("X-Events");
        let wanted = asked.map_or(1, |n| n.parse().unwrap_or(1));
        (asked.is_some() || self.path.contains("watch=")).then_some(wanted)
    }

    /// Sends the request once.
    pub async fn send(&self, client: &Client) -> Result<Answer> {
        let mut headers: BTreeMap<String, String> =
            [("user-agent", "conformance"), ("accept", "application/json"), ("accept-encoding", "identity")]
                .map(|(k, v)| (k.into(), v.into()))
                .into();
        let (body, kind) = match (&self.raw, &self.body) {
            // Python's urllib says so of a body whose type it was not told.
            (Some(raw), _) => (Some(raw.clone().into_bytes()), "application/x-www-form-urlencoded"),
            (None, Some(body)) => (Some(serde_json::to_vec(body)?), "application/json"),
            (None, None) => (None, ""),
        };
        if body.is_some() {
            headers.insert("content-type".into(), kind.into());
        }
        headers.extend(self.headers.iter().map(|(k, v)| (k.to_lowercase(), v.clone())));
        let headers: Vec<_> = headers.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        let token = match &self.user {
            None => Some(ADMIN),
            Some(None) => None,
            Some(Some(user)) if user == "admin" => Some(ADMIN),
            Some(Some(user)) if user == "limited" => Some(JANE),
            Some(Some(token)) => Some(token.as_str()),
        };
        let body = body.map(Into::into);
        // The config map that a controller makes in each namespace: the recorded server had none. A list is one line.
        let without = (!self.path.contains("watch=false")).then_some(r#""name":"kube-root-ca.crt""#);
        let lines = self.events().map(|wanted| Lines { wanted, without });
        client.send_lines(&self.method, &self.path, token, &headers, body, lines).await
    }
}

/// Replaces `{NAME}` by a saved value; a name that nobody has saved stays as it is.
fn fill(text: &str, names: &Names) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(open) = rest.find('{') {
        out.push_str(&rest[..open]);
        rest = &rest[open..];
        let length = rest[1..].find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(0);
        let known = rest[1..].strip_prefix(&rest[1..=length]).filter(|after| after.starts_with('}'));
        match known.and_then(|_| names.get(&rest[1..=length])) {
            Some(value) => {
                out.push_str(value);
                rest = &rest[length + 2..];
            }
            None => {
                out.push('{');
                rest = &rest[1..];
            }
        }
    }
    out + rest
}

fn fill_all(value: &Value, names: &Names) -> Value {
    match value {
        Value::Object(map) => map.iter().map(|(k, v)| (fill(k, names), fill_all(v, names))).collect(),
        Value::Array(items) => items.iter().map(|v| fill_all(v, names)).collect(),
        Value::String(text) => Value::String(fill(text, names)),
        other => other.clone(),
    }
}
