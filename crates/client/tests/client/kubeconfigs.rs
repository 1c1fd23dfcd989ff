//! The shapes of tests/kubectl/kubeconfigs, without kubectl: each is as its first line says.

use std::fs;
use std::path::PathBuf;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use tokensmith_client::{Client, Target, TargetOptions};

use crate::proxies::{Proxy, Speaks};
use crate::world::{TOKEN, World, read, whoami};

fn shapes() -> Vec<PathBuf> {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/kubectl/kubeconfigs");
    let files = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let mut all: Vec<PathBuf> = files.filter(|path| path.extension().is_some_and(|e| e == "yaml")).collect();
    all.sort();
    all
}

/// What comes of it here.
fn wanted(text: &str) -> String {
    let first = text.lines().next().unwrap();
    let Some(told) = first.strip_prefix("# ") else { return "as admin".into() };
    match told.split_once("tokensmith ") {
        Some((_, ours)) => ours.split_once(':').unwrap().0.to_owned(),
        None => told.to_owned(),
    }
}

async fn outcome(path: PathBuf) -> (String, String) {
    let wanted = TargetOptions { kubeconfig: Some(path), ..TargetOptions::default() };
    let asked = async {
        let client = Client::new(&Target::resolve(&wanted)?)?;
        whoami(&client).await
    };
    match asked.await {
        Ok(Ok(user)) => (format!("as {user}"), String::new()),
        Ok(Err(refusal)) => ("refused".into(), refusal.message),
        Err(error) => ("refused".into(), error.to_string()),
    }
}

#[tokio::test]
async fn every_shape_is_as_it_says() {
    let world = World::new().await;
    let (http, socks) = (Proxy::new(Speaks::Http).await, Proxy::new(Speaks::Socks).await);
    let data = |name: &str| BASE64_STANDARD.encode(read(&world.path(name)));
    let ca = data("ca.crt");
    let lines: Vec<&str> = ca.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    let values = [
        ("${SERVER}", world.server()),
        ("${PORT}", world.port.to_string()),
        ("${TOKEN}", TOKEN.to_owned()),
        ("${CA_DATA}", ca.clone()),
        ("${CA_WRAPPED}", lines.join("\n      ")),
        ("${CERT_DATA}", data("client.crt")),
        ("${KEY_DATA}", data("client.key")),
        ("${PROXY}", format!("http://127.0.0.1:{}", http.port)),
        ("${SOCKS}", format!("socks5://127.0.0.1:{}", socks.port)),
    ];
    let shapes = shapes();
    assert!(shapes.len() >= 40, "{}", shapes.len());
    for shape in shapes {
        let text = read(&shape);
        let filled = values.iter().fold(text.clone(), |text, (name, value)| text.replace(name, value));
        let path = world.path("config");
        fs::write(&path, filled).unwrap();
        let (outcome, said) = outcome(path).await;
        let name = shape.file_stem().unwrap().display();
        assert_eq!(outcome, wanted(&text), "{name}: {said}");
        assert!(!said.contains(TOKEN) && !said.contains('\n'), "{name}: {said}");
    }
    assert!(http.tunnels() > 0 && socks.tunnels() > 0);
}

#[tokio::test]
async fn what_is_asked_as_somebody_else_says_so_in_full() {
    let world = World::new().await;
    let user = format!(
        "token: {TOKEN}, as: jane, as-groups: [a, b], as-uid: '7', as-user-extra: {{Why/x: [one, two]}}"
    );
    assert_eq!(whoami(&Client::new(&world.target("", &user)).unwrap()).await.unwrap().unwrap(), "jane");
    let headers = world.last().headers;
    let all = |name: &str| headers.get_all(name).iter().map(|v| v.to_str().unwrap()).collect::<Vec<_>>();
    assert_eq!(all("impersonate-group"), ["a", "b"]);
    assert_eq!(all("impersonate-uid"), ["7"]);
    assert_eq!(all("impersonate-extra-why%2fx"), ["one", "two"]);
}

#[tokio::test]
async fn tls_is_asked_for_the_name_that_it_shall_have() {
    let world = World::new().await;
    let user = format!("token: {TOKEN}");
    let client = Client::new(&world.target(", tls-server-name: api.example", &user)).unwrap();
    assert_eq!(whoami(&client).await.unwrap().unwrap(), "admin");
    let seen = world.last();
    assert_eq!(seen.name.as_deref(), Some("api.example"));
    // HTTP is asked for the URL's.
    assert_eq!(seen.headers["host"], format!("127.0.0.1:{}", world.port));
}

#[tokio::test]
async fn a_certificate_in_files_is_read_again_when_it_is_refused() {
    use http::StatusCode;

    use crate::world::told;
    let world = World::answering(|seen| match seen.certificate.as_deref() {
        Some("cert-v1") => told(StatusCode::OK, "cert-v1"),
        _ => told(StatusCode::UNAUTHORIZED, "Unauthorized"),
    })
    .await;
    let client =
        Client::new(&world.target("", "client-certificate: client.crt, client-key: client.key")).unwrap();
    assert_eq!(whoami(&client).await.unwrap().unwrap_err().code, 401);
    fs::copy(world.path("v1.crt"), world.path("client.crt")).unwrap();
    fs::copy(world.path("v1.key"), world.path("client.key")).unwrap();
    assert_eq!(whoami(&client).await.unwrap().unwrap(), "cert-v1");
}
