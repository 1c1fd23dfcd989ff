//! A disk that takes no more: every write is answered with the reason, and the server ends all the same.
//!
//! The disk's end is a limit on the size of files, which comes to a database as the end of a disk does, and without a
//! warning: the worse case of the two. Against a disk that fills slowly, room is kept (`space.rs` in the store).

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use tokensmith_tests::process::Limit;
use tokensmith_tests::server::ADMIN;
use tokensmith_tests::{Answer, Client, Server};

/// So large may a file become, bytes.
const FILE: u64 = 16 << 20;
/// Objects of so many bytes fill it.
const OBJECT: usize = 900_000;

const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_is_told_in_each_answer_and_the_server_ends() -> Result<()> {
    let home = tempfile::tempdir()?;
    let policy = home.path().join("policy.yaml");
    std::fs::write(&policy, POLICY)?;
    let policy = format!("--exchange-policy-file={}", policy.display());
    let args = ["--signing-algorithm=ES256", &policy];
    let mut server = Server::start_limited(home.path(), &args, Limit::FileBytes(FILE)).await?;
    let client = server.client()?;
    let token = mint(&client).await?;
    let exchanged = exchange(&client, &token).await?;
    ensure!(exchanged.status == 200, "{exchanged:?}");

    let mut refused = None;
    for _ in 0..200 {
        // A write that hangs is given up by the client after a minute: then this fails.
        let answer = write(&client).await?;
        if answer.status != 201 {
            refused = Some(answer);
            break;
        }
    }
    let Some(refused) = refused else { anyhow::bail!("the disk was never full") };
    told(&refused)?;
    // And all that come after it, at once: none waits for what hangs.
    for _ in 0..20 {
        told(&write(&client).await?)?;
    }
    let ready = client.send("GET", "/readyz?verbose", Some(ADMIN), &[], None).await?;
    ensure!(
        ready.status == 500 && String::from_utf8_lossy(&ready.body).contains("[-]etcd failed"),
        "{ready:?}"
    );
    // Nor is a token exchanged whose record would be lost; who asks is told so in OAuth's words. The first may come before the ledger
    // knows: it keeps that record, and tries again.
    let mut told = 0;
    for _ in 0..1000 {
        let answer = exchange(&client, &token).await?;
        if answer.status == 200 {
            ensure!(told == 0, "a token is given although the ledger cannot be written: {answer:?}");
            continue;
        }
        let error: Value = answer.json()?;
        ensure!(answer.status == 503 && error["error"] == "temporarily_unavailable", "{answer:?}");
        told += 1;
        if told == 20 {
            break;
        }
    }
    ensure!(told == 20, "exchanged tokens go on although their records are lost");
    // What is read goes on, and a revocation is in force, and says that it is not on disk.
    client.get("/api/v1/namespaces", Some(ADMIN)).await?;
    let revoked = client.post_any("/admin/v1/tokens/revoke", Some(ADMIN), &json!({"token": token})).await?;
    ensure!(revoked.status == 503, "{revoked:?}");
    ensure!(message(&revoked)?.contains("NOT on disk"), "{revoked:?}");
    let review = json!({"spec": {"token": token}});
    let review = client.post("/apis/authentication.k8s.io/v1/tokenreviews", Some(ADMIN), &review).await?;
    ensure!(review["status"]["authenticated"] != true, "a revoked token is taken: {review}");

    server.ask_to_stop()?;
    ensure!(server.ended().await?.is_some(), "the server does not end");
    Ok(())
}

/// Of tokens that are for the API: their issuer is this server's, whatever its name.
const POLICY: &str = "rules:
- {name: r, from: {serviceAccount: {namespace: default}}, audiences: [vault]}
";

async fn exchange(client: &Client, token: &str) -> Result<Answer> {
    let kind = "urn:ietf:params:oauth:token-type:jwt";
    let grant = "urn:ietf:params:oauth:grant-type:token-exchange";
    let form = format!("grant_type={grant}&subject_token_type={kind}&subject_token={token}");
    let headers = [("content-type", "application/x-www-form-urlencoded")];
    client.send("POST", "/oauth2/token", None, &headers, Some(form.into())).await
}

async fn write(client: &Client) -> Result<Answer> {
    let body = json!({"metadata": {"generateName": "fill-"}, "data": {"k": "x".repeat(OBJECT)}});
    client.post_any(CONFIG_MAPS, Some(ADMIN), &body).await
}

fn told(answer: &Answer) -> Result<()> {
    let status: Value = answer.json()?;
    ensure!(answer.status == 500 && status["reason"] == "InternalError", "{status}");
    ensure!(message(answer)?.contains("the store"), "{status}");
    Ok(())
}

fn message(answer: &Answer) -> Result<String> {
    Ok(answer.json()?["message"].as_str().unwrap_or_default().to_owned())
}

async fn mint(client: &Client) -> Result<String> {
    let path = "/api/v1/namespaces/default/serviceaccounts/default/token";
    let answer = client.post(path, Some(ADMIN), &json!({})).await?;
    Ok(answer["status"]["token"].as_str().unwrap_or_default().to_owned())
}
