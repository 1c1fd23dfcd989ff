//! ML-DSA: the shapes of RFC 9964 and RFC 9881. That it signs and verifies is tested with all other algorithms.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures::FutureExt;
use ring::digest::{SHA256, digest};
use serde_json::Value;

use crate::keys::{
    Algorithm, KeyError, LocalSigner, PrivateKey, PrivatePem, PublicKey, Signer, jwks_gcp, pem,
};
use crate::tokens::jws;

const SIZES: [(Algorithm, u8, usize, usize); 3] = [
    (Algorithm::MlDsa44, 0x11, 1312, 2420),
    (Algorithm::MlDsa65, 0x12, 1952, 3309),
    (Algorithm::MlDsa87, 0x13, 2592, 4627),
];

#[test]
fn a_key_is_an_akp_jwk() {
    for (algorithm, arc, public, signature) in SIZES {
        let key = PrivateKey::generate(algorithm).unwrap();
        let jwk: Value = serde_json::from_str(&key.public().jwk()).unwrap();
        let members: Vec<_> = jwk.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(members, ["use", "kty", "kid", "alg", "pub"]);
        assert_eq!((&jwk["kty"], &jwk["alg"]), (&Value::from("AKP"), &Value::from(algorithm.as_str())));
        let bytes = URL_SAFE_NO_PAD.decode(jwk["pub"].as_str().unwrap()).unwrap();
        assert_eq!(bytes.len(), public);
        // RFC 9881 §4: the algorithm identifier has no parameters; the key is in the bit string as it is.
        let spki = key.public().spki();
        let head = [6, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 3, arc, 3, 0x82];
        assert!(spki.windows(head.len()).any(|w| w == head) && spki.ends_with(&bytes));
        let signer = LocalSigner::new(&key).unwrap();
        assert_eq!(signer.sign(b"message").now_or_never().unwrap().unwrap().len(), signature);
        let token = jws::sign(&signer, b"{}").now_or_never().unwrap().unwrap();
        let header = URL_SAFE_NO_PAD.decode(token.split('.').next().unwrap()).unwrap();
        let expected = format!(r#"{{"alg":"{algorithm}","kid":"{}"}}"#, key.public().key_id());
        assert_eq!(header, expected.as_bytes());
        assert_eq!(jwks_gcp([key.public()]).unwrap_err().left_out, [key.public().key_id()]);
        let longer = [spki, &[0]].concat();
        assert_eq!(PublicKey::from_spki(&longer).unwrap_err(), KeyError::Malformed { what: "public key" });
    }
}

/// RFC 9881 §6: the seed form of PKCS#8, which other programs write.
fn from_seed(arc: u8, seed: [u8; 32]) -> (PrivateKey, Vec<u8>) {
    let mut pkcs8 = vec![0x30, 0x34, 2, 1, 0, 0x30, 0x0b, 6, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 3, arc];
    pkcs8.extend([4, 0x22, 0x80, 0x20]);
    pkcs8.extend(seed);
    let text = pem::write(pem::PRIVATE_KEY, &pkcs8);
    (PrivateKey::from_pem(&PrivatePem::new(text.as_bytes())).unwrap(), pkcs8)
}

#[test]
fn a_seed_is_a_private_key() {
    for (algorithm, arc, ..) in SIZES {
        let (key, pkcs8) = from_seed(arc, [7; 32]);
        assert_eq!(key.public().algorithm(), algorithm);
        assert_eq!(key.pkcs8(), pkcs8, "the seed is kept, so that it can be exported");
        LocalSigner::new(&key).unwrap();
    }
}

/// RFC 9964, appendix A.1: the JWK's thumbprint (RFC 7638) pins every byte of `pub`.
#[test]
fn the_key_of_rfc_9964() {
    let (key, _) = from_seed(0x11, [0; 32]);
    let jwk: Value = serde_json::from_str(&key.public().jwk()).unwrap();
    let required = format!(r#"{{"alg":{},"kty":{},"pub":{}}}"#, jwk["alg"], jwk["kty"], jwk["pub"]);
    let thumbprint = URL_SAFE_NO_PAD.encode(digest(&SHA256, required.as_bytes()));
    assert_eq!(thumbprint, "T4xl70S7MT6Zeq6r9V9fPJGVn76wfnXJ21-gyo0Gu6o");
}
