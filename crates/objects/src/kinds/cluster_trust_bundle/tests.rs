use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};
use serde_json::json;
use time::OffsetDateTime;

use super::*;
use crate::kinds::testing::texts;
use crate::schema::kind;
use crate::table::{Include, table};
use crate::validate::{self, Limits};

/// A certificate, PEM.
fn certificate(ca: IsCa) -> String {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = ca;
    params.self_signed(&KeyPair::generate().unwrap()).unwrap().pem()
}

fn anchor() -> String {
    certificate(IsCa::Ca(BasicConstraints::Unconstrained))
}

fn bundle(name: &str, signer: &str, text: &str) -> Object {
    let mut spec = json!({ "trustBundle": text });
    if !signer.is_empty() {
        spec["signerName"] = signer.into();
    }
    Object::from_value(json!({"metadata": {"name": name}, "spec": spec})).unwrap()
}

fn created(bundle: &Object) -> Vec<String> {
    let kind = kind("certificates.k8s.io", "clustertrustbundles").unwrap();
    texts(validate::create(kind, bundle, &Limits::default()))
}

fn updated(new: &Object, old: &Object) -> Vec<String> {
    let kind = kind("certificates.k8s.io", "clustertrustbundles").unwrap();
    texts(validate::update(kind, new, old, &Limits::default()))
}

const PREFIX: &str =
    "ClusterTrustBundle for signerName example.com/foo must be named with prefix example.com:foo:";

#[test]
fn a_bundle_is_named_after_its_signer() {
    let anchor = anchor();
    let at = |name: &str, text: &str| vec![format!("metadata.name: Invalid value: \"{name}\": {text}")];
    let subdomain = &names::subdomain("")[0];
    for (name, signer, want) in [
        ("foo", "", vec![]),
        ("example.com:foo:bar.baz", "example.com/foo", vec![]),
        ("k8s.io:a.b:v1", "k8s.io/a.b", vec![]),
        (
            "example.com:foo:bar",
            "",
            at(
                "example.com:foo:bar",
                "ClusterTrustBundle without signer name must not have \":\" in its name",
            ),
        ),
        ("Foo", "", at("Foo", subdomain)),
        ("foo", "example.com/foo", at("foo", PREFIX)),
        ("example.com:other:a", "example.com/foo", at("example.com:other:a", PREFIX)),
        ("example.com:foo:", "example.com/foo", at("example.com:foo:", subdomain)),
        ("example.com:foo:a:b", "example.com/foo", at("example.com:foo:a:b", subdomain)),
    ] {
        assert_eq!(created(&bundle(name, signer, &anchor)), want, "{name} {signer}");
    }
    let mut generated = bundle("", "example.com/foo", &anchor);
    generated.set(&["metadata", "generateName"], "example.com:foo:a-");
    generated.set(&["metadata", "name"], "example.com:foo:a-x2b4d");
    assert_eq!(created(&generated), Vec::<String>::new());
}

#[test]
fn a_signer_is_a_domain_and_a_path() {
    let long = |n| "a".repeat(n);
    let form = "must be a fully qualified domain and path of the form 'example.com/signer-name'";
    for (signer, want) in [
        ("example.com/foo".to_owned(), vec![]),
        ("a.b/c.d-e".into(), vec![]),
        ("example.com".into(), vec![format!("Invalid value: \"example.com\": {form}")]),
        ("a.b/c/d".into(), vec![format!("Invalid value: \"a.b/c/d\": {form}")]),
        (
            "example/foo".into(),
            vec![
                "Invalid value: \"example\": should be a domain with at least two segments separated by dots"
                    .into(),
            ],
        ),
        (
            "a.B/c".into(),
            vec![format!("Invalid value: \"a.B\": validating label \"B\": {}", names::label("B")[0])],
        ),
        (
            "a.b/".into(),
            vec![format!("Invalid value: \"\": validating label \"\": {}", names::subdomain("")[0])],
        ),
        (format!("{}/c", ["a"; 128].join(".")), vec!["Too long: may not be more than 253 bytes".into()]),
        (
            format!("a.b/{}", [long(250), long(250), long(99)].join(".")),
            vec!["Too long: may not be more than 571 bytes".into()],
        ),
    ] {
        let want: Vec<_> = want.into_iter().map(|text| format!("spec.signerName: {text}")).collect();
        let mut errors = Findings::default();
        signer_name(&mut errors, SIGNER, &signer);
        assert_eq!(texts(errors), want, "{signer}");
    }
    assert_eq!(created(&bundle("a.b:", "a.b/", &anchor())).len(), 2, "the object's is looked at");
}

#[test]
fn a_bundle_holds_certificates_of_cas_and_nothing_else() {
    let (one, two, leaf) = (anchor(), anchor(), certificate(IsCa::NoCa));
    let key = KeyPair::generate().unwrap().serialize_pem();
    let headers = one.replacen("-----\n", "-----\nProc-Type: 4,X\n\n", 1);
    let junk = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let longer = {
        let mut der = blocks(&one)[0].der.clone();
        der.push(0);
        format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", BASE64_STANDARD.encode(der))
    };
    let at = |text: &str| vec![format!("spec.trustBundle: Invalid value: \"<value omitted>\": {text}")];
    for (text, want) in [
        (one.clone(), vec![]),
        (format!("{one}{two}"), vec![]),
        // Upstream passes these over.
        (format!("# two\r\n{}more\n{two}", one.replace('\n', "\r\n")), vec![]),
        (format!("{one}-----BEGIN CERTIFICATE-----\n{two}"), vec![]),
        (String::new(), at("at least one trust anchor must be provided")),
        ("no PEM".into(), at("at least one trust anchor must be provided")),
        (one.replace("-----END", "----END"), at("at least one trust anchor must be provided")),
        (format!("{one}{key}"), at("entry 1 has bad block type: PRIVATE KEY")),
        (headers, at("entry 0 has PEM block headers")),
        (format!("{one}{junk}"), at("entry 1 does not parse as X.509")),
        (longer, at("entry 0 does not parse as X.509")),
        (leaf.clone(), at("entry 0 does not have the CA bit set")),
        (
            format!("{leaf}{leaf}"),
            [at("entry 0 does not have the CA bit set"), at("entry 1 does not have the CA bit set")].concat(),
        ),
        (format!("{one}{two}{one}"), at("duplicate trust anchor (indices [0 2])")),
        (
            "x".repeat(MAX_BUNDLE + 1),
            vec!["spec.trustBundle: Too long: may not be more than 1048576 bytes".into()],
        ),
    ] {
        assert_eq!(created(&bundle("a", "", &text)), want, "{text:.200}");
    }
    assert_eq!(created(&bundle("a", "", &format!("{}{one}", "\n".repeat(MAX_BUNDLE - one.len())))), [""; 0]);
}

#[test]
fn only_the_anchors_may_change_and_what_was_stored_stays_valid() {
    let (one, two) = (anchor(), anchor());
    let old = bundle("example.com:foo:a", "example.com/foo", &one);
    assert_eq!(updated(&bundle("example.com:foo:a", "example.com/foo", &two), &old), [""; 0]);
    assert_eq!(updated(&bundle("example.com:foo:a", "example.com/foo", ""), &old).len(), 1);
    let immutable =
        |signer: &str| format!("spec.signerName: Invalid value: \"{signer}\": field is immutable");
    let other = updated(&bundle("example.com:foo:a", "example.com/bar", &one), &old);
    assert_eq!((other.len(), &other[1]), (2, &immutable("example.com/bar")));
    let none = updated(&bundle("example.com:foo:a", "", &one), &old);
    assert_eq!((none.len(), &none[1]), (2, &immutable("")));
    // By a version that read certificates otherwise.
    let stored = bundle("a", "", "junk");
    let mut labelled = stored.clone();
    labelled.set(&["metadata", "labels"], json!({"a": "b"}));
    assert_eq!(updated(&labelled, &stored), [""; 0]);
}

#[test]
fn a_bundles_row() {
    let bundles = kind("certificates.k8s.io", "clustertrustbundles").unwrap();
    for (spec, signer) in [(json!({"signerName": "a.b/c"}), "a.b/c"), (json!({}), "<none>")] {
        let bundle = Object::from_value(json!({"metadata": {"name": "x"}, "spec": spec})).unwrap();
        let table =
            table("meta.k8s.io/v1", bundles, [&bundle], Include::None, OffsetDateTime::UNIX_EPOCH, json!({}));
        assert_eq!(table["rows"][0]["cells"], json!(["x", signer]));
    }
}
