use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use futures::FutureExt;
use serde_json::{Value, json};
use tokensmith_core::keys::{LocalSigner, PrivateKey};
use tokensmith_core::tokens::jws;

use super::super::Verdict::{self, Fails, Holds, Unchecked};
use super::*;

/// A key with its JWK under the name `k`.
fn key(algorithm: Algorithm) -> (LocalSigner, Value) {
    let key = PrivateKey::generate(algorithm).unwrap();
    let mut jwk: Value = serde_json::from_str(&key.public().jwk()).unwrap();
    jwk["kid"] = "k".into();
    (LocalSigner::new(&key).unwrap(), jwk)
}

/// A token that the signer has signed, under the name `k`.
fn signed(signer: &LocalSigner, header: Value) -> UnverifiedToken {
    use tokensmith_core::keys::Signer;
    let part = |v: Value| BASE64.encode(v.to_string());
    let text = format!("{}.{}", part(header), part(json!({ "iss": "i" })));
    let signature = signer.sign(text.as_bytes()).now_or_never().unwrap().unwrap();
    UnverifiedToken::parse(&format!("{text}.{}", BASE64.encode(signature))).unwrap()
}

fn verdicts(token: &UnverifiedToken, keys: &[Value]) -> [Verdict; 2] {
    let set = PublishedKeys::parse(json!({ "keys": keys }).to_string().as_bytes()).unwrap();
    judge(token, &set).map(|rule| rule.verdict)
}

fn with(jwk: &Value, members: Value) -> Value {
    let mut jwk = jwk.clone();
    for (name, value) in members.as_object().unwrap() {
        jwk[name] = value.clone();
    }
    jwk
}

#[test]
fn every_algorithm_is_checked() {
    for &algorithm in Algorithm::ALL {
        let (signer, jwk) = key(algorithm);
        let token = signed(&signer, json!({ "alg": algorithm, "kid": "k" }));
        assert_eq!(verdicts(&token, std::slice::from_ref(&jwk)), [Holds, Holds], "{algorithm}");
        let (_, other) = key(algorithm);
        assert_eq!(verdicts(&token, std::slice::from_ref(&other)), [Holds, Fails], "{algorithm}");
        // Two keys of one name: which one signed is for the signature to tell.
        assert_eq!(verdicts(&token, &[other.clone(), jwk.clone()]), [Holds, Holds], "{algorithm}");
        // A key of a kind that is not known yet does not make the set unreadable.
        let strange = json!({ "kty": "NEW", "alg": "NEW-1", "kid": "x" });
        assert_eq!(verdicts(&token, &[strange, jwk]), [Holds, Holds], "{algorithm}");
    }
    let signer = LocalSigner::new(&PrivateKey::generate(Algorithm::ES256).unwrap()).unwrap();
    let text = jws::sign(&signer, br#"{"iss":"i"}"#).now_or_never().unwrap().unwrap();
    let jwk: Value = serde_json::from_str(&signer.public().jwk()).unwrap();
    assert_eq!(verdicts(&UnverifiedToken::parse(&text).unwrap(), &[jwk]), [Holds, Holds], "as it is minted");
}

#[test]
fn a_header_cannot_choose_how_it_is_checked() {
    let (signer, jwk) = key(Algorithm::ES256);
    for header in [
        json!({ "alg": "ES512", "kid": "k" }),
        json!({ "alg": "ML-DSA-44", "kid": "k" }),
        json!({ "alg": "ML-DSA-87", "kid": "k" }),
        json!({ "alg": "ES384", "kid": "k" }),
        json!({ "alg": "EdDSA", "kid": "k" }),
        json!({ "alg": "RS256", "kid": "k" }),
        json!({ "alg": "PS256", "kid": "k" }),
        json!({ "alg": "ES256K", "kid": "k" }),
        json!({ "alg": "HS256", "kid": "k" }),
        json!({ "alg": "none", "kid": "k" }),
        json!({ "alg": "NONE", "kid": "k" }),
        json!({ "alg": "es256", "kid": "k" }),
        json!({ "alg": "", "kid": "k" }),
        json!({ "alg": 7, "kid": "k" }),
        json!({ "alg": ["ES256"], "kid": "k" }),
        json!({ "kid": "k" }),
        json!({ "alg": "ES256", "kid": "k", "crit": ["x"] }),
        json!({ "alg": "ES256", "kid": "k", "crit": ["b64"], "b64": false }),
        json!({ "alg": "ES256", "kid": "k", "b64": false }),
    ] {
        let token = signed(&signer, header.clone());
        let found = verdicts(&token, std::slice::from_ref(&jwk));
        assert_eq!(found[1], Fails, "{header}");
    }
    let good = signed(&signer, json!({ "alg": "ES256", "kid": "k", "typ": "JWT", "b64": true }));
    assert_eq!(verdicts(&good, std::slice::from_ref(&jwk)), [Holds, Holds]);
    let twice = good.text.split_once('.').unwrap().1;
    let header = BASE64.encode(r#"{"alg":"ES256","alg":"ES256","kid":"k"}"#);
    let twice = UnverifiedToken::parse(&format!("{header}.{twice}")).unwrap();
    assert_eq!(verdicts(&twice, &[jwk])[1], Fails, "a member that is there twice");
}

#[test]
fn the_key_is_the_one_that_is_named() {
    let (signer, jwk) = key(Algorithm::ES256);
    let (_, other) = key(Algorithm::ES384);
    let other = with(&other, json!({ "kid": "o" }));
    let keys = [other.clone(), jwk.clone()];
    let unnamed = signed(&signer, json!({ "alg": "ES256" }));
    assert_eq!(verdicts(&unnamed, &keys), [Holds, Holds], "all are tried");
    assert_eq!(verdicts(&unnamed, std::slice::from_ref(&other)), [Holds, Fails]);
    assert_eq!(verdicts(&unnamed, &[]), [Fails, Unchecked]);
    let unknown = signed(&signer, json!({ "alg": "ES256", "kid": "gone" }));
    assert_eq!(verdicts(&unknown, &keys), [Fails, Unchecked]);
    let odd = signed(&signer, json!({ "alg": "ES256", "kid": 7 }));
    assert_eq!(verdicts(&odd, &keys), [Fails, Unchecked]);
    let wrong = signed(&signer, json!({ "alg": "ES256", "kid": "o" }));
    assert_eq!(verdicts(&wrong, &keys), [Holds, Fails], "another key's name");
}

#[test]
fn a_key_that_cannot_be_read_has_checked_nothing() {
    let (signer, jwk) = key(Algorithm::ES256);
    let token = signed(&signer, json!({ "alg": "ES256", "kid": "k" }));
    for strange in [
        json!({ "kty": "NEW", "kid": "k" }),
        json!({ "kty": "AKP", "alg": "SLH-DSA-SHA2-128s", "kid": "k", "pub": "AAAA" }),
        json!({ "kty": "AKP", "alg": "ML-DSA-44", "kid": "k", "pub": "AAAA" }),
        json!({ "kty": "OKP", "crv": "Ed448", "kid": "k", "x": "AAAA" }),
        with(&jwk, json!({ "crv": "secp256k1" })),
        with(&jwk, json!({ "alg": "ES256K" })),
        with(&jwk, json!({ "x": "AAAA" })),
        with(&jwk, json!({ "kty": 7 })),
        json!({ "kty": "oct", "kid": "k", "k": "AAAA" }),
    ] {
        let found = verdicts(&token, std::slice::from_ref(&strange));
        assert_eq!(found, [Unchecked, Unchecked], "{strange}");
        let (_, other) = key(Algorithm::ES256);
        // Nor has another one of the same name told that it is forged.
        assert_eq!(verdicts(&token, &[other, strange.clone()]), [Holds, Unchecked], "{strange}");
        assert_eq!(verdicts(&token, &[strange.clone(), jwk.clone()]), [Holds, Holds], "{strange}");
    }
    // A secret proves nothing, whatever the set has.
    let secret = signed(&signer, json!({ "alg": "HS256", "kid": "k" }));
    let oct = json!({ "kty": "oct", "kid": "k", "k": "AAAA" });
    assert_eq!(verdicts(&secret, &[oct])[1], Fails);
}

#[test]
fn a_key_that_nobody_may_use_verifies_nothing() {
    let (signer, jwk) = key(Algorithm::ES256);
    let token = signed(&signer, json!({ "alg": "ES256", "kid": "k" }));
    // An RSA key of 1024 bits.
    let weak = json!({ "kty": "RSA", "kid": "k", "e": "AQAB", "n": BASE64.encode([0xc5; 128]) });
    for unfit in [with(&jwk, json!({ "use": "enc" })), with(&jwk, json!({ "key_ops": ["encrypt"] })), weak] {
        assert_eq!(verdicts(&token, std::slice::from_ref(&unfit)), [Fails, Unchecked], "{unfit}");
    }
}
