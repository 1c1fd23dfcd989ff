//! What is signed here for others goes on record.

use std::sync::Arc;

use anyhow::{Result, ensure};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use serde_json::json;
use tokensmith_core::Clock;
use tokensmith_core::keys::Algorithm;
use tokensmith_core::ledger::{Filter, Ledger, What};
use tokensmith_core::tokens::{LedgerMode, TokenLedger};
use tokensmith_core::view::View;
use tokensmith_signer::{Address, ExternalSigner, Socket, Witness, serve};
use tokensmith_store::MemoryLedger;
use tokio::sync::watch;

use crate::api_server::Client;
use crate::world::World;

#[tokio::test]
async fn each_token_leaves_a_record_of_what_it_says() -> Result<()> {
    let world = World::new(Algorithm::ES256, None).await?;
    let kept = Arc::new(MemoryLedger::new());
    let view = Arc::new(View::load(&*world.store).await?);
    let (clock, keys) = (world.clock.clone(), world.keys.clone());
    let ledger = TokenLedger::open(kept.clone(), LedgerMode::Full, clock, keys, view).await?;
    let told = ledger.clone();
    let witness: Witness = Box::new(move |payload, kid| {
        let ledger = told.clone();
        Box::pin(async move { ledger.signed("external-signer", &payload, &kid).await })
    });
    let signer = ExternalSigner::witnessed(world.keys.clone(), world.clock.clone(), None, witness)?;
    let path = world.dir.path().join("witnessed.sock");
    let (stop, stopped) = watch::channel(false);
    let serving = tokio::spawn(serve(
        Socket::bind(&Address::Path(path.clone())).await?,
        signer,
        tokensmith_core::Supervisor::alone(),
        stopped,
    ));
    let mut client = Client::v1(&path).await?;

    let now = world.clock.unix();
    let account = json!({"name": "api", "uid": "u"});
    let pod = json!({"name": "web", "uid": "v"});
    let full = json!({
        "aud": ["a", "b"], "exp": now + 600, "iat": now, "jti": "full", "sub": "system:serviceaccount:n:api",
        "kubernetes.io": {"namespace": "n", "serviceaccount": account, "pod": pod, "node": {"name": "w", "uid": "x"}},
    });
    let far = i64::MAX / 2;
    for payload in [
        full,
        json!({"exp": now + 700, "jti": "sub", "sub": "system:serviceaccount:n:other", "iat": far}),
        json!({"exp": now + 700, "sub": "system:serviceaccount:n:no-jti"}),
        json!({"exp": now + 700, "jti": "nobody's", "sub": "system:serviceaccount:n/x"}),
        json!({"exp": now + 700, "jti": "x".repeat(254), "sub": "system:serviceaccount:n:long"}),
        json!({"exp": now + 700, "jti": ["no"], "kubernetes.io": "no"}),
    ] {
        client.sign(&BASE64.encode(payload.to_string())).await?;
    }
    let records = kept.list(&Filter::default(), 100, None).await?.records;
    let ids: Vec<_> = records.iter().map(|r| (r.jti.as_str(), r.account.to_string())).collect();
    ensure!(ids == [("full", "n/api".into()), ("sub", "n/other".into())], "{ids:?}");
    let full = &records[0];
    ensure!(full.audiences == ["a", "b"] && full.uid == "u" && full.requester == "external-signer");
    ensure!(full.pod() == Some("web") && full.kid == world.keys.current().active_id());
    ensure!((full.issued_at, full.expires_at) == (now, now + 600));
    let revoked = ledger.revoke(What::Account("n/api".parse()?), "admin".into(), String::new()).await?;
    ensure!(revoked.revocation.at == now, "a time that an API server made up moves no revocation");
    ensure!(revoked.covered.is_some_and(|covered| covered.len() == 1));
    stop.send_replace(true);
    serving.await?;
    Ok(())
}
