//! A rotation by the admin API, seen by API servers behind the socket and by verifiers of the HTTP key set.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};
use tokensmith_tests::server::{ADMIN, pause};
use tokensmith_tests::{Client as Http, Server};

use super::api_server::{ApiServer, Client};
use super::{StdDuration, now, payload, set, verify};

const KEYS: &str = "/admin/v1/keys";
const JWKS: &str = "/openid/v1/jwks";

/// The server, from both sides.
struct Sides {
    http: Http,
    api: ApiServer,
}

impl Sides {
    /// Moves the server's clock; the API server's cache follows its hint, and no more.
    async fn set(&mut self, now: OffsetDateTime) -> Result<()> {
        set(&self.http, now).await?;
        self.api.tick(now).await
    }

    /// Has a token signed, which both sides take at once; gives it and its `kid`.
    async fn sign(&mut self, now: OffsetDateTime) -> Result<(String, String)> {
        let token = self.api.token(&payload(now, 3600)).await?;
        let kid = self.check(&token, now).await?;
        Ok((token, kid))
    }

    /// Verifies a token on both sides; gives its `kid`.
    async fn check(&mut self, token: &str, now: OffsetDateTime) -> Result<String> {
        let kid = self.api.verify(token, now).await?;
        ensure!(verify(&self.http.get(JWKS, Some(ADMIN)).await?, token)? == kid);
        Ok(kid)
    }

    /// What both sides publish now; it is the same.
    async fn published(&mut self, now: OffsetDateTime) -> Result<BTreeSet<String>> {
        loop {
            let before = self.jwks().await?;
            self.api.fetch(now).await?;
            // A spare may come in between; then look again.
            if self.jwks().await? == before {
                ensure!(self.api.ids().into_iter().map(str::to_owned).collect::<BTreeSet<_>>() == before);
                return Ok(before);
            }
        }
    }

    async fn jwks(&self) -> Result<BTreeSet<String>> {
        let jwks = self.http.get(JWKS, Some(ADMIN)).await?;
        let keys = jwks["keys"].as_array().context("no keys")?;
        Ok(keys.iter().filter_map(|k| k["kid"].as_str()).map(str::to_owned).collect())
    }

    async fn command(&self, path: &str, body: Value) -> Result<Value> {
        self.http.post(&format!("{KEYS}{path}"), Some(ADMIN), &body).await
    }
}

/// The id of the one key in a phase, once there is one.
pub async fn in_phase(http: &Http, phase: &str) -> Result<String> {
    for _ in 0..600 {
        let list = http.get(KEYS, Some(ADMIN)).await?;
        let keys = list["keys"].as_array().context("no keys")?;
        if let Some(key) = keys.iter().find(|k| k["phase"] == phase) {
            return Ok(key["id"].as_str().context("no id")?.to_owned());
        }
        pause(StdDuration::from_millis(50)).await;
    }
    anyhow::bail!("no key is ever {phase}")
}

fn parse(time: &Value) -> Result<OffsetDateTime> {
    Ok(OffsetDateTime::parse(time.as_str().context("no time")?, &Rfc3339)?)
}

/// The time in a sentence.
fn told(answer: &Value) -> Result<OffsetDateTime> {
    let text = answer["text"].as_str().context("no text")?;
    let mut times = text.split([' ', ',']).filter_map(|word| OffsetDateTime::parse(word, &Rfc3339).ok());
    times.next_back().with_context(|| format!("no time is told: {text}"))
}

#[tokio::test]
async fn a_rotation_by_the_admin_api() -> Result<()> {
    for (algorithm, v1) in [("ES256", true), ("RS256", false)] {
        rotate(algorithm, v1).await.with_context(|| algorithm)?;
    }
    Ok(())
}

async fn rotate(algorithm: &str, v1: bool) -> Result<()> {
    let server = Server::start(&[
        "--ephemeral",
        "--test-clock",
        "--external-signer-socket=signer.sock",
        "--service-account-issuer=https://issuer.example",
        "--service-account-max-token-expiration=1h",
        &format!("--signing-algorithm={algorithm}"),
    ])
    .await?;
    let socket = server.home().join("signer.sock");
    let http = server.client()?;
    let start = now(&http).await?;
    let client = if v1 { Client::v1(&socket).await? } else { Client::v1alpha1(&socket).await? };
    let api = ApiServer::start(client, None, start).await?;
    let mut sides = Sides { http, api };

    // The spare is published, and does not sign.
    let (first, second) = (in_phase(&sides.http, "active").await?, in_phase(&sides.http, "prepared").await?);
    ensure!(sides.published(start).await? == BTreeSet::from([first.clone(), second.clone()]));
    let jwks_before = sides.http.get(JWKS, Some(ADMIN)).await?;
    ensure!(sides.sign(start).await?.1 == first);
    let published_at = sides.api.timestamp;

    // Rotating is waiting, until the time that the answer tells.
    let turn = told(&sides.command("/rotate", json!({})).await?)?;
    ensure!(
        turn - start >= Duration::hours(24) - Duration::minutes(1),
        "verifiers may not know it yet: {turn}"
    );
    sides.set(turn - Duration::SECOND).await?;
    let (old, kid) = sides.sign(turn - Duration::SECOND).await?;
    ensure!(kid == first, "it signs before its time");
    ensure!(sides.api.timestamp == published_at, "nothing new is published");
    ensure!((1..=3).contains(&sides.api.hint), "the change is announced: {}", sides.api.hint);

    // Who has not fetched since takes the new key's tokens and the old one's.
    set(&sides.http, turn).await?;
    let (new, kid) = sides.sign(turn).await?;
    ensure!(kid == second && verify(&jwks_before, &new)? == second);
    ensure!(sides.check(&old, turn).await? == first);
    let third = in_phase(&sides.http, "prepared").await?;
    ensure!(in_phase(&sides.http, "retired").await? == first);
    ensure!(sides.published(turn).await? == BTreeSet::from([first.clone(), second.clone(), third.clone()]));
    ensure!(sides.api.timestamp == turn, "a new spare dates the keys: {}", sides.api.timestamp);
    for token in [&old, &new] {
        sides.check(token, turn).await?;
    }
    ensure!(sides.api.unknown == 0, "no cache has missed a key");

    // A stolen key is gone from both, at once, and the keys are dated.
    let stolen = turn + Duration::minutes(1);
    sides.set(stolen).await?;
    let refused = sides.command(&format!("/{second}/revoke"), json!({})).await;
    ensure!(refused.is_err(), "the spare is not known yet");
    let body = json!({"force": true, "reason": "stolen"});
    sides.command(&format!("/{second}/revoke"), body).await?;
    let left = sides.published(stolen).await?;
    ensure!(left.contains(&first) && left.contains(&third) && !left.contains(&second), "{left:?}");
    ensure!(sides.api.timestamp == stolen);
    ensure!(sides.api.verify(&new, stolen).await.is_err());
    ensure!(verify(&sides.http.get(JWKS, Some(ADMIN)).await?, &new).is_err());
    ensure!(sides.sign(stolen).await?.1 == third && sides.check(&old, stolen).await? == first);

    // The retired key goes when its last token is dead everywhere, and not before.
    let list = sides.http.get(&format!("{KEYS}/{first}"), Some(ADMIN)).await?;
    ensure!(list["next"]["action"] == "removed", "{list}");
    let dead = parse(&list["next"]["at"])?;
    ensure!(dead >= turn + Duration::hours(1) + Duration::minutes(1), "tokens outlive their key");
    sides.set(dead - Duration::SECOND).await?;
    ensure!(sides.check(&old, dead - Duration::SECOND).await? == first);
    let after = dead + Duration::SECOND;
    sides.set(after).await?;
    ensure!(!sides.published(after).await?.contains(&first));
    ensure!(sides.api.timestamp == after);
    ensure!(sides.sign(after).await?.1 == third);
    Ok(())
}
