//! Every algorithm from the making of a key to a token, and no token under another's name.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{file, private, public};
use crate::keys::Endpoints;
use crate::keys::seal::UnsealError;
use crate::keys::{
    Algorithm, Documents, Family, KeyError, LocalSigner, PrivateKey, PublicKey, SealKey, Signer, jwks_gcp,
};

fn sign(key: &PrivateKey, message: &[u8]) -> Vec<u8> {
    let signer = LocalSigner::new(key).unwrap();
    assert_eq!((signer.algorithm(), signer.key_id()), (key.public().algorithm(), key.public().key_id()));
    signer.sign(message).now_or_never().unwrap().unwrap()
}

#[test]
fn each_is_made_sealed_opened_signed_with_and_verified() {
    let seal = SealKey::generate();
    for &algorithm in Algorithm::ALL {
        let made = PrivateKey::generate(algorithm).unwrap();
        let id = made.public().key_id();
        assert_eq!(made.public().algorithm(), algorithm);
        let opened = seal.open(id, algorithm, &seal.seal(&made)).unwrap();
        assert_eq!(opened.public(), made.public());
        // What the ring keeps of the public half.
        let public = PublicKey::from_spki_for(made.public().spki(), algorithm).unwrap();
        assert_eq!((&public, public.key_id()), (made.public(), id));
        let signature = sign(&opened, b"message");
        assert!(public.verify(algorithm, b"message", &signature), "{algorithm}");
        assert!(!public.verify(algorithm, b"massage", &signature), "{algorithm}");
        assert!(!public.verify(algorithm, b"message", &signature[1..]), "{algorithm}");
        assert!(!public.verify(algorithm, b"message", &[]), "{algorithm}");
        let mut changed = signature.clone();
        changed[signature.len() / 2] ^= 1;
        assert!(!public.verify(algorithm, b"message", &changed), "{algorithm}");
        // A token cannot choose how it is checked.
        for &other in Algorithm::ALL.iter().filter(|a| **a != algorithm) {
            assert!(!public.verify(other, b"message", &signature), "{algorithm} as {other}");
        }
        // Nor is it another key's.
        let stranger = PrivateKey::generate(algorithm).unwrap();
        assert!(!stranger.public().verify(algorithm, b"message", &signature), "{algorithm}");
    }
}

/// What `keys poke` puts where a signature would be: as long as one, and no key's.
#[test]
fn all_ones_are_no_keys_signature() {
    for &algorithm in Algorithm::ALL {
        let key = PrivateKey::generate(algorithm).unwrap();
        let public = key.public();
        assert_eq!(public.signature_len(), sign(&key, b"message").len(), "{algorithm}");
        assert!(!public.verify(algorithm, b"message", &vec![0xff; public.signature_len()]), "{algorithm}");
    }
}

#[test]
fn signatures_have_the_length_of_jws() {
    for (name, length) in
        [("p256", 64), ("p384", 96), ("p521", 132), ("ed25519", 64), ("rsa2048", 256), ("p256.sec1", 64)]
    {
        assert_eq!(sign(&private(&format!("{name}.pem")), b"message").len(), length, "{name}");
    }
}

#[test]
fn an_rsa_key_has_the_one_algorithm_that_it_was_given() {
    let all = [Algorithm::RS256, Algorithm::RS384, Algorithm::RS512];
    let keys = all.map(|a| private("rsa2048.pem").with_algorithm(a).unwrap());
    for key in &keys {
        assert_eq!(
            key.public().key_id(),
            keys[0].public().key_id(),
            "the id is the modulus', not the algorithm's"
        );
        let signature = sign(key, b"message");
        for other in &keys {
            let same = key.public().algorithm() == other.public().algorithm();
            assert_eq!(key.public() == other.public(), same);
            for claimed in all {
                let good = same && claimed == key.public().algorithm();
                assert_eq!(
                    other.public().verify(claimed, b"message", &signature),
                    good,
                    "{key:?} {other:?} {claimed}"
                );
            }
        }
    }
}

#[test]
fn an_algorithm_must_go_with_the_key() {
    for name in ["rsa2048", "p256", "p384", "p521", "ed25519"] {
        let family = private(&format!("{name}.pem")).public().family();
        for &algorithm in Algorithm::ALL {
            let key = private(&format!("{name}.pem")).with_algorithm(algorithm);
            let half = PublicKey::from_spki_for(public(&format!("{name}.pub.pem")).spki(), algorithm);
            match algorithm.family() == family {
                true => assert_eq!(key.unwrap().public(), &half.unwrap()),
                false => {
                    let misfit = KeyError::Misfit { key: family, algorithm };
                    assert_eq!((key.err(), half.err()), (Some(misfit.clone()), Some(misfit)));
                }
            }
        }
    }
    let error = KeyError::Misfit { key: Family::Rsa, algorithm: Algorithm::ES256 }.to_string();
    assert_eq!(error, "ES256 does not go with an RSA key, which signs with RS256, RS384 or RS512");
}

#[test]
fn a_sealed_key_opens_only_as_what_it_is() {
    let (seal, key) = (SealKey::generate(), private("p256.pem"));
    let sealed = seal.seal(&key);
    let id = key.public().key_id();
    assert!(matches!(seal.open(id, Algorithm::RS256, &sealed), Err(UnsealError::Key(_))));
    assert!(matches!(seal.open("other", Algorithm::ES256, &sealed), Err(UnsealError::Broken)));
    assert!(matches!(SealKey::generate().open(id, Algorithm::ES256, &sealed), Err(UnsealError::Broken)));
    assert!(matches!(seal.open(id, Algorithm::ES256, &sealed[..sealed.len() - 1]), Err(UnsealError::Broken)));
}

#[test]
fn discovery_names_algorithms_sorted_and_the_key_set_holds_every_kind() {
    let keys = ["rsa2048", "ed25519", "p521", "p256", "p384"];
    let mut keys: Vec<_> = keys.iter().map(|n| Arc::new(public(&format!("{n}.pub.pem")))).collect();
    let rs384 = private("rsa2048-other.pem").with_algorithm(Algorithm::RS384).unwrap();
    keys.push(Arc::new(rs384.public().clone()));
    let mut endpoints = Endpoints { jwks_uri: "https://issuer/jwks".into(), authorization: None };
    let documents = Documents::render("https://issuer", &endpoints, &keys, Duration::ZERO);
    let discovery: Value = serde_json::from_slice(&documents.discovery.unwrap().bytes).unwrap();
    assert!(discovery.get("authorization_endpoint").is_none(), "Kubernetes has none");
    endpoints.authorization = Some("https://issuer/none".into());
    let strict = Documents::render("https://issuer", &endpoints, &keys, Duration::ZERO).discovery.unwrap();
    let strict: Value = serde_json::from_slice(&strict.bytes).unwrap();
    assert_eq!(strict["authorization_endpoint"], "https://issuer/none");
    assert_eq!(
        discovery["id_token_signing_alg_values_supported"],
        json!(["ES256", "ES384", "ES512", "EdDSA", "RS256", "RS384"])
    );
    let jwks: Value = serde_json::from_slice(&documents.jwks.unwrap().bytes).unwrap();
    let members = |i: usize| jwks["keys"][i].as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(members(0), ["use", "kty", "kid", "alg", "n", "e"]);
    assert_eq!(members(1), ["use", "kty", "kid", "crv", "alg", "x"]);
    assert_eq!(members(2), ["use", "kty", "kid", "crv", "alg", "x", "y"]);
    assert_eq!((&jwks["keys"][1]["kty"], &jwks["keys"][1]["alg"]), (&json!("OKP"), &json!("EdDSA")));
    assert_eq!(jwks["keys"][2]["crv"], "P-521");
    assert_eq!(jwks["keys"][5]["alg"], "RS384");
}

#[test]
fn gcp_gets_rsa_and_ec_with_exactly_its_members() {
    let keys = ["rsa2048", "ed25519", "p384"].map(|n| public(&format!("{n}.pub.pem")));
    let upload = jwks_gcp(&keys).unwrap();
    assert_eq!(upload.left_out, [keys[1].key_id()]);
    let json: Value = serde_json::from_slice(&upload.json).unwrap();
    let members: Vec<Vec<_>> = json["keys"]
        .as_array()
        .unwrap()
        .iter()
        .map(|key| key.as_object().unwrap().keys().map(String::as_str).collect())
        .collect();
    assert_eq!(
        members,
        [vec!["kty", "alg", "use", "kid", "n", "e"], vec!["kty", "alg", "use", "kid", "x", "y", "crv"]]
    );
    assert_eq!(json["keys"][0]["use"], "sig");
    assert_eq!(json["keys"][1]["crv"], "P-384");
    // The values are those of the published set.
    let published: Value = serde_json::from_str(&keys[2].jwk()).unwrap();
    for member in ["kty", "alg", "kid", "x", "y"] {
        assert_eq!(json["keys"][1][member], published[member], "{member}");
    }
    let none = jwks_gcp([&keys[1]]).unwrap_err();
    assert_eq!(none.left_out, [keys[1].key_id()]);
    assert!(none.to_string().contains(keys[1].key_id()));
    assert!(jwks_gcp([]).is_err());
}

proptest! {
    #[test]
    fn a_public_key_that_is_none_never_panics(der in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = PublicKey::from_spki(&der);
    }

    /// One byte of a real key changed: refused, or another key; never the same key from other bytes.
    #[test]
    fn an_id_belongs_to_one_key(at in any::<prop::sample::Index>(), to in any::<u8>()) {
        for name in ["rsa2048.pub.pem", "p256.pub.pem", "p521.pub.pem", "ed25519.pub.pem"] {
            let key = public(name);
            let mut spki = key.spki().to_vec();
            let at = at.index(spki.len());
            let same = spki[at] == to;
            spki[at] = to;
            if let Ok(read) = PublicKey::from_spki(&spki) {
                prop_assert_eq!(read.key_id() == key.key_id() && read.spki() == key.spki(), same);
            }
        }
    }
}

/// A key's id is a hash over its encoding: two encodings would be two keys.
#[test]
fn a_key_has_one_encoding() {
    let malformed = |der: &[u8]| matches!(PublicKey::from_spki(der), Err(KeyError::Malformed { .. }));
    // P-256: `30 59, 30 13 …, 03 42 00 POINT`.
    let p256 = public("p256.pub.pem").spki().to_vec();
    let (algorithm, bits) = p256[2..].split_at(0x15);
    let written = |head: &[u8], algorithm: &[u8], bits: &[u8]| [head, algorithm, bits].concat();
    assert!(PublicKey::from_spki(&written(&[0x30, 0x59], algorithm, bits)).is_ok());
    for (what, der) in [
        ("a long form for a short length", written(&[0x30, 0x81, 0x59], algorithm, bits)),
        ("an indefinite length", [written(&[0x30, 0x80], algorithm, bits), vec![0, 0]].concat()),
        ("something after the end", [p256.as_slice(), &[0]].concat()),
        ("cut short", p256[..p256.len() - 1].to_vec()),
        ("no parameters", written(&[0x30, 0x4f], &[0x30, 9, 6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1], bits)),
        ("unused bits", [&p256[..p256.len() - 66], &[1], &p256[p256.len() - 65..]].concat()),
    ] {
        let refused =
            malformed(&der) || matches!(PublicKey::from_spki(&der), Err(KeyError::Unsupported { .. }));
        assert!(refused, "{what}");
    }
    // RSA: `30 82 01 0a, 02 82 01 01 00 N, 02 03 01 00 01` in a bit string.
    let rsa = public("rsa2048.pub.pem").spki().to_vec();
    let n = &rsa[rsa.len() - 5 - 256..rsa.len() - 5];
    let wrapped = |n: &[u8], e: &[u8]| {
        let tlv = |tag: u8, content: &[u8]| {
            [&[tag, 0x82, (content.len() >> 8) as u8, content.len() as u8], content].concat()
        };
        let numbers = [tlv(2, n), [&[2, e.len() as u8], e].concat()].concat();
        let null = [0x30, 13, 6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1, 5, 0];
        tlv(0x30, &[&null, tlv(3, &[&[0], tlv(0x30, &numbers).as_slice()].concat()).as_slice()].concat())
    };
    let e = [1, 0, 1];
    assert_eq!(wrapped(&[&[0], n].concat(), &e), rsa);
    for (what, der) in [
        ("a zero too many", wrapped(&[&[0, 0], n].concat(), &e)),
        ("negative", wrapped(n, &e)),
        ("a padded exponent", wrapped(&[&[0], n].concat(), &[0, 1, 0, 1])),
        ("no exponent", wrapped(&[&[0], n].concat(), &[])),
        ("an exponent of zero", wrapped(&[&[0], n].concat(), &[0])),
    ] {
        assert!(malformed(&der), "{what}");
    }
}

#[test]
fn files_that_kubernetes_takes_keep_their_algorithm() {
    for (name, algorithm) in [
        ("rsa2048.crt.pem", Algorithm::RS256),
        ("rsa2048.pkcs1.pem", Algorithm::RS256),
        ("p256.sec1.pem", Algorithm::ES256),
        ("p384.pem", Algorithm::ES384),
        ("p521.pem", Algorithm::ES512),
        ("ed25519.pem", Algorithm::EdDSA),
    ] {
        assert_eq!(public(name).algorithm(), algorithm, "{name}");
    }
    assert_eq!(public("rsa2048.crt.pem"), public("rsa2048.pub.pem"));
    let both = [file("rsa2048.pub.pem"), file("ed25519.pub.pem")].concat();
    assert_eq!(PublicKey::list_from_pem(&both).unwrap().len(), 2);
}
