//! A certificate of one's own: who is shown which, and whether the kubeconfig that is written works.

use std::fs::{self, Permissions};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::{ClientConfig, ClientConnection, RootCertStore, Stream};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use time::macros::datetime;

use crate::process::{Running, log_of, refused, run, serve, text, until};

/// A CA and one below it.
struct Pki {
    root: (Issuer<'static, KeyPair>, String),
    below: (Issuer<'static, KeyPair>, String),
}

fn ca(name: &str) -> (CertificateParams, KeyPair) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    (params, KeyPair::generate().unwrap())
}

fn params(names: &[&str]) -> CertificateParams {
    let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.distinguished_name.push(DnType::CommonName, "a server");
    params.use_authority_key_identifier_extension = true;
    params
}

impl Pki {
    fn new() -> Self {
        let (params, key) = ca("a root");
        let pem = params.self_signed(&key).unwrap().pem();
        let root = (Issuer::new(params, key), pem);
        let (params, key) = ca("one below");
        let pem = params.signed_by(&key, &root.0).unwrap().pem();
        Pki { root, below: (Issuer::new(params, key), pem) }
    }

    /// Writes a certificate for these names and its key into the folder.
    fn leaf(&self, dir: &Path, names: &[&str], parents: &[&str]) {
        self.leaf_of(dir, &params(names), parents);
    }

    fn leaf_of(&self, dir: &Path, params: &CertificateParams, parents: &[&str]) {
        let key = KeyPair::generate().unwrap();
        let issuer = if parents.contains(&self.below.1.as_str()) { &self.below.0 } else { &self.root.0 };
        let leaf = params.signed_by(&key, issuer).unwrap().pem();
        fs::write(dir.join("tls.crt"), format!("{leaf}{}", parents.concat())).unwrap();
        fs::write(dir.join("tls.key"), key.serialize_pem()).unwrap();
    }
}

const FLAGS: [&str; 2] = ["--tls-cert-file=tls.crt", "--tls-private-key-file=tls.key"];

/// What a client that trusts `roots` is shown when it asks for `name`; why it refuses.
fn shown(dir: &Path, name: &str, roots: &str) -> Result<Vec<u8>, String> {
    let url = fs::read_to_string(dir.join("ready")).unwrap();
    let port: u16 = url.trim().rsplit(':').next().unwrap().parse().unwrap();
    let mut store = RootCertStore::empty();
    for root in CertificateDer::pem_slice_iter(roots.as_bytes()) {
        store.add(root.unwrap()).unwrap();
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_root_certificates(store).with_no_client_auth();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut client = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut socket = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let mut stream = Stream::new(&mut client, &mut socket);
    let asked = b"GET /livez HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    stream.write_all(asked).map_err(|e| e.to_string())?;
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).map_err(|e| e.to_string())?;
    assert_eq!(&answer, b"HTTP/1.1 200");
    Ok(client.peer_certificates().unwrap()[0].to_vec())
}

fn ready(dir: &Path) -> String {
    fs::read_to_string(dir.join("ready")).unwrap().trim().to_owned()
}

fn own_ca(dir: &Path) -> String {
    fs::read_to_string(dir.join("tokensmith-data/ca.crt")).unwrap()
}

/// The CAs in the kubeconfig, PEM.
fn trusted(dir: &Path) -> Option<String> {
    let shown = run(dir, &["kubeconfig", "--output", "json"]);
    assert!(shown.status.success(), "{}", text(&shown.stderr));
    let config: serde_json::Value = serde_json::from_slice(&shown.stdout).unwrap();
    let data = config.pointer("/clusters/0/cluster/certificate-authority-data")?.as_str()?.to_owned();
    let pem = base64::Engine::decode(&base64::prelude::BASE64_STANDARD, data).unwrap();
    Some(String::from_utf8(pem).unwrap())
}

#[track_caller]
fn works_here(dir: &Path) {
    for args in [&["token", "create", "default"][..], &["healthcheck"]] {
        let done = run(dir, args);
        assert!(done.status.success(), "{args:?}: {}{}", text(&done.stderr), log_of(dir));
    }
}

fn started(dir: &Path) -> Running {
    serve(dir, &FLAGS)
}

#[test]
fn names_of_the_certificate_are_served_with_it_and_this_machines_with_our_own() {
    let pki = Pki::new();
    let (root, below) = (pki.root.1.as_str(), pki.below.1.as_str());
    for (names, parents, asked) in [
        (&["tokens.example.com"][..], &[][..], "tokens.example.com"),
        (&["tokens.example.com"], &[below], "Tokens.Example.COM"),
        (&["tokens.example.com"], &[below, root], "tokens.example.com"),
        (&["*.example.com"], &[root], "any.example.com"),
        (&["10.9.8.7"], &[], ""),
        (&["localhost", "tokens.example.com"], &[root], "localhost"),
        (&["127.0.0.1"], &[], "127.0.0.1"),
    ] {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path();
        pki.leaf(dir, names, parents);
        let _server = started(dir);
        works_here(dir);
        let own = own_ca(dir);
        let host = if names.contains(&"127.0.0.1") { "localhost" } else { "127.0.0.1" };
        assert!(ready(dir).starts_with(&format!("https://{host}:")), "{names:?}: {}", ready(dir));
        shown(dir, host, &own).unwrap();
        if !asked.is_empty() {
            shown(dir, asked, root).unwrap_or_else(|e| panic!("{names:?}, {asked}: {e}"));
            shown(dir, asked, &own).expect_err("that is not ours");
        }
        let trusted = trusted(dir).unwrap();
        assert!(trusted.starts_with(&own), "{names:?}");
        assert_eq!(trusted.contains(root), parents.contains(&root), "{names:?}: a true CA, or none");
        assert!(log_of(dir).contains(&format!("\ncertificate {}\n", names.join(", "))), "{}", log_of(dir));
        if let Some(ip) = names.iter().find(|name| **name == "10.9.8.7") {
            // What comes from elsewhere and names nothing is shown the file's: tests of `listen` have that.
            shown(dir, ip, root).expect_err("from here it is our own");
        }
    }
}

#[test]
fn a_certificate_for_all_names_of_this_machine_is_trusted_by_its_root() {
    let pki = Pki::new();
    let (root, below) = (pki.root.1.as_str(), pki.below.1.as_str());
    let home = tempfile::tempdir().unwrap();
    let dir = home.path();
    pki.leaf(dir, &["localhost", "127.0.0.1"], &[below, root]);
    let mut server = started(dir);
    works_here(dir);
    assert_eq!(trusted(dir).as_deref(), Some(root));
    shown(dir, "localhost", root).unwrap();
    shown(dir, "127.0.0.1", &own_ca(dir)).unwrap_err();
    assert_eq!(server.stop(), Some(0));

    // Without its root nobody here need know who signed it: the address stays ours.
    pki.leaf(dir, &["localhost", "127.0.0.1"], &[below]);
    let _server = started(dir);
    works_here(dir);
    let own = own_ca(dir);
    assert_eq!(trusted(dir).as_deref(), Some(own.as_str()));
    shown(dir, "localhost", root).unwrap();
    shown(dir, "127.0.0.1", &own).unwrap();
    assert!(run(dir, &["healthcheck"]).status.success());
}

#[test]
fn a_certificate_that_signs_itself_is_its_own_root() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path();
    let key = KeyPair::generate().unwrap();
    let pem = params(&["tokens.example.com"]).self_signed(&key).unwrap().pem();
    fs::write(dir.join("tls.crt"), &pem).unwrap();
    fs::write(dir.join("tls.key"), key.serialize_pem()).unwrap();
    let _server = started(dir);
    works_here(dir);
    assert_eq!(trusted(dir).unwrap(), format!("{}{pem}", own_ca(dir)));
    shown(dir, "tokens.example.com", &pem).unwrap();
    // One that is a CA's, as `openssl req -x509` makes them, is served by its names, and leaves one host to ours.
    let other = tempfile::tempdir().unwrap();
    let mut all = params(&["tokens.example.com", "localhost", "127.0.0.1"]);
    all.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    fs::write(other.path().join("tls.crt"), all.self_signed(&key).unwrap().pem()).unwrap();
    fs::write(other.path().join("tls.key"), key.serialize_pem()).unwrap();
    let _other = started(other.path());
    works_here(other.path());
    // A kubeconfig for others holds it, too, or what is said to be right there.
    let others = run(dir, &["kubeconfig", "--advertise", "https://tokens.example.com:6443"]);
    assert!(text(&others.stdout).contains("certificate-authority-data"));
    let args = ["kubeconfig", "--advertise", "https://tokens.example.com:6443", "--advertise-ca"];
    let system = run(dir, &[&args[..], &["system"]].concat());
    assert!(!text(&system.stdout).contains("certificate-authority-data"), "{}", text(&system.stderr));
    let file = run(dir, &[&args[..], &["tls.crt"]].concat());
    assert!(text(&file.stdout).contains("certificate-authority-data"), "{}", text(&file.stderr));
    refused(&run(dir, &[&args[..], &["tls.key"]].concat()), 1, "tls.key holds no certificate (PEM)");
    refused(&run(dir, &["kubeconfig", "--advertise-ca", "system"]), 2, "--advertise <URL>");
}

#[test]
fn what_clients_will_refuse_is_said_at_the_start() {
    let (pki, home) = (Pki::new(), tempfile::tempdir().unwrap());
    let dir = home.path();
    let mut old = params(&["tokens.example.com"]);
    (old.not_before, old.not_after) = (datetime!(2020-01-01 0:00 UTC), datetime!(2020-02-01 0:00 UTC));
    pki.leaf_of(dir, &old, &[]);
    let mut server = serve(dir, &[&FLAGS[..], &["--external-hostname=elsewhere.example.com"]].concat());
    works_here(dir);
    let log = log_of(dir);
    for says in [
        "the certificate in tls.crt has expired (2020-02-01T00:00:00Z): clients refuse it",
        "the certificate in tls.crt is for tokens.example.com, not for --external-hostname elsewhere.example.com: clients refuse it there",
    ] {
        assert!(log.contains(says), "{log}");
    }
    assert_eq!(server.stop(), Some(0));
    (old.not_before, old.not_after) = (datetime!(2120-01-01 0:00 UTC), datetime!(2120-02-01 0:00 UTC));
    pki.leaf_of(dir, &old, &[]);
    let _server = started(dir);
    let says =
        "the certificate in tls.crt is not good before 2120-01-01T00:00:00Z: clients refuse it until then";
    assert!(log_of(dir).contains(says), "{}", log_of(dir));
}

#[test]
fn a_key_of_another_certificate_stops_the_start() {
    let (pki, home) = (Pki::new(), tempfile::tempdir().unwrap());
    let dir = home.path();
    pki.leaf(dir, &["tokens.example.com"], &[]);
    fs::write(dir.join("tls.key"), KeyPair::generate().unwrap().serialize_pem()).unwrap();
    let says = "the certificate and its key do not belong together: tls.crt and tls.key";
    refused(&run(dir, &["serve", "--secure-port=0", FLAGS[0], FLAGS[1]]), 1, says);
    assert!(!dir.join("tokensmith-data").exists(), "nothing is made");
}

#[test]
fn a_new_certificate_is_taken_on_sighup_and_the_kubeconfig_goes_on_working() {
    let (pki, home) = (Pki::new(), tempfile::tempdir().unwrap());
    let (dir, root) = (home.path(), pki.root.1.as_str());
    pki.leaf(dir, &["tokens.example.com"], &[]);
    let server = started(dir);
    let first = shown(dir, "tokens.example.com", root).unwrap();
    // The new one has this machine's names, too: what was written relies on ours.
    pki.leaf(dir, &["tokens.example.com", "localhost", "127.0.0.1"], &[root]);
    server.signal("HUP");
    until("it is shown", || shown(dir, "tokens.example.com", root).unwrap() != first);
    works_here(dir);
    shown(dir, "127.0.0.1", &own_ca(dir)).unwrap();
    shown(dir, "localhost", root).unwrap();

    let second = shown(dir, "tokens.example.com", root).unwrap();
    fs::write(dir.join("tls.key"), KeyPair::generate().unwrap().serialize_pem()).unwrap();
    server.signal("HUP");
    until("it is said", || log_of(dir).contains("do not belong together: tls.crt and tls.key"));
    let log = log_of(dir);
    assert_eq!(log.matches("reloaded tls.crt and tls.key\n").count(), 1, "{log}");
    assert_eq!(log.matches("tls.crt and tls.key stay as they were cause=").count(), 1, "{log}");
    assert_eq!(shown(dir, "tokens.example.com", root).unwrap(), second);
    works_here(dir);
}

#[test]
fn sighup_tells_of_all_that_was_read_anew_and_of_what_stays() {
    let (pki, home) = (Pki::new(), tempfile::tempdir().unwrap());
    let dir = home.path();
    pki.leaf(dir, &["tokens.example.com"], &[]);
    fs::write(dir.join("clients.pem"), &pki.root.1).unwrap();
    fs::write(dir.join("key.pem"), KeyPair::generate().unwrap().serialize_pem()).unwrap();
    let flags = ["--client-ca-file=clients.pem", "--service-account-signing-key-file=key.pem"];
    let _ = fs::set_permissions(dir.join("key.pem"), Permissions::from_mode(0o600));
    let server = serve(dir, &[&FLAGS[..], &flags].concat());
    let said = |says: &str| until(says, || log_of(dir).contains(says));
    server.signal("HUP");
    said("reloaded tls.crt, tls.key and clients.pem\n");
    said("only a restart reads key.pem anew\n");
    // What everyone may write is refused as at the start, and takes the others with it.
    fs::set_permissions(dir.join("clients.pem"), Permissions::from_mode(0o666)).unwrap();
    server.signal("HUP");
    said(
        "tls.crt, tls.key and clients.pem stay as they were cause=\"clients.pem may be written by everyone (mode 666)",
    );
    drop(server);
    let own = tempfile::tempdir().unwrap();
    let server = serve(own.path(), &[]);
    server.signal("HUP");
    until("it is said", || log_of(own.path()).contains("made the serving certificate anew\n"));
}
