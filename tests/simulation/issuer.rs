//! The server under test, spoken to over HTTP alone, at a time that the simulation sets.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokensmith_tests::server::ADMIN;
use tokensmith_tests::{Answer, Client, Server};

use super::keys::{AUDIENCE, ISSUER, KeySet};

const CLOCK: &str = "/testing/v1/clock";
const TOKEN: &str = "/api/v1/namespaces/default/serviceaccounts/default/token";
const REVIEW: &str = "/apis/authentication.k8s.io/v1/tokenreviews";
const DAY: i64 = 86_400;

/// A server, and what time it is there.
pub struct Issuer {
    pub server: Server,
    client: Client,
    /// What time it is for everybody.
    now: i64,
    /// What time it is for the server: put right as soon as it matters. Only what is due changes its keys by itself, so
    /// that a key set fetched before is the one of now.
    clock: i64,
    /// The last key set and the bytes that it was read from: equal bytes need not be parsed again.
    known: Option<(Bytes, Arc<KeySet>)>,
    /// The key set of this very moment, once somebody has fetched it. The clock stands and nobody else changes keys,
    /// so that all who fetch at one moment share one exchange.
    current: Option<Arc<KeySet>>,
    /// Requests so far.
    pub requests: u64,
}

/// A key as `/admin/v1/keys` shows it.
#[derive(Deserialize)]
pub struct Key {
    pub id: String,
    pub phase: String,
    #[serde(default, with = "time::serde::rfc3339::option", rename = "publishedAt")]
    pub published_at: Option<OffsetDateTime>,
    #[serde(default, with = "time::serde::rfc3339::option", rename = "maySignFrom")]
    pub may_sign_from: Option<OffsetDateTime>,
    next: Option<Next>,
}

#[derive(Deserialize)]
struct Next {
    #[serde(with = "time::serde::rfc3339")]
    at: OffsetDateTime,
}

/// The whole answer.
#[derive(Deserialize)]
pub struct Ring {
    keys: Vec<Key>,
    problem: Option<String>,
}

/// A line of the journal.
#[derive(Deserialize)]
pub struct Change {
    pub to: String,
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
}

impl Issuer {
    /// Starts a server whose keys live by `flags`. Its clock is set to a midnight to come, by which the first rotation
    /// is over: from there on all times are whole seconds, and the same in every run but for the day.
    pub async fn start(flags: &[&str]) -> Result<Self> {
        let issuer = format!("--service-account-issuer={ISSUER}");
        let mut args = vec!["--ephemeral", "--test-clock", "--anonymous-oidc", "--signing-algorithm=ES256"];
        args.push(&issuer);
        args.extend(flags);
        let server = Server::start(&args).await?;
        let client = server.client()?;
        let shown = client.get(CLOCK, Some(ADMIN)).await?;
        let now = OffsetDateTime::parse(shown["now"].as_str().context("no time")?, &Rfc3339)?;
        let midnight = (now.unix_timestamp() / DAY + 4) * DAY;
        let mut issuer = Issuer { server, client, now: 0, clock: 0, known: None, current: None, requests: 0 };
        issuer.move_to(midnight)?;
        issuer.settle().await?;
        Ok(issuer)
    }

    /// What time it is.
    pub fn now(&self) -> i64 {
        self.now
    }

    /// Time passes.
    pub fn move_to(&mut self, at: i64) -> Result<()> {
        ensure!(at >= self.now, "time goes on");
        if at > self.now {
            (self.now, self.current) = (at, None);
        }
        Ok(())
    }

    /// Moves the server's clock to now: what is due is done when it answers.
    pub async fn settle(&mut self) -> Result<()> {
        let now = OffsetDateTime::from_unix_timestamp(self.now)?.format(&Rfc3339)?;
        let body = Bytes::from(serde_json::to_vec(&json!({ "now": now }))?);
        let headers = [("content-type", "application/json")];
        (self.current, self.requests) = (None, self.requests + 1);
        self.client.send("PUT", CLOCK, Some(ADMIN), &headers, Some(body)).await?.success()?;
        self.clock = self.now;
        Ok(())
    }

    async fn catch_up(&mut self) -> Result<()> {
        if self.clock < self.now { self.settle().await } else { Ok(()) }
    }

    /// The key set, as anybody gets it.
    pub async fn key_set(&mut self) -> Result<Arc<KeySet>> {
        if let Some(set) = &self.current {
            return Ok(set.clone());
        }
        self.requests += 1;
        let answer = self.client.send("GET", "/openid/v1/jwks", None, &[], None).await?;
        ensure!(answer.status == 200, "{}: {:?}", answer.status, answer.body);
        let set = match &self.known {
            Some((bytes, set)) if *bytes == answer.body => set.clone(),
            known => Arc::new(KeySet::of(&answer, known.as_ref().map(|(_, set)| &**set))?),
        };
        self.known = Some((answer.body, set.clone()));
        self.current = Some(set.clone());
        Ok(set)
    }

    /// A token that lives for `seconds`.
    pub async fn mint(&mut self, seconds: i64) -> Result<String> {
        self.catch_up().await?;
        self.requests += 1;
        let body = json!({"spec": {"audiences": [AUDIENCE], "expirationSeconds": seconds}});
        let reply = self.client.post(TOKEN, Some(ADMIN), &body).await?;
        Ok(reply["status"]["token"].as_str().context("no token")?.to_owned())
    }

    /// Whether the server itself takes a token.
    pub async fn accepts(&mut self, token: &str) -> Result<bool> {
        self.catch_up().await?;
        self.requests += 1;
        let body = json!({"spec": {"token": token, "audiences": [AUDIENCE]}});
        let reply = self.client.post(REVIEW, Some(ADMIN), &body).await?;
        Ok(reply["status"]["authenticated"] == true)
    }

    /// The keys with their phases.
    pub async fn ring(&mut self) -> Result<Ring> {
        self.requests += 1;
        Ok(serde_json::from_value(self.client.get("/admin/v1/keys", Some(ADMIN)).await?)?)
    }

    /// The next safe step to a new signing key.
    pub async fn rotate(&mut self) -> Result<()> {
        self.command("rotate").await?.success()?;
        Ok(())
    }

    /// Takes a key out of use, or is refused.
    pub async fn revoke(&mut self, id: &str) -> Result<Answer> {
        self.command(&format!("{id}/revoke")).await
    }

    /// The same with a new key that signs at once.
    pub async fn revoke_fresh(&mut self, id: &str, force: bool) -> Result<Answer> {
        let body = json!({"reason": "simulated", "fresh": true, "force": force});
        self.ask(&format!("{id}/revoke"), &body).await
    }

    /// A token with a `kid` that nobody knows.
    pub async fn poke(&mut self) -> Result<String> {
        let answer = self.ask("poke", &json!({"audience": AUDIENCE})).await?.success()?;
        Ok(answer["token"].as_str().context("no token")?.to_owned())
    }

    async fn command(&mut self, what: &str) -> Result<Answer> {
        self.ask(what, &json!({"reason": "simulated"})).await
    }

    async fn ask(&mut self, what: &str, body: &Value) -> Result<Answer> {
        self.catch_up().await?;
        (self.current, self.requests) = (None, self.requests + 1);
        self.client.post_any(&format!("/admin/v1/keys/{what}"), Some(ADMIN), body).await
    }

    /// Every change of the ring so far, and how many bytes it takes to tell.
    pub async fn history(&mut self) -> Result<(Vec<Change>, usize)> {
        self.requests += 1;
        let answer = self.client.send("GET", "/admin/v1/keys/history", Some(ADMIN), &[], None).await?;
        let size = answer.body.len();
        let mut told: Value = answer.success()?;
        ensure!(told.get("missing").is_none(), "the journal has gaps: {}", told["missing"]);
        Ok((serde_json::from_value(told["changes"].take())?, size))
    }
}

impl Ring {
    /// The key that signs.
    pub fn active(&self) -> Result<&Key> {
        self.only("active")
    }

    /// The published key that stands by.
    pub fn spare(&self) -> Result<&Key> {
        self.only("prepared")
    }

    /// The key that signed before, if it is still published. The newest comes first.
    pub fn retired(&self) -> Option<&Key> {
        self.keys.iter().find(|k| k.phase == "retired")
    }

    /// When the ring changes next.
    pub fn due(&self) -> Option<i64> {
        self.keys.iter().filter_map(|k| k.next.as_ref()).map(|next| next.at.unix_timestamp()).min()
    }

    /// Exactly one key signs and one stands by, at every moment, and nothing is wrong.
    pub fn check(&self) -> Result<()> {
        ensure!(self.problem.is_none(), "{:?}", self.problem);
        self.active()?;
        self.spare()?;
        Ok(())
    }

    fn only(&self, phase: &str) -> Result<&Key> {
        let mut found = self.keys.iter().filter(|k| k.phase == phase);
        let first = found.next().with_context(|| format!("no key is {phase}"))?;
        ensure!(found.next().is_none(), "two keys are {phase}");
        Ok(first)
    }
}

impl Key {
    /// When it next changes its phase.
    pub fn until(&self) -> Option<i64> {
        self.next.as_ref().map(|next| next.at.unix_timestamp())
    }
}
