//! Reading what issuers publish: what they may write, and what no reader should take.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures::FutureExt;
use serde_json::{Value, json};

use super::public;
use crate::keys::{
    Algorithm, JwkError, KeyError, LocalSigner, PrivateKey, PublicKey, PublishedKeys, Signer, jwks,
};
use crate::tokens::jws::{self, Jws, SignatureError};

fn jwk(name: &str) -> Value {
    serde_json::from_str(&public(name).jwk()).unwrap()
}

/// The key with some members replaced; null takes one away.
fn with(name: &str, members: Value) -> Result<PublicKey, JwkError> {
    let mut jwk = jwk(name);
    for (key, value) in members.as_object().unwrap() {
        match value {
            Value::Null => jwk.as_object_mut().unwrap().remove(key),
            value => jwk.as_object_mut().unwrap().insert(key.clone(), value.clone()),
        };
    }
    PublicKey::from_jwk(&jwk.to_string())
}

#[test]
fn what_is_published_is_read_back() {
    for &algorithm in Algorithm::ALL {
        let key = PrivateKey::generate(algorithm).unwrap();
        let read = PublicKey::from_jwk(&key.public().jwk()).unwrap();
        assert_eq!((&read, read.key_id()), (key.public(), key.public().key_id()));
        let set = PublishedKeys::parse(&jwks(&[key.public().clone().into()])).unwrap();
        assert_eq!(set.candidates(read.key_id()), [read]);
        assert!(set.candidates("").is_empty() && set.skipped() == 0);
    }
}

#[test]
fn members_that_do_not_matter_may_be_there_or_not() {
    let plain = public("rsa2048.pub.pem");
    for members in [
        json!({"use": null, "alg": null, "kid": null}),
        json!({"key_ops": ["verify"]}),
        json!({"key_ops": ["sign", "verify"], "x5t": "AAAA", "x5c": ["not looked at"], "n8": [1]}),
        json!({"use": null, "key_ops": null, "e": "AAEAAQ"}),
    ] {
        assert_eq!(with("rsa2048.pub.pem", members.clone()), Ok(plain.clone()), "{members}");
    }
    let other = with("rsa2048.pub.pem", json!({"alg": "RS512"})).unwrap();
    assert_eq!(other.algorithm(), Algorithm::RS512);
    for name in ["p256.pub.pem", "p384.pub.pem", "p521.pub.pem", "ed25519.pub.pem"] {
        assert_eq!(with(name, json!({"alg": null})), Ok(public(name)));
    }
}

#[test]
fn what_is_no_key_for_signatures_is_refused() {
    use JwkError::{Malformed, Member, NotForSignatures, Type};
    let rsa = "rsa2048.pub.pem";
    for members in
        [json!({"use": "enc"}), json!({"use": ""}), json!({"key_ops": []}), json!({"key_ops": ["encrypt"]})]
    {
        assert_eq!(with(rsa, members), Err(NotForSignatures));
    }
    for alg in ["PS256", "HS256", "none", "RSA-OAEP", "rs256", ""] {
        assert!(matches!(with(rsa, json!({"alg": alg})), Err(JwkError::Algorithm(_))), "{alg}");
    }
    for (name, alg) in
        [(rsa, "ES256"), ("p256.pub.pem", "ES384"), ("p256.pub.pem", "RS256"), ("ed25519.pub.pem", "ES256")]
    {
        assert!(
            matches!(with(name, json!({"alg": alg})), Err(JwkError::Key(KeyError::Misfit { .. }))),
            "{name} {alg}"
        );
    }
    for (name, members) in [
        (rsa, json!({"kty": "oct", "k": "AAAA"})),
        (rsa, json!({"kty": "rsa"})),
        ("p256.pub.pem", json!({"crv": "secp256k1"})),
        ("p256.pub.pem", json!({"crv": null})),
        ("p256.pub.pem", json!({"kty": "OKP"})),
        ("ed25519.pub.pem", json!({"crv": "X25519"})),
    ] {
        assert_eq!(with(name, members.clone()), Err(Type), "{members}");
    }
    assert_eq!(with(rsa, json!({"n": null})), Err(Member("n")));
    assert_eq!(with(rsa, json!({"e": "AQAB="})), Err(Member("e")));
    assert_eq!(with("p256.pub.pem", json!({"y": "AAAA"})), Err(Member("y")));
    // Another curve's length, and a point that is on no curve.
    assert_eq!(with("p384.pub.pem", json!({"crv": "P-256", "alg": null})), Err(Member("x")));
    let zero = "A".repeat(43);
    for members in [json!({"x": zero}), json!({"x": zero, "y": zero})] {
        assert!(matches!(with("p256.pub.pem", members), Err(JwkError::Key(KeyError::Malformed { .. }))));
    }
    assert!(matches!(with("ed25519.pub.pem", json!({"x": "AAAA"})), Err(JwkError::Key(_))));
    assert_eq!(with(rsa, json!({"n": "AQAB"})), Err(JwkError::Key(KeyError::TooSmall { bits: 17 })));
    // With e = 1 a signature is its message, and anyone can sign.
    for e in ["AQ", "Ag", "AA", ""] {
        assert!(matches!(with(rsa, json!({"e": e})), Err(JwkError::Key(KeyError::Malformed { .. }))), "{e}");
    }
    for text in ["", "[]", "null", "\"x\"", "{", "{}", r#"{"kty":1}"#, r#"["RSA"]"#] {
        assert_eq!(PublicKey::from_jwk(text), Err(Malformed), "{text}");
    }
    let twice = public(rsa).jwk().replacen('{', r#"{"alg":"RS512","#, 1);
    assert_eq!(PublicKey::from_jwk(&twice), Err(Malformed));
}

#[test]
fn junk_does_not_make_a_set_unreadable() {
    let good = public("p256.pub.pem").jwk();
    let junk = r#"1, "x", null, [], {}, {"kty":"oct","kid":"k","k":"AAAA"}, {"kty":"RSA","kid":"k"}, {"kty":"EC","crv":"P-256","x":[],"y":2}"#;
    let nameless = with_kid(&good, Value::Null);
    let set =
        PublishedKeys::parse(format!(r#" {{"a":1,"keys":[{junk},{good},{nameless}],"z":{{}}}}"#).as_bytes())
            .unwrap();
    assert_eq!((set.len(), set.skipped()), (1, 9));
    let named: Vec<_> = set.passed_over().iter().filter(|p| p.kid.as_deref() == Some("k")).collect();
    assert_eq!((&named[0].why, &named[1].why), (&JwkError::Type, &JwkError::Member("n")));
    assert_eq!(set.passed_over()[8].why, JwkError::Member("kid"));
    assert_eq!(set.candidates(public("p256.pub.pem").key_id()).len(), 1);
    assert!(PublishedKeys::parse(br#"{"keys":[]}"#).unwrap().is_empty());
}

#[test]
fn names_are_the_issuers_own() {
    let [a, b] =
        ["p256.pub.pem", "rsa2048.pub.pem"].map(|name| with_kid(&public(name).jwk(), "2026-01".into()));
    let set = PublishedKeys::parse(format!(r#"{{"keys":[{a},{b},{a}]}}"#).as_bytes()).unwrap();
    // Both are kept: which one signed is for the signature to tell. The same key again is no other one.
    assert_eq!((set.len(), set.candidates("2026-01").len()), (2, 2));
    let fewer = PublishedKeys::parse(format!(r#"{{"keys":[{a}]}}"#).as_bytes()).unwrap();
    assert!(fewer.all_in(&set) && !set.all_in(&fewer) && set.all_in(&set));
    let renamed =
        PublishedKeys::parse(format!(r#"{{"keys":[{}]}}"#, with_kid(&a, "x".into())).as_bytes()).unwrap();
    assert!(!fewer.all_in(&renamed));
}

#[test]
fn limits() {
    use crate::keys::PublishedError::{Malformed, TooLong, TooMany};
    let set = |n: usize| format!(r#"{{"keys":[{}]}}"#, vec!["{}"; n].join(","));
    assert_eq!(PublishedKeys::parse(set(200).as_bytes()).unwrap().skipped(), 200);
    assert_eq!(PublishedKeys::parse(set(201).as_bytes()), Err(TooMany(201)));
    let long = vec![b' '; PublishedKeys::MAX_BYTES + 1];
    assert_eq!(PublishedKeys::parse(&long), Err(TooLong(long.len())));
    for text in [
        "",
        "[]",
        "{}",
        r#"{"keys":{}}"#,
        r#"{"keys":null}"#,
        r#"{"keys":[]"#,
        r#"[[]]"#,
        r#"{"keys":[],"keys":[]}"#,
    ] {
        assert_eq!(PublishedKeys::parse(text.as_bytes()), Err(Malformed), "{text}");
    }
    let deep = format!(r#"{{"keys":[{}]}}"#, "[".repeat(100_000));
    assert_eq!(PublishedKeys::parse(deep.as_bytes()), Err(Malformed));
}

#[test]
fn a_token_is_checked_with_the_keys_of_its_name() {
    let keys = [Algorithm::ES256, Algorithm::EdDSA].map(|a| PrivateKey::generate(a).unwrap());
    let signer = LocalSigner::new(&keys[0]).unwrap();
    let token = jws::sign(&signer, b"{}").now_or_never().unwrap().unwrap();
    let jws = Jws::parse(&token).unwrap();
    let [own, other] = [keys[0].public(), keys[1].public()];
    assert_eq!(jws.verify([other, own]), Ok(own));
    assert_eq!(jws.verify([other]), Err(SignatureError::Wrong));
    assert_eq!(jws.verify([]), Err(SignatureError::NoKey));
}

#[test]
fn a_header_that_asks_for_another_reading_verifies_nothing() {
    let signer = LocalSigner::new(&PrivateKey::generate(Algorithm::ES256).unwrap()).unwrap();
    for (extra, verifies) in [
        ("", true),
        (r#","typ":"JWT""#, true),
        (r#","b64":true"#, true),
        (r#","b64":false"#, false),
        (r#","b64":"true""#, false),
        (r#","crit":["exp"]"#, false),
        (r#","crit":["b64"],"b64":false"#, false),
        (r#","crit":[]"#, false),
    ] {
        let header = URL_SAFE_NO_PAD.encode(format!(r#"{{"alg":"ES256"{extra}}}"#));
        let text = format!("{header}.e30");
        let signature = signer.sign(text.as_bytes()).now_or_never().unwrap().unwrap();
        let token = format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature));
        let verified = Jws::parse(&token).unwrap().verify([signer.public()]).is_ok();
        assert_eq!(verified, verifies, "{extra}");
    }
}

fn with_kid(jwk: &str, kid: Value) -> String {
    let mut jwk: Value = serde_json::from_str(jwk).unwrap();
    jwk["kid"] = kid;
    jwk.to_string()
}
