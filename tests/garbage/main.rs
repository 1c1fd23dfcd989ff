//! Bodies that no client means: each gets a `Status` of the right code, and memory stays bounded.

use anyhow::{Result, ensure};
use bytes::Bytes;
use serde_json::json;
use tokensmith_tests::Server;
use tokensmith_tests::server::ADMIN;

const MIB: usize = 1024 * 1024;
const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";

fn deep(open: &str, close: &str, depth: usize) -> Vec<u8> {
    format!("{{\"spec\":{}1{}}}", open.repeat(depth), close.repeat(depth)).into_bytes()
}

/// An alias bomb: nine lists, each of nine references to the one before.
fn bomb() -> Vec<u8> {
    let mut yaml = String::from("a0: &a0 [lol,lol,lol,lol,lol,lol,lol,lol,lol]\n");
    for i in 1..12 {
        let refs = vec![format!("*a{}", i - 1); 9].join(",");
        yaml.push_str(&format!("a{i}: &a{i} [{refs}]\n"));
    }
    yaml.into_bytes()
}

#[tokio::test]
async fn every_kind_of_garbage_is_answered() -> Result<()> {
    let server = Server::start(&[]).await?;
    let client = server.client()?;
    let mut truncated = b"k8s\0".to_vec();
    truncated.extend([0x0a, 0x28, 0x0a, 0x18, b'a']);
    let mut endless = b"k8s\0\x12\xff\xff\xff\xff\x0f".to_vec();
    endless.extend([0u8; 64]);
    let cases: Vec<(&str, &str, Vec<u8>, u16)> = vec![
        ("random bytes", "application/json", (0u8..=255).cycle().take(4096).collect(), 400),
        ("no JSON", "application/json", b"not json".to_vec(), 400),
        ("a list", "application/json", b"[]".to_vec(), 400),
        ("a number", "application/json", b"42".to_vec(), 400),
        ("two values", "application/json", b"{}{}".to_vec(), 400),
        ("100,000 lists deep", "application/json", deep("[", "]", 100_000), 400),
        ("100,000 objects deep", "application/json", deep("{\"a\":", "}", 100_000), 400),
        ("unclosed, 1,000,000 deep", "application/json", vec![b'['; 1_000_000], 400),
        ("deep YAML", "application/yaml", vec![b'['; 100_000], 400),
        ("an alias bomb", "application/yaml", bomb(), 400),
        ("tabs for YAML", "application/yaml", b"a:\n\t- b".to_vec(), 400),
        ("protobuf without its prefix", PROTOBUF, b"{}".to_vec(), 400),
        ("protobuf, only the prefix and half a frame", PROTOBUF, truncated, 400),
        ("protobuf with a length past the end", PROTOBUF, endless, 400),
        ("10 MB of spaces", "application/json", vec![b' '; 10 * MIB], 413),
        (
            "10 MB of one string",
            "application/json",
            format!("{{\"a\":\"{}\"}}", "x".repeat(10 * MIB)).into_bytes(),
            413,
        ),
        ("10 MB of protobuf", PROTOBUF, vec![0x6b; 10 * MIB], 413),
        ("an image", "image/png", vec![0x89, b'P'], 415),
    ];
    let before = server.resident()?;
    for path in [
        "/api/v1/namespaces/default/serviceaccounts/default/token",
        "/api/v1/namespaces/default/configmaps",
        "/apis/authentication.k8s.io/v1/tokenreviews",
    ] {
        for (what, media, body, code) in &cases {
            let headers = [("content-type", *media)];
            let answer =
                client.send("POST", path, Some(ADMIN), &headers, Some(Bytes::from(body.clone()))).await?;
            let status = answer.json()?;
            ensure!(answer.status == *code, "{what} to {path}: {} {status}", answer.status);
            ensure!(
                status["kind"] == "Status" && status["code"] == *code && status["status"] == "Failure",
                "{what}: {status}"
            );
            ensure!(
                status["message"].as_str().is_some_and(|m| !m.is_empty() && m.len() < 4096),
                "{what}: {status}"
            );
        }
    }
    let grown = server.resident()?.saturating_sub(before);
    ensure!(grown < 256 * MIB as u64, "the server grew by {} MiB", grown / MIB as u64);
    // It still works.
    client.post("/api/v1/namespaces/default/serviceaccounts/default/token", Some(ADMIN), &json!({})).await?;
    Ok(())
}

/// Invalid UTF-8 inside a string is replaced, as Kubernetes does, and never stored as it came.
#[tokio::test]
async fn invalid_utf8() -> Result<()> {
    let server = Server::start(&[]).await?;
    let client = server.client()?;
    let body = b"{\"metadata\":{\"name\":\"a\"},\"data\":{\"k\":\"x\xff\xfey\"}}".to_vec();
    let path = "/api/v1/namespaces/default/configmaps";
    let answer = client
        .send("POST", path, Some(ADMIN), &[("content-type", "application/json")], Some(body.into()))
        .await?;
    match answer.status {
        201 => ensure!(answer.json()?["data"]["k"] == "x\u{fffd}\u{fffd}y", "{:?}", answer.json()),
        400 => ensure!(answer.json()?["kind"] == "Status"),
        other => anyhow::bail!("{other}: {:?}", answer.body),
    }
    Ok(())
}

/// Nonsense in the request line, the query and the headers.
#[tokio::test]
async fn nonsense_around_the_body() -> Result<()> {
    let server = Server::start(&[]).await?;
    let client = server.client()?;
    let token = "/api/v1/namespaces/default/serviceaccounts/default/token";
    for (method, path, headers, code) in [
        ("POST", format!("{token}?dryRun=x"), vec![], 422),
        ("POST", format!("{token}?fieldValidation=x"), vec![], 422),
        ("GET", "/api/v1/pods?limit=x".into(), vec![], 400),
        ("GET", "/api/v1/pods?continue=x".into(), vec![], 400),
        ("GET", "/api/v1/pods?labelSelector=%3D%3D".into(), vec![], 400),
        ("GET", "/api/v1/pods?fieldSelector=nope%3D1".into(), vec![], 400),
        ("GET", "/api/v1/nothing".into(), vec![], 404),
        ("GET", "/%2e%2e/%2e%2e/etc/passwd".into(), vec![], 404),
        ("BREW", "/api/v1/pods".into(), vec![], 405),
        ("GET", "/api/v1/pods".into(), vec![("accept", "image/png")], 406),
        ("GET", "/api/v1/pods".into(), vec![("authorization", "Bearer x y z")], 401),
        ("GET", "/api/v1/pods".into(), vec![("authorization", "Basic eDp5")], 403),
    ] {
        let admin = (!headers.iter().any(|(n, _)| *n == "authorization")).then_some(ADMIN);
        let body = (method == "POST").then(|| Bytes::from_static(b"{}"));
        let mut all = headers.clone();
        if body.is_some() {
            all.push(("content-type", "application/json"));
        }
        let answer = client.send(method, &path, admin, &all, body).await?;
        ensure!(answer.status == code, "{method} {path} {headers:?}: {} {:?}", answer.status, answer.body);
        // What upstream's router does not know is text.
        match path.starts_with("/api") {
            true => ensure!(answer.json()?["kind"] == "Status", "{method} {path}"),
            false => ensure!(answer.body == "404 page not found\n", "{method} {path}: {:?}", answer.body),
        }
    }
    Ok(())
}
