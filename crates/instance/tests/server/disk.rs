//! A server whose data outlive it.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use http::Method;
use serde_json::json;
use tokensmith::issuers::IssuersError;
use tokensmith::{
    Algorithm, Builder, CallError, SealKey, SealKeys, SealSource, SealSourceError, Server, StartError,
};

const SEAL: [u8; 32] = [7; 32];
const RESEAL: &str = "/admin/v1/keys/reseal";

fn on_disk(folder: &Path, seal: impl Into<Arc<dyn SealSource>>) -> Builder {
    Server::on_disk(folder, seal).algorithm(Algorithm::ES256).issuer("https://issuer.test")
}

#[tokio::test]
async fn what_is_on_disk_outlives_a_server_and_what_is_in_memory_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let start = || on_disk(folder.path(), SealKey::new(SEAL)).start();
    let server = start().await.unwrap();
    let token = server.token("shop/cart").audience("vault").await.unwrap();
    let ca = server.ca().to_owned();
    server.stop().await.unwrap();

    let again = start().await.unwrap();
    let review = again.review(token.as_str(), "vault").await.unwrap();
    assert_eq!((review.authenticated, &*review.user), (true, "system:serviceaccount:shop:cart"));
    assert_ne!(again.ca(), ca, "a CA is in memory alone");
    // While it runs, nobody else uses its folder.
    assert!(matches!(start().await.err(), Some(StartError::Store(_))));
    again.stop().await.unwrap();

    let memory = Server::ephemeral().issuer("https://issuer.test").start().await.unwrap();
    assert!(!memory.review(token.as_str(), "vault").await.unwrap().authenticated);
}

#[tokio::test]
async fn another_sealing_key_opens_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let start = |seal| on_disk(folder.path(), SealKey::new(seal)).start();
    start(SEAL).await.unwrap().stop().await.unwrap();
    assert!(matches!(start([8; 32]).await.err(), Some(StartError::Keys(_))));
}

/// A place for sealing keys that outlives a server.
struct Kept(Mutex<Vec<[u8; 32]>>);

impl Kept {
    fn bytes(&self) -> Vec<[u8; 32]> {
        self.0.lock().unwrap().clone()
    }
}

impl SealSource for Kept {
    fn load(&self) -> Result<SealKeys, SealSourceError> {
        let mut keys = self.bytes().into_iter().map(SealKey::new);
        let first = keys.next().ok_or_else(|| SealSourceError::Failed("there is none".into()))?;
        Ok(SealKeys::new(first, keys.collect()))
    }

    fn store(&self, keys: &SealKeys) -> Result<(), SealSourceError> {
        *self.0.lock().unwrap() = keys.all().iter().map(|key| *key.expose()).collect();
        Ok(())
    }
}

/// A place that cannot be read.
struct Gone;

impl SealSource for Gone {
    fn load(&self) -> Result<SealKeys, SealSourceError> {
        Err(SealSourceError::Failed("it is gone".into()))
    }

    fn store(&self, _: &SealKeys) -> Result<(), SealSourceError> {
        Err(SealSourceError::Failed("it is gone".into()))
    }
}

/// The private half of the key that signs, which opens only under the right sealing key.
async fn private(server: &Server) -> String {
    let keys = server.call(Method::GET, "/admin/v1/keys", None).await.unwrap();
    let active = keys["keys"].as_array().unwrap().iter().find(|key| key["phase"] == "active").unwrap();
    let path = format!("/admin/v1/private-keys/{}", active["id"].as_str().unwrap());
    let shown = server.call(Method::POST, &path, Some(&json!({}))).await.unwrap();
    shown["pem"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_sealing_key_that_only_the_caller_keeps_is_not_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let start = || on_disk(folder.path(), SealKey::new(SEAL)).start();
    let server = start().await.unwrap();
    let before = private(&server).await;
    let refused = server.call(Method::POST, RESEAL, Some(&json!({}))).await.unwrap_err();
    let CallError::Refused { code, message, .. } = &refused else { panic!("{refused:?}") };
    assert!(*code == 409 && message.contains("was handed to this server"), "{code} {message}");
    // The half that the key seals already may be sealed under it anew.
    server.call(Method::POST, RESEAL, Some(&json!({"keepFile": true}))).await.unwrap();
    server.stop().await.unwrap();
    let again = start().await.unwrap();
    assert_eq!(private(&again).await, before);
    again.stop().await.unwrap();

    // The caller replaces it: the new one in front, sealed under it, the old one gone.
    let both = SealKeys::new(SealKey::new([8; 32]), vec![SealKey::new(SEAL)]);
    let server = on_disk(folder.path(), both).start().await.unwrap();
    assert!(server.call(Method::POST, RESEAL, None).await.is_err());
    server.call(Method::POST, RESEAL, Some(&json!({"keepFile": true}))).await.unwrap();
    server.stop().await.unwrap();
    let server = on_disk(folder.path(), SealKey::new([8; 32])).start().await.unwrap();
    assert_eq!(private(&server).await, before);
}

#[tokio::test]
async fn a_sealing_key_is_replaced_where_it_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let kept = Arc::new(Kept(Mutex::new(vec![SEAL])));
    let start = || on_disk(folder.path(), kept.clone() as Arc<dyn SealSource>).start();
    let server = start().await.unwrap();
    let before = private(&server).await;
    server.call(Method::POST, RESEAL, Some(&json!({}))).await.unwrap();
    server.stop().await.unwrap();
    assert!(kept.bytes().len() == 1 && kept.bytes() != [SEAL], "a new one alone");
    let again = start().await.unwrap();
    assert_eq!(private(&again).await, before);
}

#[tokio::test]
async fn what_is_in_memory_alone_is_sealed_anew_like_anything_else() {
    let server = Server::ephemeral().start().await.unwrap();
    let before = private(&server).await;
    server.call(Method::POST, RESEAL, Some(&json!({}))).await.unwrap();
    assert_eq!(private(&server).await, before);
}

#[tokio::test]
async fn a_start_that_fails_leaves_no_folder_and_takes_none_away() {
    let temp = tempfile::tempdir().unwrap();
    let folder = temp.path().join("deep").join("data");
    let fails = || on_disk(&folder, Arc::new(Gone) as Arc<dyn SealSource>).start();
    assert!(matches!(fails().await.err(), Some(StartError::Keys(_))));
    assert!(!folder.exists(), "it was made by that start");

    let server = on_disk(&folder, SealKey::new(SEAL)).start().await.unwrap();
    let before = private(&server).await;
    // Neither while another server has it, nor when it was there before.
    assert!(fails().await.is_err());
    server.stop().await.unwrap();
    assert!(matches!(fails().await.err(), Some(StartError::Keys(_))));
    let again = on_disk(&folder, SealKey::new(SEAL)).start().await.unwrap();
    assert_eq!(private(&again).await, before);
    again.stop().await.unwrap();

    let empty = temp.path().join("empty");
    std::fs::create_dir(&empty).unwrap();
    assert!(on_disk(&empty, Arc::new(Gone) as Arc<dyn SealSource>).start().await.is_err());
    assert!(empty.exists(), "somebody else has made it");
}

#[tokio::test]
async fn the_issuer_of_the_first_start_stays() {
    let folder = tempfile::tempdir().unwrap();
    let start = || Server::on_disk(folder.path(), SealKey::new(SEAL)).algorithm(Algorithm::ES256).start();
    let server = start().await.unwrap();
    let first = server.issuer().to_owned();
    assert_eq!(first, server.url());
    let token = server.token("shop/cart").await.unwrap();
    server.stop().await.unwrap();
    // Somebody else has the port by now.
    let port = first.rsplit(':').next().unwrap().parse::<u16>().unwrap();
    let _taken = std::net::TcpListener::bind(("127.0.0.1", port)).ok();
    let again = start().await.unwrap();
    assert_ne!(again.url(), first);
    assert_eq!(again.issuer(), first);
    let review = again.review(token.as_str(), &first).await.unwrap();
    assert!(review.authenticated, "{}", review.error);
}

#[tokio::test]
async fn a_start_that_would_refuse_tokens_of_before_is_refused() {
    const OLD: &str = "https://issuer.test";
    const NEW: &str = "https://new.test";
    let folder = tempfile::tempdir().unwrap();
    let start = || on_disk(folder.path(), SealKey::new(SEAL));
    let server = start().start().await.unwrap();
    let token = server.token("shop/cart").audience("vault").await.unwrap();
    server.stop().await.unwrap();

    let both = |o: &mut tokensmith::Options| o.issuers = vec![NEW.into(), OLD.into()];
    match start().issuer(NEW).start().await.err() {
        Some(StartError::Issuers(IssuersError::Issuer(lost))) => assert_eq!(lost.name, OLD),
        other => panic!("{other:?}"),
    }
    match start().with(|o| o.api_audiences = vec!["api".into()]).start().await.err() {
        Some(StartError::Issuers(IssuersError::Audiences(lost))) => assert_eq!(lost.names, [OLD]),
        other => panic!("{other:?}"),
    }
    let contradicts = start().with(|o| o.dropped_issuers = vec![OLD.into()]).start().await.err();
    assert!(matches!(contradicts, Some(StartError::Issuers(IssuersError::DroppedIssuer(_)))));

    let server = start().with(both).start().await.unwrap();
    assert!(server.review(token.as_str(), "vault").await.unwrap().authenticated);
    server.stop().await.unwrap();
    let server = start().issuer(NEW).with(|o| o.dropped_issuers = vec![OLD.into()]).start().await.unwrap();
    assert!(!server.review(token.as_str(), "vault").await.unwrap().authenticated);
}

/// A drop waits for no disk, and whoever opens the folder next waits for it in its stead.
#[tokio::test]
async fn a_folder_whose_server_was_dropped_is_opened_again() {
    let folder = tempfile::tempdir().unwrap();
    let start = || on_disk(folder.path(), SealKey::new(SEAL)).start();
    let server = start().await.unwrap();
    let token = server.token("shop/cart").audience("vault").await.unwrap();
    drop(server);
    let again = start().await.unwrap();
    assert!(again.review(token.as_str(), "vault").await.unwrap().authenticated);
    let taken = start().await.err().unwrap().to_string();
    assert!(taken.contains("a server of this very process"), "{taken}");
    again.stop().await.unwrap();
}

/// The hook is the process's, and a library's user may have set one.
#[tokio::test]
async fn a_server_on_disk_leaves_the_panic_hook_alone() {
    static HEARD: AtomicUsize = AtomicUsize::new(0);
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| match info.payload().downcast_ref::<&str>() {
        Some(&"a test's") => drop(HEARD.fetch_add(1, Ordering::SeqCst)),
        _ => before(info),
    }));
    let folder = tempfile::tempdir().unwrap();
    let server = on_disk(folder.path(), SealKey::new(SEAL));
    server.start().await.unwrap().stop().await.unwrap();
    // As the database's own threads are named, whose panics `hush` keeps from the hook.
    let thread = std::thread::Builder::new().name("sled-io-0".into()).spawn(|| panic!("a test's"));
    assert!(thread.unwrap().join().is_err());
    assert_eq!(HEARD.load(Ordering::SeqCst), 1);
}
