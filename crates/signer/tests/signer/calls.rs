//! The three calls, one by one.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use serde_json::{Value, json};
use tokensmith_core::Clock;
use tokensmith_core::keys::Algorithm;
use tokensmith_core::keys::ring::NEVER;
use tokensmith_core::keys::service::RING_KEY;
use tokensmith_core::store::Expect;
use tokensmith_signer::{ExternalSigner, StartError};
use tonic::Code;

use crate::api_server::{ApiServer, Client, connect};
use crate::world::World;

fn encoded(payload: &Value) -> String {
    BASE64.encode(payload.to_string())
}

#[tokio::test]
async fn both_versions_give_what_an_api_server_accepts() -> Result<()> {
    for algorithm in [Algorithm::RS256, Algorithm::ES256, Algorithm::ES384] {
        let world = World::new(algorithm, Some(7200)).await?;
        for client in [Client::v1(&world.socket).await?, Client::v1alpha1(&world.socket).await?] {
            let now = world.clock.now();
            let mut api = ApiServer::start(client, None, now).await?;
            ensure!(api.max_seconds == 7200);
            let payload = world.payload(3600);
            let token = api.token(&payload).await?;
            let kid = api.verify(&token, now).await?;
            ensure!(kid == world.keys.current().active_id() && api.ids() == [kid.as_str()]);
            let header = token.split('.').next().context("no header")?;
            let expected = format!(r#"{{"alg":"{algorithm}","kid":"{kid}","typ":"JWT"}}"#);
            ensure!(String::from_utf8(BASE64.decode(header)?)? == expected);
            // A stranger's change to the payload is noticed.
            let forged = token.replacen(&encoded(&payload), &encoded(&world.payload(3601)), 1);
            ensure!(forged != token && api.verify(&forged, now).await.is_err());
            ensure!(api.unknown == 0);
        }
    }
    Ok(())
}

#[tokio::test]
async fn the_promise_comes_before_the_signature() -> Result<()> {
    let world = World::new(Algorithm::ES256, None).await?;
    let mut client = Client::v1(&world.socket).await?;
    ensure!(world.promised().is_none());
    client.sign(&encoded(&world.payload(5000))).await?;
    ensure!(world.promised() >= Some(world.clock.unix() + 5000));
    let stored = world.store.get(RING_KEY).await?.context("no ring")?.value;
    let stored: Value = serde_json::from_slice(&stored)?;
    ensure!(stored["keys"][0]["lastExp"].as_i64() == world.promised(), "in the store, too: {stored}");
    // Without a bound a token may live for ever; its key then never goes.
    client.sign(&encoded(&json!({"iss": "https://issuer.example"}))).await?;
    ensure!(world.promised() == Some(NEVER));
    Ok(())
}

#[tokio::test]
async fn the_announced_lifetime_is_kept() -> Result<()> {
    let world = World::new(Algorithm::ES256, Some(3600)).await?;
    let mut client = Client::v1(&world.socket).await?;
    // A minute more is the leeway between two clocks.
    for payload in
        [world.payload(3661), world.payload(i64::MAX / 2), json!({"iss": "x"}), json!({"exp": null})]
    {
        let refused = client.sign(&encoded(&payload)).await.err().context("signed")?;
        ensure!(refused.code() == Code::InvalidArgument, "{refused}");
        ensure!(refused.message().contains("3600s"), "{refused}");
    }
    ensure!(world.promised().is_none(), "what is refused promises nothing");
    client.sign(&encoded(&world.payload(3660))).await?;
    world.clock.advance(Duration::from_secs(2));
    client.sign(&encoded(&world.payload(3600))).await?;

    let unbounded = World::new(Algorithm::ES256, None).await?;
    let mut client = Client::v1alpha1(&unbounded.socket).await?;
    ensure!(client.metadata().await? == 1 << 32);
    client.sign(&encoded(&unbounded.payload(1 << 32))).await?;
    let refused = client.sign(&encoded(&unbounded.payload((1 << 32) + 61))).await.err().context("signed")?;
    ensure!(refused.code() == Code::InvalidArgument, "{refused}");
    Ok(())
}

#[tokio::test]
async fn a_bound_that_no_api_server_takes_is_refused_at_start() -> Result<()> {
    let world = World::new(Algorithm::ES256, None).await?;
    let new = |max| ExternalSigner::new(world.keys.clone(), world.clock.clone(), max).map(drop);
    ensure!(new(Some(599)) == Err(StartError::Lifetime(599)));
    ensure!(new(Some(600)).is_ok());
    Ok(())
}

#[tokio::test]
async fn what_is_no_payload_is_refused_in_words() -> Result<()> {
    let world = World::new(Algorithm::ES256, None).await?;
    let mut client = Client::v1(&world.socket).await?;
    for (claims, says) in [
        (String::new(), "claims is not a JSON object"),
        ("e30=".into(), "claims is not base64url without padding"),
        ("\u{0}\u{fffd}".into(), "claims is not base64url without padding"),
        (BASE64.encode("[]"), "claims is not a JSON object"),
        (BASE64.encode("{\"exp\":\"soon\"}"), "claims cannot be read: invalid type"),
        (BASE64.encode("{\"exp\":1,\"exp\":2}"), "claims cannot be read: duplicate field `exp`"),
        (BASE64.encode(b"{\"a\":\"\xff\"}"), "claims is not a JSON object"),
        (BASE64.encode(format!("{}1{}", "[{\"a\":".repeat(9000), "}]".repeat(9000))), "claims is not a JSON"),
    ] {
        let refused = client.sign(&claims).await.err().context("signed")?;
        ensure!(refused.code() == Code::InvalidArgument && refused.message().contains(says), "{refused}");
    }
    ensure!(world.promised().is_none());
    // Deep is not wrong, and costs no stack.
    let deep = format!("{{\"exp\":1,\"a\":{}1{}}}", "{\"a\":".repeat(9000), "}".repeat(9000));
    client.sign(&BASE64.encode(deep)).await?;
    Ok(())
}

#[tokio::test]
async fn a_message_without_end_is_not_read() -> Result<()> {
    let world = World::new(Algorithm::ES256, None).await?;
    let mut client = Client::v1(&world.socket).await?;
    let refused = client.sign(&"e".repeat(8 << 20)).await.err().context("signed")?;
    ensure!(refused.code() == Code::OutOfRange, "{refused}");
    // Just below the bound is read, and then judged.
    let refused = client.sign(&"e".repeat((1 << 20) - 64)).await.err().context("signed")?;
    ensure!(refused.code() == Code::InvalidArgument, "{refused}");
    client.sign(&encoded(&world.payload(600))).await?;
    Ok(())
}

#[tokio::test]
async fn another_service_is_not_there() -> Result<()> {
    let world = World::new(Algorithm::ES256, None).await?;
    let mut grpc = tonic::client::Grpc::new(connect(&world.socket).await?);
    for path in ["/v2.ExternalJWTSigner/Sign", "/v1.ExternalJWTSigner/Export", "/x"] {
        grpc.ready().await?;
        let codec = tonic_prost::ProstCodec::<(), ()>::default();
        let refused =
            grpc.unary(tonic::Request::new(()), path.parse()?, codec).await.err().context("answered")?;
        ensure!(refused.code() == Code::Unimplemented, "{path}: {refused}");
    }
    Ok(())
}

#[tokio::test]
async fn without_a_ring_nothing_is_signed_and_little_is_said() -> Result<()> {
    let world = World::new(Algorithm::ES256, None).await?;
    let mut client = Client::v1(&world.socket).await?;
    client.sign(&encoded(&world.payload(600))).await?;
    world.store.delete(RING_KEY, Expect::Any).await?;
    // Nobody has seen the ring for longer than it may be trusted.
    world.clock.advance(Duration::from_secs(120));
    let refused = client.sign(&encoded(&world.payload(600))).await.err().context("signed")?;
    ensure!(refused.code() == Code::Unavailable, "{refused}");
    ensure!(refused.message() == "no key may sign just now");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_calls_at_one_time_are_answered() -> Result<()> {
    let world = Arc::new(World::new(Algorithm::ES256, None).await?);
    let client = Client::v1(&world.socket).await?;
    let claims = encoded(&world.payload(600));
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..500 {
        let (mut client, claims) = (client.clone(), claims.clone());
        calls.spawn(async move { client.sign(&claims).await });
    }
    while let Some(signed) = calls.join_next().await {
        signed??;
    }
    Ok(())
}
