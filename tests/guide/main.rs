//! The uses that a users' guide to projected service-account tokens promises, as far as the server carries them.

use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use tokensmith_tests::server::ADMIN;
use tokensmith_tests::{Client, Server};

const ACCOUNTS: &str = "/api/v1/namespaces/default/serviceaccounts";
const PODS: &str = "/api/v1/namespaces/default/pods";
const REVIEWS: &str = "/apis/authentication.k8s.io/v1/tokenreviews";

async fn account(client: &Client, name: &str) -> Result<()> {
    let body = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}});
    client.post(ACCOUNTS, Some(ADMIN), &body).await.map(drop)
}

async fn pod(client: &Client, name: &str, spec: Value) -> Result<Value> {
    let mut spec = spec;
    spec["containers"] = json!([{"name": "app", "image": "app:1.0"}]);
    let body = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec});
    client.post(PODS, Some(ADMIN), &body).await
}

/// Asks for the token of one `serviceAccountToken` source as a kubelet does.
async fn request(client: &Client, pod: &Value, source: &Value) -> Result<Value> {
    let account = pod["spec"]["serviceAccountName"].as_str().context("no account")?;
    let audiences = source["audience"].as_str().map(|a| json!([a]));
    let body = json!({"spec": {
        "audiences": audiences,
        "expirationSeconds": source["expirationSeconds"],
        "boundObjectRef": {"kind": "Pod", "apiVersion": "v1", "name": pod["metadata"]["name"], "uid": pod["metadata"]["uid"]},
    }});
    client.post(&format!("{ACCOUNTS}/{account}/token"), Some(ADMIN), &body).await
}

fn token(reply: &Value) -> Result<&str> {
    reply["status"]["token"].as_str().context("no token in the reply")
}

fn claims(token: &str) -> Result<Value> {
    let part = token.split('.').nth(1).context("no claims")?;
    Ok(serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(part)?)?)
}

async fn review(client: &Client, token: &str, audiences: &[&str]) -> Result<Value> {
    let body = json!({"spec": {"token": token, "audiences": audiences}});
    Ok(client.post(REVIEWS, Some(ADMIN), &body).await?["status"].take())
}

/// "Multiple Audiences": two sources in one volume give two tokens, each good for its own audience only.
#[tokio::test]
async fn two_audiences_in_one_volume() -> Result<()> {
    let server = Server::start(&[]).await?;
    let client = server.client()?;
    account(&client, "my-service-account").await?;
    let sources = json!([
        {"serviceAccountToken": {"audience": "https://kubernetes.default.svc", "expirationSeconds": 3600, "path": "k8s-token"}},
        {"serviceAccountToken": {"audience": "https://vault.example.com", "expirationSeconds": 7200, "path": "vault-token"}},
    ]);
    let volume = json!({"name": "service-tokens", "projected": {"sources": sources}});
    let pod =
        pod(&client, "two", json!({"serviceAccountName": "my-service-account", "volumes": [volume]})).await?;

    for (i, other) in [(0, "https://vault.example.com"), (1, "https://kubernetes.default.svc")] {
        let source = &pod["spec"]["volumes"][0]["projected"]["sources"][i]["serviceAccountToken"];
        let audience = source["audience"].as_str().context("no audience")?;
        let reply = request(&client, &pod, source).await?;
        let claims = claims(token(&reply)?)?;
        ensure!(claims["aud"] == json!([audience]), "{claims}");
        ensure!(
            claims["exp"].as_i64()
                == Some(
                    claims["iat"].as_i64().context("iat")?
                        + source["expirationSeconds"].as_i64().context("exp")?
                )
        );
        ensure!(claims["kubernetes.io"]["pod"]["uid"] == pod["metadata"]["uid"], "{claims}");
        ensure!(review(&client, token(&reply)?, &[audience]).await?["authenticated"] == true);
        let wrong = review(&client, token(&reply)?, &[other]).await?;
        ensure!(
            wrong["authenticated"].is_null()
                && wrong["error"].as_str().is_some_and(|e| e.contains("audiences")),
            "{wrong}"
        );
    }
    Ok(())
}

/// "Custom Expiration Times": Kubernetes refuses five minutes; with the flag tokensmith grants them.
#[tokio::test]
async fn five_minutes_only_when_allowed() -> Result<()> {
    let body = json!({"spec": {"expirationSeconds": 300}});
    let strict = Server::start(&[]).await?;
    let answer = strict.client()?.post_any(&format!("{ACCOUNTS}/default/token"), Some(ADMIN), &body).await?;
    ensure!(answer.status == 422, "{answer:?}");
    let message = answer.json()?["message"].as_str().unwrap_or("").to_owned();
    ensure!(
        message.ends_with("Invalid value: 300: may not specify a duration less than 10 minutes"),
        "{message}"
    );

    let short = Server::start(&["--min-token-expiration=5m"]).await?;
    let client = short.client()?;
    let reply = client.post(&format!("{ACCOUNTS}/default/token"), Some(ADMIN), &body).await?;
    let claims = claims(token(&reply)?)?;
    ensure!(claims["exp"].as_i64() == claims["iat"].as_i64().map(|iat| iat + 300), "{claims}");
    let volume = json!({"name": "t", "projected": {"sources": [{"serviceAccountToken": {"path": "t", "expirationSeconds": 300}}]}});
    let pod = pod(&client, "short", json!({"volumes": [volume]})).await?;
    ensure!(
        pod["spec"]["volumes"][0]["projected"]["sources"][0]["serviceAccountToken"]["expirationSeconds"]
            == 300
    );
    Ok(())
}

/// "Implement Minimal Access": the role that reads pods lets the account's token do that and nothing else.
#[tokio::test]
async fn a_role_that_reads_pods() -> Result<()> {
    let server = Server::start(&[]).await?;
    let client = server.client()?;
    account(&client, "my-service-account").await?;
    let rbac = "/apis/rbac.authorization.k8s.io/v1/namespaces/default";
    let role = json!({"metadata": {"name": "pod-reader"}, "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"]}]});
    client.post(&format!("{rbac}/roles"), Some(ADMIN), &role).await?;
    let reply = client.post(&format!("{ACCOUNTS}/my-service-account/token"), Some(ADMIN), &json!({})).await?;
    let token = token(&reply)?;
    ensure!(client.send("GET", PODS, Some(token), &[], None).await?.status == 403, "not before the binding");
    let binding = json!({
        "metadata": {"name": "read-pods"},
        "subjects": [{"kind": "ServiceAccount", "name": "my-service-account", "namespace": "default"}],
        "roleRef": {"kind": "Role", "name": "pod-reader", "apiGroup": "rbac.authorization.k8s.io"},
    });
    client.post(&format!("{rbac}/rolebindings"), Some(ADMIN), &binding).await?;
    client.get(PODS, Some(token)).await?;
    for (method, path) in [
        ("GET", "/api/v1/namespaces/default/secrets"),
        ("GET", "/api/v1/namespaces/kube-system/pods"),
        ("DELETE", "/api/v1/namespaces/default/pods/x"),
    ] {
        let answer = client.send(method, path, Some(token), &[], None).await?;
        ensure!(answer.status == 403, "{method} {path}: {}", answer.status);
    }
    Ok(())
}

/// A token stops working the moment its pod is gone, and a pod of the same name does not revive it.
#[tokio::test]
async fn the_token_goes_with_its_pod() -> Result<()> {
    let server = Server::start(&[]).await?;
    let client = server.client()?;
    let web = pod(&client, "web", json!({})).await?;
    let whoami = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
    let reply = request(&client, &web, &json!({"expirationSeconds": 3600})).await?;
    let token = token(&reply)?;
    ensure!(client.post_any(whoami, Some(token), &json!({})).await?.status == 201);
    client.delete(&format!("{PODS}/web"), Some(ADMIN)).await?;
    ensure!(client.post_any(whoami, Some(token), &json!({})).await?.status == 401);
    let gone = review(&client, token, &[]).await?;
    ensure!(gone["error"] == "[invalid bearer token, service account token has been invalidated]", "{gone}");
    pod(&client, "web", json!({})).await?;
    let other = review(&client, token, &[]).await?;
    ensure!(
        other["error"].as_str().is_some_and(|e| e.contains("does not match service account pod ref claim")),
        "{other}"
    );
    Ok(())
}

/// `automountServiceAccountToken: false` on the pod or on its account, and the gate that stops it for all.
#[tokio::test]
async fn automount_off() -> Result<()> {
    let server = Server::start(&[]).await?;
    let client = server.client()?;
    let quiet = json!({"metadata": {"name": "quiet"}, "automountServiceAccountToken": false});
    client.post(ACCOUNTS, Some(ADMIN), &quiet).await?;
    for (name, spec, mounted) in [
        ("plain", json!({}), true),
        ("by-pod", json!({"automountServiceAccountToken": false}), false),
        ("by-account", json!({"serviceAccountName": "quiet"}), false),
        ("pod-wins", json!({"serviceAccountName": "quiet", "automountServiceAccountToken": true}), true),
    ] {
        let pod = pod(&client, name, spec).await?;
        ensure!(pod["spec"]["volumes"].is_array() == mounted, "{name}: {}", pod["spec"]);
    }
    let gated = Server::start(&["--feature-gates=ImplicitServiceAccountToken=false"]).await?;
    let client = gated.client()?;
    let pod = pod(&client, "plain", json!({})).await?;
    ensure!(
        pod["spec"]["volumes"].is_null() && pod["spec"]["serviceAccountName"] == "default",
        "{}",
        pod["spec"]
    );
    Ok(())
}

/// "Migration from Legacy Tokens": an annotated Secret gets its token, which works, is tracked by a label, is
/// found by listing, and ends with the Secret.
#[tokio::test]
async fn legacy_secret_token_and_its_migration_listing() -> Result<()> {
    let server = Server::start(&[]).await?;
    let client = server.client()?;
    account(&client, "builder").await?;
    let secrets = "/api/v1/namespaces/default/secrets";
    let secret = json!({
        "metadata": {"name": "builder-token", "annotations": {"kubernetes.io/service-account.name": "builder"}},
        "type": "kubernetes.io/service-account-token",
    });
    client.post(secrets, Some(ADMIN), &secret).await?;
    let filled =
        until(&client, &format!("{secrets}/builder-token"), |s| s["data"]["token"].is_string()).await?;
    let token =
        String::from_utf8(BASE64_STANDARD.decode(filled["data"]["token"].as_str().context("token")?)?)?;
    ensure!(filled["data"]["namespace"] == BASE64_STANDARD.encode("default"), "{filled}");
    ensure!(filled["data"]["ca.crt"].is_string());
    ensure!(filled["metadata"]["annotations"]["kubernetes.io/service-account.uid"].is_string());
    let claims = claims(&token)?;
    ensure!(claims["iss"] == "kubernetes/serviceaccount" && claims["exp"].is_null(), "{claims}");

    let status = review(&client, &token, &[]).await?;
    ensure!(status["user"]["username"] == "system:serviceaccount:default:builder", "{status}");
    let used = until(&client, &format!("{secrets}/builder-token"), |s| {
        s["metadata"]["labels"]["kubernetes.io/legacy-token-last-used"].is_string()
    })
    .await?;
    let day = used["metadata"]["labels"]["kubernetes.io/legacy-token-last-used"].as_str().unwrap_or("");
    ensure!(day.len() == 10, "{day}");

    let listing = format!("{secrets}?fieldSelector=type%3Dkubernetes.io%2Fservice-account-token");
    let found = client.get(&listing, Some(ADMIN)).await?;
    ensure!(found["items"].as_array().map(Vec::len) == Some(1), "{found}");
    let used = format!("{secrets}?labelSelector=kubernetes.io%2Flegacy-token-last-used");
    ensure!(client.get(&used, Some(ADMIN)).await?["items"].as_array().map(Vec::len) == Some(1));

    client.delete(&format!("{secrets}/builder-token"), Some(ADMIN)).await?;
    let ended = review(&client, &token, &[]).await?;
    ensure!(ended["error"] == "[invalid bearer token, Token has been invalidated]", "{ended}");
    Ok(())
}

/// Polls an object until `holds`; a controller's work is not part of the request that causes it.
async fn until(client: &Client, path: &str, holds: impl Fn(&Value) -> bool) -> Result<Value> {
    let mut last = Value::Null;
    for _ in 0..200 {
        last = client.get(path, Some(ADMIN)).await?;
        if holds(&last) {
            return Ok(last);
        }
        tokensmith_tests::server::pause(std::time::Duration::from_millis(25)).await;
    }
    anyhow::bail!("not within five seconds: {path}: {last}")
}
