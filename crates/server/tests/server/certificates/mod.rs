//! Client certificates: the handshake has the key proved, and everything else is judged with each request.

pub mod peer;
pub mod pki;

use rcgen::{BasicConstraints, DnType, ExtendedKeyUsagePurpose, IsCa, KeyUsagePurpose};
use rustls::SupportedProtocolVersion;
use rustls::version::{TLS12, TLS13};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use time::Duration;
use tokensmith_core::access::authenticators::ClientCas;
use tokensmith_server::possession::Possession;

use crate::world::{JANE, START};
use peer::{Place, place};
use pki::{Ca, Client, ca_params, client_params, key};

const VERSIONS: [&SupportedProtocolVersion; 2] = [&TLS12, &TLS13];

/// It counts: the certificate says who it is.
async fn counts(place: &Place, what: &str, client: &Client) {
    for version in VERSIONS {
        let mut connection = place.connect(&place.client(Some(client), version)).await.unwrap();
        let (status, answer) = connection.who(None).await.unwrap();
        assert_eq!(status, 201, "{what}: {answer}");
        let user = &answer["status"]["userInfo"];
        assert_eq!(user["username"], "ann", "{what}");
        assert_eq!(user["groups"], serde_json::json!(["certified", "system:authenticated"]), "{what}");
        let id = user["extra"]["authentication.kubernetes.io/credential-id"][0].as_str().unwrap();
        assert!(id.starts_with("X509SHA256="), "{what}");
    }
}

/// It does not: alone it is refused, everywhere; a good token counts beside it, a bad one does not.
async fn counts_for_nothing(place: &Place, what: &str, client: &Client) {
    for version in VERSIONS {
        let mut connection = place.connect(&place.client(Some(client), version)).await.unwrap();
        for path in ["/readyz", "/version", "/api/v1/namespaces"] {
            let (status, answer) = connection.get(path, None).await.unwrap();
            assert_eq!((status, &answer["message"]), (401, &"Unauthorized".into()), "{what} {path}");
        }
        assert_eq!(connection.get("/readyz", Some(JANE)).await.unwrap().0, 200, "{what} with a token");
        let (status, answer) = connection.who(Some(JANE)).await.unwrap();
        assert_eq!((status, &answer["status"]["userInfo"]["username"]), (201, &"jane".into()), "{what}");
        assert_eq!(connection.get("/readyz", Some("not-a-token")).await.unwrap().0, 401, "{what}");
    }
}

#[tokio::test]
async fn a_certificate_that_a_trusted_ca_vouches_for_counts() {
    let ca = Ca::new("clients");
    let itself = Ca::of(client_params("ann"), key());
    let place = place(&[&Ca::new("other"), &ca, &itself]).await;
    counts(&place, "signed by the CA", &ca.client(client_params("ann"))).await;
    let between = ca.between(ca_params("between"));
    counts(&place, "by a CA between", &between.client(client_params("ann")).behind(&[&between])).await;
    let unrelated = Ca::new("unrelated");
    let shuffled = between.client(client_params("ann")).behind(&[&unrelated, &between, &ca]);
    counts(&place, "beside others", &shuffled).await;
    for (what, usages) in [
        ("without extended key usage", vec![]),
        ("for anything", vec![ExtendedKeyUsagePurpose::Any]),
        ("for both", vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth]),
    ] {
        let mut params = client_params("ann");
        params.extended_key_usages = usages;
        counts(&place, what, &ca.client(params)).await;
    }
    counts(&place, "X.509 v1, signed by the CA itself", &ca.client_v1(client_params("ann"))).await;
    counts(&place, "trusted by name", &itself.as_client()).await;
    // Nobody who shows nothing is asked for more.
    for version in VERSIONS {
        let mut connection = place.connect(&place.client(None, version)).await.unwrap();
        assert_eq!(connection.get("/readyz", None).await.unwrap().0, 200);
        assert_eq!(connection.get("/api/v1/namespaces", None).await.unwrap().0, 403, "anonymous");
    }
}

/// The wrong certificates, each with what is wrong with it.
fn wrong(ca: &Ca) -> Vec<(&'static str, Client)> {
    let life = |from, to| {
        let mut params = client_params("ann");
        (params.not_before, params.not_after) = (START + from, START + to);
        params
    };
    let usages = |usages: Vec<ExtendedKeyUsagePurpose>| {
        let mut params = client_params("ann");
        params.extended_key_usages = usages;
        params
    };
    let between = ca.between(ca_params("between"));
    let through = |ca: &Ca, by: &Ca| by.client(client_params("ann")).behind(&[by, ca]);
    let odd = |change: &dyn Fn(&mut rcgen::CertificateParams)| {
        let mut params = ca_params("odd");
        change(&mut params);
        let odd = ca.between(params);
        through(ca, &odd)
    };
    let mut foreign_v1 = Ca::new("clients").client_v1(client_params("ann"));
    foreign_v1.chain.push(ca.der.clone());
    let mut deep: Vec<Ca> = vec![ca.between(ca_params("deep 0"))];
    for at in 1..10 {
        let next = deep.last().unwrap().between(ca_params(&format!("deep {at}")));
        deep.push(next);
    }
    let long = deep.last().unwrap().client(client_params("ann")).behind(&deep.iter().collect::<Vec<_>>());
    let limited = ca.between(limited_params("limited", 0));
    let below = limited.between(ca_params("below"));
    let mut tampered = ca.client(client_params("ann"));
    let mut bytes = tampered.chain[0].to_vec();
    *bytes.last_mut().unwrap() ^= 1;
    tampered.chain[0] = bytes.into();
    let mut nameless = client_params("ann");
    nameless.distinguished_name.remove(DnType::CommonName);
    let mut is_ca = ca_params("ann");
    is_ca.distinguished_name.push(DnType::OrganizationName, "certified");
    let plain = ca.between(client_params("no CA"));
    let v1_between = ca.between_v1(ca_params("between"));
    vec![
        ("expired", ca.client(life(Duration::days(-2), Duration::seconds(-1)))),
        ("expired, X.509 v1", ca.client_v1(life(Duration::days(-2), Duration::seconds(-1)))),
        ("not yet valid", ca.client(life(Duration::seconds(1), Duration::days(2)))),
        ("not yet valid, X.509 v1", ca.client_v1(life(Duration::seconds(1), Duration::days(2)))),
        ("of a foreign CA", Ca::new("foreign").client(client_params("ann"))),
        ("of a foreign CA with the CA's name", Ca::new("clients").client(client_params("ann"))),
        ("X.509 v1 of a foreign CA with the CA's name", foreign_v1),
        ("signed by itself", Ca::of(client_params("ann"), key()).as_client()),
        ("signed by itself, with the CA's name", Ca::new("clients").as_client()),
        ("a server's alone", ca.client(usages(vec![ExtendedKeyUsagePurpose::ServerAuth]))),
        ("for code alone", ca.client(usages(vec![ExtendedKeyUsagePurpose::CodeSigning]))),
        ("with another signature", tampered),
        ("without a name", ca.client(nameless)),
        ("a CA's own", ca.client(is_ca)),
        ("without the CA between", between.client(client_params("ann"))),
        ("of an issuer that is no CA", plain.client(client_params("ann")).behind(&[&plain])),
        ("of a CA that may not sign", odd(&|p| p.key_usages = vec![KeyUsagePurpose::CrlSign])),
        ("of an expired CA", odd(&|p| p.not_after = START - Duration::seconds(1))),
        ("of a CA of servers", odd(&|p| p.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth])),
        ("of a CA too far below", below.client(client_params("ann")).behind(&[&below, &limited])),
        ("of X.509 v1, by a CA between", between.client_v1(client_params("ann")).behind(&[&between])),
        ("by a CA between of X.509 v1", v1_between.client(client_params("ann")).behind(&[&v1_between])),
        ("at the end of a long chain", long),
    ]
}

fn limited_params(name: &str, below: u8) -> rcgen::CertificateParams {
    let mut params = ca_params(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(below));
    params
}

#[tokio::test]
async fn a_wrong_certificate_counts_for_nothing_and_spoils_nothing() {
    let ca = Ca::new("clients");
    let place = place(&[&ca]).await;
    for (what, client) in wrong(&ca) {
        counts_for_nothing(&place, what, &client).await;
    }
}

#[tokio::test]
async fn a_file_of_cas_makes_no_ca_of_what_is_none() {
    let expired = {
        let mut params = ca_params("expired");
        params.not_after = START - Duration::seconds(1);
        Ca::of(params, key())
    };
    let of_servers = {
        let mut params = ca_params("of servers");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        Ca::of(params, key())
    };
    let no_ca = Ca::of(client_params("no CA"), key());
    let limited = Ca::of(limited_params("limited", 0), key());
    let below = limited.between(ca_params("below"));
    let place = place(&[&expired, &of_servers, &no_ca, &limited]).await;
    counts(&place, "just below", &limited.client(client_params("ann"))).await;
    for (what, client) in [
        ("of an expired CA", expired.client(client_params("ann"))),
        ("X.509 v1 of an expired CA", expired.client_v1(client_params("ann"))),
        ("of a CA of servers", of_servers.client(client_params("ann"))),
        ("of no CA", no_ca.client(client_params("ann"))),
        ("X.509 v1 of no CA", no_ca.client_v1(client_params("ann"))),
        ("too far below", below.client(client_params("ann")).behind(&[&below])),
    ] {
        counts_for_nothing(&place, what, &client).await;
    }
}

/// Who shows a certificate of someone else does not get through the handshake, whatever else it has.
#[tokio::test]
async fn the_key_is_proved_in_the_handshake() {
    let ca = Ca::new("clients");
    let place = place(&[&ca]).await;
    let others = |mut client: Client| {
        client.key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key().serialize_der()));
        client
    };
    let rsa = |mut client: Client| {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../keys/rsa2048.pem");
        client.key = PrivateKeyDer::from_pem_file(file).unwrap();
        client
    };
    let garbage = |bytes: &[u8]| {
        let mut client = ca.client(client_params("ann"));
        client.chain = vec![bytes.to_vec().into()];
        client
    };
    let der = ca.client(client_params("ann")).chain[0].to_vec();
    for (what, client) in [
        ("the key of another", others(ca.client(client_params("ann")))),
        ("the key of another, X.509 v1", others(ca.client_v1(client_params("ann")))),
        ("the key of another, for a foreign certificate", others(Ca::new("f").client(client_params("ann")))),
        ("a key of another kind", rsa(ca.client(client_params("ann")))),
        ("garbage", garbage(b"garbage")),
        ("half a certificate", garbage(&der[..der.len() / 2])),
        ("a certificate and more", garbage(&[der.as_slice(), b"x"].concat())),
    ] {
        for version in VERSIONS {
            // In TLS 1.3 the client hears of it with its first request.
            let answer = match place.connect(&place.client(Some(&client), version)).await {
                Ok(mut connection) => connection.get("/readyz", Some(JANE)).await.ok(),
                Err(_) => None,
            };
            assert_eq!(answer, None, "{what}");
        }
    }
}

#[tokio::test]
async fn a_certificate_ends_on_an_open_connection() {
    let ca = Ca::new("clients");
    let place = place(&[&ca]).await;
    let mut params = client_params("ann");
    params.not_after = START + Duration::seconds(60);
    let client = ca.client(params);
    for version in VERSIONS {
        let clock = &place.world.clock;
        clock.set(START);
        let config = place.client(Some(&client), version);
        let mut connection = place.connect(&config).await.unwrap();
        assert_eq!(connection.who(None).await.unwrap().0, 201);
        clock.set(START + Duration::seconds(60));
        assert_eq!(connection.who(None).await.unwrap().0, 201, "its last second");
        clock.set(START + Duration::seconds(61));
        assert_eq!(connection.who(None).await.unwrap().0, 401);
        assert_eq!(connection.who(Some(JANE)).await.unwrap().0, 201, "a token counts");
        // A resumed session brings the certificate of the first.
        let mut resumed = place.connect(&config).await.unwrap();
        assert_eq!(resumed.who(None).await.unwrap().0, 401);
        clock.set(START - Duration::days(2));
        assert_eq!(connection.who(None).await.unwrap().0, 401, "not yet valid");
        clock.set(START);
        assert_eq!(connection.who(None).await.unwrap().0, 201);
        assert_eq!(resumed.who(None).await.unwrap().0, 201);
    }
}

#[tokio::test]
async fn other_cas_count_on_open_connections() {
    let (first, second) = (Ca::new("first"), Ca::new("second"));
    let place = place(&[&first]).await;
    let client = second.client(client_params("ann"));
    let mut connection = place.connect(&place.client(Some(&client), &TLS13)).await.unwrap();
    assert_eq!(connection.who(None).await.unwrap().0, 401);
    place.clients.replace(ClientCas::parse(std::slice::from_ref(&second.der)).unwrap());
    assert_eq!(connection.who(None).await.unwrap().0, 201);
    place.clients.replace(ClientCas::parse(std::slice::from_ref(&first.der)).unwrap());
    assert_eq!(connection.who(None).await.unwrap().0, 401);
}

#[test]
fn the_cas_are_named_to_clients() {
    use rustls::server::danger::ClientCertVerifier;
    let ca = Ca::new("clients");
    let cas = ClientCas::parse(std::slice::from_ref(&ca.der)).unwrap();
    let verifier = Possession::new(&cas, &rustls::crypto::aws_lc_rs::default_provider());
    assert!(verifier.offer_client_auth() && !verifier.client_auth_mandatory());
    let names: Vec<_> = verifier.root_hint_subjects().iter().map(|name| name.as_ref().to_vec()).collect();
    let (_, ca) = x509_parser::parse_x509_certificate(&ca.der).unwrap();
    assert_eq!(names, [ca.subject().as_raw()]);
    assert!(ClientCas::parse(&[b"junk".to_vec().into()]).is_err());
}
