//! Sends a scenario's steps and says what differs.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use anyhow::{Context, Result};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::{Value, json};
use tokensmith_tests::Client;
use tokensmith_tests::client::Answer;
use tokensmith_tests::server::{ADMIN, JANE};

use crate::compare::{compared, holds, show};
use crate::normalise::{Normaliser, json_part};
use crate::step::{Names, Step};

/// How long a step is asked again until it holds; after a difference waiting is of little use.
const PATIENCE: Duration = Duration::from_secs(10);
const IMPATIENCE: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(100);

/// A list of steps in one namespace.
#[derive(Deserialize)]
pub struct Scenario {
    /// E.g. `token/defaults`.
    pub name: String,
    /// A namespace that is there already, instead of a new one.
    #[serde(default)]
    namespace: Option<String>,
    steps: Vec<Value>,
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
        let mut names: Names = [("ns", ns), ("issuer", &self.issuer), ("limited", JANE)]
            .map(|(k, v)| (k.into(), v.into()))
            .into();
        let mut differs = Vec::new();
        for (i, recorded) in scenario.steps.iter().enumerate() {
            let step = Step::read(recorded, &mut names)?;
            norm.now = now();
            let patience = if differs.is_empty() { PATIENCE } else { IMPATIENCE };
            let (got, raw) = match self.ask(&step, patience).await {
                Ok(answer) => compared(&step, &answer, &mut norm),
                // A connection that broke off, or a stream that says too little.
                Err(e) => (json!({"status": 0, "error": format!("{e:#}")}), None),
            };
            for (name, at) in &step.save {
                let value = raw.as_ref().and_then(|r| r.pointer(at));
                let text = value.map(|v| v.as_str().map_or_else(|| v.to_string(), Into::into));
                names.insert(name.clone(), text.unwrap_or_else(|| format!("<unsaved {name}>")));
            }
            for (name, (source, how)) in &step.mangle {
                let source = names.get(source).with_context(|| format!("{source} has not been saved"))?;
                names.insert(name.clone(), mangle(source, how)?);
            }
            if got != recorded["expect"] {
                differs.push(format!("    step {i}: {} {} {}", step.method, step.path, step.what));
                show("", &recorded["expect"], &got, &mut differs);
            }
        }
        Ok(differs)
    }

    /// Sends a step, again and again if it waits for something.
    async fn ask(&self, step: &Step, patience: Duration) -> Result<Answer> {
        let begun = now();
        loop {
            let answer = step.send(&self.client).await?;
            let done = step.until.as_ref().is_none_or(|want| holds(&answer, want));
            if done || now() - begun > patience.as_secs_f64() {
                return Ok(answer);
            }
            tokensmith_tests::server::pause(PAUSE).await;
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the server under test runs on the machine's clock")]
fn now() -> f64 {
    std::time::SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
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
