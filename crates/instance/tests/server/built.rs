//! What a builder decides besides its options.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http::Method;
use serde_json::{Value, json};
use time::macros::datetime;
use tokensmith::certificates::{Authority, OWN_NAMES};
use tokensmith::{Algorithm, Certificate, Patch, SealKey, Server, StartError};
use tokensmith_core::clock::{Clock, SystemClock};
use tokensmith_core::keys::{PrivateKey, PrivatePem};

/// What was written, for whoever reads it meanwhile.
#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn decisions_are_written_down_and_no_token_is() {
    let written = Written::default();
    let server = Server::ephemeral().audit(written.clone()).start().await.unwrap();
    let token = server.token("shop/cart").audience("vault").await.unwrap();
    server.stop().await.unwrap();
    let text = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
    assert!(!text.contains(token.as_str()) && text.contains("cart"), "{text}");
    assert!(text.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()), "{text}");
}

#[tokio::test]
async fn a_certificate_from_elsewhere_is_served_as_it_is() {
    let authority = Authority::make(SystemClock::new().now()).unwrap();
    let made = authority.serving(&OWN_NAMES.map(str::to_owned), SystemClock::new().now()).unwrap();
    let key = BASE64_STANDARD.encode(made.key.secret_der());
    let certificate = |chain: &str| Certificate {
        ca: authority.pem().into(),
        chain: chain.into(),
        key: format!("-----BEGIN PRIVATE KEY-----\n{key}\n-----END PRIVATE KEY-----\n").into(),
    };
    let server = Server::ephemeral().certificate(certificate(&made.pem)).start().await.unwrap();
    assert_eq!(server.ca(), authority.pem());
    let http = reqwest::Client::builder().tls_backend_preconfigured(server.client_tls().unwrap());
    let http = http.no_proxy().build().unwrap();
    let answer = http.get(format!("{}/livez", server.url())).send().await.unwrap();
    assert!(answer.status().is_success());

    let none = Server::ephemeral().certificate(certificate("no PEM")).start().await;
    assert!(matches!(none.err(), Some(StartError::Tls(_))));
}

#[tokio::test]
async fn keys_from_elsewhere_sign_and_are_published_where_it_is_said() {
    let key = PrivateKey::generate(Algorithm::ES384).unwrap();
    let pem = PrivatePem::new(key.to_pem(None).unwrap().as_bytes().to_vec());
    let server = Server::ephemeral().algorithm(Algorithm::ES384).keys(|config| {
        config.signing_key = Some(pem);
        config.jwks_uri = Some("https://keys.test/jwks".into());
    });
    let server = server.issuer("https://issuer.test").start().await.unwrap();
    let shown = server.call(Method::GET, &format!("/admin/v1/keys/{}", key.public().key_id()), None).await;
    assert_eq!(shown.unwrap()["phase"], "active");
    let discovery = server.call(Method::GET, "/.well-known/openid-configuration", None).await.unwrap();
    assert_eq!(discovery["jwks_uri"], "https://keys.test/jwks");
}

#[tokio::test]
async fn a_clock_that_is_moved_goes_with_a_store_on_disk() {
    let folder = tempfile::tempdir().unwrap();
    let start = |at| {
        let server = Server::on_disk(folder.path(), SealKey::new([7; 32])).algorithm(Algorithm::ES256);
        server.clock(at).start()
    };
    let begin = datetime!(2031-01-01 0:00 UTC);
    let server = start(begin).await.unwrap();
    assert_eq!(server.clock().now(), begin);
    let token = server.token("shop/cart").audience("vault").seconds(3600).await.unwrap();
    server.clock().advance(Duration::from_secs(1800)).await.unwrap();
    let stopped = server.clock().now();
    server.stop().await.unwrap();

    let again = start(stopped).await.unwrap();
    assert!(again.review(token.as_str(), "vault").await.unwrap().authenticated);
    again.clock().advance(Duration::from_secs(1800 + 61)).await.unwrap();
    assert!(!again.review(token.as_str(), "vault").await.unwrap().authenticated);
}

#[tokio::test]
async fn objects_are_patched() {
    let server = Server::ephemeral().start().await.unwrap();
    let maps = "/api/v1/namespaces/default/configmaps";
    let made = json!({"metadata": {"name": "m"}, "data": {"a": "1", "b": "2"}});
    server.call(Method::POST, maps, Some(&made)).await.unwrap();
    let path = format!("{maps}/m");
    server.patch(&path, Patch::Merge, &json!({"data": {"a": null}})).await.unwrap();
    let operations = json!([{"op": "add", "path": "/data/c", "value": "3"}]);
    let patched = server.patch(&path, Patch::Json, &operations).await.unwrap();
    assert_eq!(patched["data"], json!({"b": "2", "c": "3"}));
}
