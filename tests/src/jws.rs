//! A token's signature checked as an outsider does: with the key as its JWK tells it, and by ring alone, not by the code that
//! the product checks signatures with.

use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use jsonwebtoken::jwk::{AlgorithmParameters, Jwk, KeyAlgorithm};
use ring::signature as ring;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// A published key.
pub struct Key {
    algorithm: KeyAlgorithm,
    half: Half,
}

enum Half {
    Point(Vec<u8>),
    Rsa { n: Vec<u8>, e: Vec<u8> },
}

impl Key {
    /// Reads it.
    ///
    /// # Errors
    /// It is for none of RS256, ES256 and ES384, or broken.
    pub fn of(jwk: &Jwk) -> Result<Self> {
        let algorithm = jwk.common.key_algorithm.context("no alg")?;
        let half = match &jwk.algorithm {
            AlgorithmParameters::EllipticCurve(key) => {
                Half::Point([vec![4], BASE64.decode(&key.x)?, BASE64.decode(&key.y)?].concat())
            }
            AlgorithmParameters::RSA(key) => {
                Half::Rsa { n: BASE64.decode(&key.n)?, e: BASE64.decode(&key.e)? }
            }
            other => anyhow::bail!("{other:?}"),
        };
        Ok(Key { algorithm, half })
    }

    /// What a token says that this key has signed, in the one algorithm that the key is for.
    ///
    /// # Errors
    /// It is no such token.
    pub fn payload<T: DeserializeOwned>(&self, token: &str) -> Result<T> {
        let (signed, signature) = token.rsplit_once('.').context("no signature")?;
        let (header, payload) = signed.split_once('.').context("no payload")?;
        let header: Value = serde_json::from_slice(&BASE64.decode(header)?)?;
        ensure!(header["alg"].as_str() == Some(&self.algorithm.to_string()), "{header}");
        let signature = BASE64.decode(signature)?;
        let by_point = |curve, point: &[u8]| {
            ring::UnparsedPublicKey::new(curve, point).verify(signed.as_bytes(), &signature)
        };
        let checked = match (self.algorithm, &self.half) {
            (KeyAlgorithm::ES256, Half::Point(point)) => by_point(&ring::ECDSA_P256_SHA256_FIXED, point),
            (KeyAlgorithm::ES384, Half::Point(point)) => by_point(&ring::ECDSA_P384_SHA384_FIXED, point),
            (KeyAlgorithm::RS256, Half::Rsa { n, e }) => {
                let key = ring::RsaPublicKeyComponents { n, e };
                key.verify(&ring::RSA_PKCS1_2048_8192_SHA256, signed.as_bytes(), &signature)
            }
            (other, _) => anyhow::bail!("{other} is not for this key"),
        };
        ensure!(checked.is_ok(), "another key has signed it, or none");
        Ok(serde_json::from_slice(&BASE64.decode(payload)?)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7515, appendix A.3: somebody else's token, so that the check can say no and yes.
    #[test]
    fn a_token_is_believed_only_as_it_was_signed() {
        let jwk = r#"{"kty":"EC","crv":"P-256","alg":"ES256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
            "y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}"#;
        let token = "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";
        let key = Key::of(&serde_json::from_str(jwk).unwrap()).unwrap();
        assert_eq!(key.payload::<Value>(token).unwrap()["iss"], "joe");
        let other = jwk.replace("\"ES256\"", "\"ES384\"");
        let other = Key::of(&serde_json::from_str(&other).unwrap()).unwrap();
        assert!(other.payload::<Value>(token).is_err(), "the header's algorithm is not the key's");
        for (from, to) in [("J9.eyJ", "J9.eyK"), ("NU1Q", "NU1A"), (".DtEh", ".DtEi"), (".DtEh", ".")] {
            let changed = token.replacen(from, to, 1);
            assert!(changed != token && key.payload::<Value>(&changed).is_err(), "{from} {to}");
        }
    }
}
