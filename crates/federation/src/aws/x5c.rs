//! The certificate of a JWK (`x5c`, RFC 7517 §4.7), which must be that of the key.

use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use serde_json::Value;
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::public_key::PublicKey;

/// Whether a key without a certificate stands there, or the first of its certificates has the same key. "The key in the first
/// certificate MUST match the public key represented by other members of the JWK."
pub(super) fn agrees(jwk: &Value) -> bool {
    match jwk.get("x5c") {
        None => true,
        Some(chain) => of_certificate(jwk, chain).unwrap_or(false),
    }
}

fn of_certificate(jwk: &Value, chain: &Value) -> Option<bool> {
    let first = BASE64_STANDARD.decode(chain.as_array()?.first()?.as_str()?).ok()?;
    let (_, certificate) = X509Certificate::from_der(&first).ok()?;
    let member = |name: &str| BASE64_URL_SAFE_NO_PAD.decode(jwk.get(name)?.as_str()?).ok();
    Some(match certificate.public_key().parsed().ok()? {
        PublicKey::RSA(key) => {
            significant(key.modulus) == significant(&member("n")?)
                && significant(key.exponent) == significant(&member("e")?)
        }
        // An uncompressed point (SEC 1 §2.3.3).
        PublicKey::EC(point) => point.data() == [&[4][..], &member("x")?, &member("y")?].concat(),
        _ => false,
    })
}

/// A number without its leading zeros.
fn significant(number: &[u8]) -> &[u8] {
    &number[number.iter().take_while(|byte| **byte == 0).count()..]
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, PublicKeyData};
    use serde_json::json;

    use super::*;

    #[test]
    fn a_certificate_of_another_key_makes_a_key_unusable() {
        let made = || {
            let pair = KeyPair::generate().unwrap();
            let certificate = CertificateParams::default().self_signed(&pair).unwrap();
            let point = pair.der_bytes()[1..].to_vec();
            (point, BASE64_STANDARD.encode(certificate.der()))
        };
        let (point, own) = made();
        let (_, other) = made();
        let jwk = |x5c: Value| {
            let encode = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
            let mut jwk =
                json!({"kty": "EC", "x": encode(&point[..32]), "y": encode(&point[32..]), "x5c": x5c});
            if jwk["x5c"].is_null() {
                jwk.as_object_mut().unwrap().remove("x5c");
            }
            agrees(&jwk)
        };
        assert!(jwk(Value::Null) && jwk(json!([own])) && jwk(json!([own, other])));
        for wrong in [json!([other]), json!([]), json!(own), json!(["AAAA"]), json!([7]), json!([other, own])]
        {
            assert!(!jwk(wrong.clone()), "{wrong}");
        }
    }
}
