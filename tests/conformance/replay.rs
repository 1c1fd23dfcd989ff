//! Sends a scenario's steps and says what differs.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::UNIX_EPOCH;

use anyhow::{Context, Result};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokensmith_tests::Client;
use tokensmith_tests::server::{ADMIN, JANE};

use crate::normalise::{Normaliser, json_part};

/// A list of steps in one namespace.
#[derive(Deserialize)]
pub struct Scenario {
    /// E.g. `token/defaults`.
    pub name: String,
    /// A namespace that is there already, instead of a new one.
    #[serde(default)]
    namespace: Option<String>,
    steps: Vec<Step>,
}

#[derive(Deserialize)]
struct Step {
    #[serde(default)]
    what: String,
    method: String,
    path: String,
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
    save: BTreeMap<String, String>,
    #[serde(default)]
    mangle: BTreeMap<String, (String, String)>,
    #[serde(default)]
    only: Option<Vec<String>>,
    #[serde(default = "yes")]
    body_compared: bool,
    #[serde(default)]
    compare_headers: Vec<String>,
    expect: Value,
}

fn yes() -> bool {
    true
}

fn given<'de, D: serde::Deserializer<'de>>(d: D) -> Result<Option<Option<String>>, D::Error> {
    Option::<String>::deserialize(d).map(Some)
}

/// The server under test.
pub struct Replay {
    client: Client,
    issuer: String,
    made: AtomicUsize,
}

impl Replay {
    /// Asks the server for its issuer.
    pub async fn new(client: Client) -> Result<Self> {
        let discovery = client.get("/.well-known/openid-configuration", Some(ADMIN)).await?;
        let issuer = discovery["issuer"].as_str().context("no issuer")?.to_owned();
        Ok(Replay { client, issuer, made: AtomicUsize::new(0) })
    }

    /// The differences, a few lines each; none when all steps are equal.
    pub async fn run(&self, scenario: &Scenario) -> Result<Vec<String>> {
        let fresh = format!("c{:010x}", self.made.fetch_add(1, Ordering::Relaxed));
        let ns = scenario.namespace.as_deref().unwrap_or(&fresh);
        if scenario.namespace.is_none() {
            let body = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": ns}});
            self.client.post("/api/v1/namespaces", Some(ADMIN), &body).await?;
        }
        let hidden = if scenario.namespace.is_none() { ns } else { "" };
        let mut norm = Normaliser::new(&self.issuer, hidden);
        let mut names: HashMap<String, String> = HashMap::from(
            [("ns", ns), ("issuer", &self.issuer), ("limited", JANE)].map(|(k, v)| (k.into(), v.into())),
        );
        let mut differs = Vec::new();
        for (i, step) in scenario.steps.iter().enumerate() {
            let (got, raw) = self.ask(step, &names, &mut norm).await?;
            for (name, at) in &step.save {
                let value = raw.as_ref().and_then(|r| r.pointer(at));
                let text = value.map(|v| v.as_str().map_or_else(|| v.to_string(), Into::into));
                names.insert(name.clone(), text.unwrap_or_else(|| format!("<unsaved {name}>")));
            }
            for (name, (source, how)) in &step.mangle {
                names.insert(name.clone(), mangle(&names[source], how)?);
            }
            if got != step.expect {
                differs.push(format!("    step {i}: {} {} {}", step.method, step.path, step.what));
                show("", &step.expect, &got, &mut differs);
            }
        }
        Ok(differs)
    }

    async fn ask(
        &self,
        step: &Step,
        names: &HashMap<String, String>,
        norm: &mut Normaliser,
    ) -> Result<(Value, Option<Value>)> {
        let mut headers: BTreeMap<String, String> =
            [("user-agent", "conformance"), ("accept", "application/json")]
                .map(|(k, v)| (k.into(), v.into()))
                .into();
        let body = match (&step.raw, &step.body) {
            (Some(raw), _) => Some(fill(raw, names).into_bytes()),
            (None, Some(body)) => {
                headers.insert("content-type".into(), "application/json".into());
                Some(serde_json::to_vec(&fill_all(body, names))?)
            }
            (None, None) => None,
        };
        headers.extend(step.headers.iter().map(|(k, v)| (k.to_lowercase(), fill(v, names))));
        let token = match &step.user {
            None => Some(ADMIN.to_owned()),
            Some(None) => None,
            Some(Some(user)) if user == "admin" => Some(ADMIN.to_owned()),
            Some(Some(user)) if user == "limited" => Some(JANE.to_owned()),
            Some(Some(user)) => Some(fill(user, names)),
        };
        norm.now = now();
        let headers: Vec<_> = headers.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        let path = fill(&step.path, names);
        let answer =
            self.client.send(&step.method, &path, token.as_deref(), &headers, body.map(Into::into)).await?;

        let mut out = Map::new();
        out.insert("status".into(), answer.status.into());
        let kind = answer.header("content-type").split(';').next().unwrap_or("").to_owned();
        out.insert("type".into(), kind.into());
        for name in &step.compare_headers {
            let value = answer.headers.get(name).and_then(|v| v.to_str().ok());
            out.insert(format!("header {name}"), value.into());
        }
        let events = step.headers.get("X-Events").and_then(|n| n.parse::<usize>().ok());
        let raw: Option<Value> = match answer.body.as_ref() {
            [] => None,
            // A watch: the first so many lines, as a list.
            lines if events.is_some() => {
                let all = serde_json::Deserializer::from_slice(lines).into_iter::<Value>();
                Some(all.take(events.unwrap_or(0)).collect::<Result<Vec<_>, _>>()?.into())
            }
            bytes => match serde_json::from_slice(bytes) {
                Ok(value) => Some(value),
                Err(_) => {
                    out.insert("text".into(), norm.text(&String::from_utf8_lossy(bytes)));
                    None
                }
            },
        };
        if let Some(raw) = &raw {
            if let Some(only) = &step.only {
                let mut picked = Map::new();
                for at in only {
                    let value = raw.pointer(at).map_or("<absent>".into(), |v| norm.walk(v));
                    picked.insert(at.clone(), value);
                }
                out.insert("body".into(), picked.into());
            } else if step.body_compared {
                out.insert("body".into(), norm.walk(raw));
            }
        }
        Ok((Value::Object(out), raw))
    }
}

#[expect(clippy::disallowed_methods, reason = "the server under test runs on the machine's clock")]
fn now() -> f64 {
    std::time::SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

fn fill(text: &str, names: &HashMap<String, String>) -> String {
    names.iter().fold(text.to_owned(), |text, (name, value)| text.replace(&format!("{{{name}}}"), value))
}

fn fill_all(value: &Value, names: &HashMap<String, String>) -> Value {
    match value {
        Value::Object(map) => map.iter().map(|(k, v)| (k.clone(), fill_all(v, names))).collect(),
        Value::Array(items) => items.iter().map(|v| fill_all(v, names)).collect(),
        Value::String(text) => Value::String(fill(text, names)),
        other => other.clone(),
    }
}

/// Derives a broken token from a good one.
fn mangle(token: &str, how: &str) -> Result<String> {
    let [head, claims, sig] = token.split('.').collect::<Vec<_>>().try_into().ok().context("no JWT")?;
    let enc = |v: &Value| BASE64_URL_SAFE_NO_PAD.encode(v.to_string());
    let with = |part: &str, key: &str, value: &str| -> Result<String> {
        let mut json = json_part(part).context("no JSON in the token")?;
        json[key] = value.into();
        Ok(enc(&json))
    };
    Ok(match how {
        "signature" => {
            let other = if &sig[10..11] == "A" { "B" } else { "A" };
            format!("{head}.{claims}.{}{other}{}", &sig[..10], &sig[11..])
        }
        "none" => format!("{}.{claims}.", enc(&json!({"alg": "none"}))),
        "nosig" => format!("{head}.{claims}."),
        "kid" => format!("{}.{claims}.{sig}", with(head, "kid", "nosuchkey")?),
        "hs256" => format!("{}.{claims}.{sig}", with(head, "alg", "HS256")?),
        "issuer" => format!("{head}.{}.{sig}", with(claims, "iss", "https://elsewhere.example")?),
        "subject" => {
            format!("{head}.{}.{sig}", with(claims, "sub", "system:serviceaccount:kube-system:admin")?)
        }
        other => anyhow::bail!("cannot mangle by {other}"),
    })
}

fn show(path: &str, want: &Value, got: &Value, out: &mut Vec<String>) {
    let (Value::Object(w), Value::Object(g)) = (want, got) else {
        if want != got {
            out.push(format!("      {path}: want {want}\n      {path}:  got {got}"));
        }
        return;
    };
    for (key, value) in w {
        match g.get(key) {
            None => out.push(format!("      {path}/{key}: missing, want {value}")),
            Some(other) => show(&format!("{path}/{key}"), value, other, out),
        }
    }
    for (key, value) in g.iter().filter(|(k, _)| !w.contains_key(*k)) {
        out.push(format!("      {path}/{key}: unexpected {value}"));
    }
}
