//! Tokens that are refused (401).

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tokensmith_tests::server::ADMIN;

use super::world::{API, Ask, World, decoded, encoded, parts};

const PODS: Ask<'static> = ("GET", "/api/v1/namespaces/payments/pods", None);
const ARGS: &[&str] = &["--verb=list", "--resource=pods", "--namespace=payments"];

/// Asks about a token whatever it would do.
async fn refused(world: &World, what: &str, token: &str, layer: &str, says: &str) -> Result<Value> {
    world.refused(what, token, PODS, (401, layer, says), ARGS).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_cut_changed_or_never_was_a_token() -> Result<()> {
    let world = World::start(&[]).await?;
    let token = world.new_account("api").await?;
    let [header, claims, signature] = parts(&token)?;
    refused(
        &world,
        "cut",
        &token[..token.len() - 6],
        "signature",
        "has 60 bytes, and one of this key has 64",
    )
    .await?;
    refused(&world, "cut within a sign", &token[..token.len() - 1], "structure", "cannot be read").await?;
    refused(&world, "without its signature", &format!("{header}.{claims}"), "structure", "2 parts").await?;
    refused(&world, "opaque", "some-password", "structure", "no JWT, and no static token").await?;
    refused(
        &world,
        "claims that are none",
        &format!("{header}.{}.{signature}", encoded(&json!({"exp": "soon"}))),
        "structure",
        "types",
    )
    .await?;
    let mut other = decoded(claims)?;
    other["sub"] = "system:serviceaccount:kube-system:root".into();
    let changed = format!("{header}.{}.{signature}", encoded(&other));
    refused(&world, "other claims", &changed, "signature", "text has been changed").await?;
    let named = decoded(header)?;
    let none = encoded(&json!({"alg": "none", "kid": named["kid"]}));
    refused(
        &world,
        "alg none",
        &format!("{none}.{claims}.{signature}"),
        "signature",
        "alg that is not taken",
    )
    .await?;
    let rsa = encoded(&json!({"alg": "RS256", "kid": named["kid"]}));
    refused(&world, "another algorithm", &format!("{rsa}.{claims}.{signature}"), "signature", "says RS256")
        .await?;
    let crit = encoded(&json!({"alg": "ES256", "kid": named["kid"], "crit": ["x"]}));
    refused(&world, "crit", &format!("{crit}.{claims}.{signature}"), "signature", "crit").await?;
    let access = encoded(&json!({"alg": "ES256", "kid": named["kid"], "typ": "at+jwt"}));
    refused(
        &world,
        "an access token",
        &format!("{access}.{claims}.{signature}"),
        "type",
        "this token has another",
    )
    .await?;
    let mut foreign = decoded(claims)?;
    foreign["iss"] = "https://elsewhere.example".into();
    let foreign = format!("{header}.{}.{signature}", encoded(&foreign));
    refused(
        &world,
        "another issuer",
        &foreign,
        "issuer",
        "\"https://elsewhere.example\", and this server is https://why.example",
    )
    .await?;
    let unknown = encoded(&json!({"alg": "ES256", "kid": "nobodys"}));
    refused(
        &world,
        "an unknown kid",
        &format!("{unknown}.{claims}.{signature}"),
        "key",
        "no key \"nobodys\" is published",
    )
    .await?;
    let poke = world.make("/admin/v1/keys/poke", json!({"audience": "https://why.example"})).await?;
    refused(&world, "a poke", poke["token"].as_str().context("no token")?, "key", "is published").await?;

    // What is no question is wrong usage, and says what was given.
    for (text, says) in [
        (format!("{token}\n{token}\n"), "there are 2 tokens"),
        (String::new(), "it is empty"),
        ("-----BEGIN PRIVATE KEY-----\nAAAA\n".to_owned(), "it is a private key (PEM)"),
    ] {
        let (code, out, err) = world.why(Some(&text), None, ARGS)?;
        ensure!(code == 2 && out.is_empty() && err.contains(says), "{code} {out}{err}");
    }
    let (code, out, err) = world.why(None, None, &[ARGS, &[&token]].concat())?;
    ensure!(code == 2 && out.is_empty() && !err.contains(&token), "{code} {out}{err}");
    let told = world.told("whole", Some(&token), None, ARGS, 1)?;
    ensure!(told["decidedBy"] == "RBAC", "{told:#}");
    ensure!(world.asked.0.get() == 13);
    world.server.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whose_account_pod_secret_or_node_is_gone_or_another() -> Result<()> {
    let world = World::start(&[]).await?;
    let token = world.new_account("gone").await?;
    world.delete(&format!("{API}/serviceaccounts/gone")).await?;
    refused(&world, "account gone", &token, "account", "payments/gone is gone").await?;
    world.account("gone").await?;
    let told = refused(&world, "account made again", &token, "account", "was deleted and made again").await?;
    ensure!(told["change"] == json!(["kubectl create token gone --namespace payments"]), "{told:#}");

    world.account("api").await?;
    let container = json!([{"name": "c", "image": "i"}]);
    let pod =
        json!({"metadata": {"name": "web"}, "spec": {"serviceAccountName": "api", "containers": container}});
    let secret = json!({"metadata": {"name": "web"}, "data": {}});
    let node = json!({"metadata": {"name": "web"}});
    for (kind, path, object) in [
        ("Pod", format!("{API}/pods"), pod),
        ("Secret", format!("{API}/secrets"), secret),
        ("Node", "/api/v1/nodes".to_owned(), node),
    ] {
        world.make(&path, object.clone()).await?;
        let bound = json!({"boundObjectRef": {"apiVersion": "v1", "kind": kind, "name": "web"}});
        let token = world.mint("api", bound).await?;
        world.delete(&format!("{path}/web")).await?;
        refused(&world, &format!("{kind} gone"), &token, "bound object", &format!("{kind} web is gone"))
            .await?;
        world.make(&path, object).await?;
        let told =
            refused(&world, &format!("{kind} replaced"), &token, "bound object", "was replaced by another")
                .await?;
        let change = format!(
            "kubectl create token api --namespace payments --bound-object-kind {kind} --bound-object-name web"
        );
        ensure!(told["change"] == json!([change]), "{told:#}");
    }
    let told = world.told("a Deployment's words", Some(&token), None, ARGS, 1)?;
    ensure!(
        told["layers"][0]["holds"] == true && told["layers"].as_array().is_some_and(|all| all.len() > 11),
        "{told:#}"
    );
    ensure!(world.asked.0.get() == 8);
    world.server.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_of_secrets() -> Result<()> {
    let world = World::start(&[]).await?;
    world.account("api").await?;
    let secret = |name: &str| {
        let annotations = json!({"kubernetes.io/service-account.name": "api"});
        json!({"metadata": {"name": name, "annotations": annotations}, "type": "kubernetes.io/service-account-token"})
    };
    let made = async |name: &str| -> Result<String> {
        use base64::Engine;
        world.make(&format!("{API}/secrets"), secret(name)).await?;
        let path = format!("{API}/secrets/{name}");
        world.until(&path, |answer| answer.json().is_ok_and(|s| s["data"]["token"].is_string())).await?;
        let found = world.client.get(&path, Some(ADMIN)).await?;
        let data = found["data"]["token"].as_str().context("no token")?;
        Ok(String::from_utf8(base64::prelude::BASE64_STANDARD.decode(data)?)?)
    };
    let token = made("legacy").await?;
    world.delete(&format!("{API}/secrets/legacy")).await?;
    refused(&world, "its Secret is gone", &token, "bound object", "Secret legacy is gone").await?;
    made("legacy").await?;
    refused(&world, "its Secret was made again", &token, "bound object", "holds another token").await?;

    let token = made("marked").await?;
    let mark = json!({"metadata": {"labels": {"kubernetes.io/legacy-token-invalid-since": "2026-01-01"}}});
    world.send(Some(ADMIN), ("PATCH", &format!("{API}/secrets/marked"), Some(mark))).await?.success()?;
    let told = refused(&world, "marked", &token, "label", "has been marked invalid").await?;
    let change = "kubectl label secret marked --namespace payments kubernetes.io/legacy-token-invalid-since-";
    ensure!(told["change"] == json!([change]), "{told:#}");

    let token = made("stolen").await?;
    world.make("/admin/v1/tokens/revoke", json!({"token": token, "reason": "in a log"})).await?;
    refused(&world, "revoked by its bytes", &token, "revocation", "by admin: in a log").await?;
    ensure!(world.asked.0.get() == 4);
    world.server.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_for_others_out_of_time_or_revoked() -> Result<()> {
    let world = World::start(&[]).await?;
    world.account("api").await?;
    let vault = world.mint("api", json!({"audiences": ["vault"]})).await?;
    let told = refused(
        &world,
        "another audience",
        &vault,
        "audience",
        "it is for vault, and this server is https://why.example",
    )
    .await?;
    ensure!(told["layers"][4]["holds"] == true && told["layers"][6]["holds"] == Value::Null, "{told:#}");

    let revoke = async |what: Value| world.make("/admin/v1/tokens/revoke", what).await;
    let token = world.mint("api", json!({})).await?;
    let jti = decoded(parts(&token)?[1])?["jti"].clone();
    revoke(json!({"jti": jti, "reason": "left in a log"})).await?;
    refused(&world, "this token", &token, "revocation", "left in a log").await?;
    let pod = json!({"metadata": {"name": "web"}, "spec": {"serviceAccountName": "api", "containers": [{"name": "c", "image": "i"}]}});
    world.make(&format!("{API}/pods"), pod).await?;
    let bound = json!({"boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": "web"}});
    let token = world.mint("api", bound).await?;
    revoke(json!({"pod": "payments/web"})).await?;
    refused(&world, "the pod", &token, "revocation", "pod payments/web: its tokens of before are revoked")
        .await?;
    let token = world.mint("api", json!({})).await?;
    revoke(json!({"account": "payments/api"})).await?;
    refused(&world, "the account", &token, "revocation", "account payments/api").await?;
    let token = world.mint("api", json!({})).await?;
    let kid = decoded(parts(&token)?[0])?["kid"].as_str().context("no kid")?.to_owned();
    revoke(json!({"key": kid})).await?;
    refused(&world, "what the key has signed", &token, "revocation", &format!("key {kid}")).await?;

    let token = world.mint("api", json!({"expirationSeconds": 600})).await?;
    world.clock(json!({"advance": "1h11m"})).await?;
    let told = refused(&world, "expired an hour ago", &token, "time", "(61m ago)").await?;
    ensure!(told["detail"].as_str().is_some_and(|text| text.contains("expired: it ended ")), "{told:#}");
    let token = world.mint("api", json!({})).await?;
    world.clock(json!({"advance": "-2h", "jump": true})).await?;
    refused(&world, "the clock was set back", &token, "time", "is not valid yet: it begins ").await?;
    world.clock(json!({"advance": "2h", "jump": true})).await?;

    // Keys come last: what they have signed goes with them.
    let token = world.mint("api", json!({"expirationSeconds": 600})).await?;
    world.clock(json!({"advance": "2h"})).await?;
    world.make("/admin/v1/keys/rotate", json!({"reason": "due"})).await?;
    world.clock(json!({"advance": "72h"})).await?;
    let gone =
        |answer: &tokensmith_tests::Answer| answer.json().is_ok_and(|all| !all.to_string().contains(&kid));
    for _ in 0..40 {
        if gone(&world.send(Some(ADMIN), ("GET", "/admin/v1/keys", None)).await?) {
            break;
        }
        world.clock(json!({"advance": "120h"})).await?;
    }
    refused(&world, "its key has left the ring", &token, "key", "the journal has it removed at ").await?;
    let token = world.mint("api", json!({})).await?;
    let kid = decoded(parts(&token)?[0])?["kid"].as_str().context("no kid")?.to_owned();
    let how = json!({"force": true, "reason": "stolen"});
    world.make(&format!("/admin/v1/keys/{kid}/revoke"), how).await?;
    refused(&world, "its key is revoked", &token, "key", "is revoked since").await?;
    let told = refused(&world, "and by whom", &token, "key", "by admin: stolen").await?;
    ensure!(told["user"] == Value::Null, "{told:#}");
    ensure!(world.asked.0.get() == 10);
    world.server.stop().await
}
