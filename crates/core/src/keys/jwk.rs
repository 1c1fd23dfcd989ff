//! Public keys as JWKs (RFC 7517, 7518 §6, 8037, 9964): as Kubernetes publishes them, and as GCP takes them.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::PublicKey;
use super::public::Half;

impl PublicKey {
    /// The JWK as Kubernetes publishes it: compact, fields in go-jose's order.
    pub fn jwk(&self) -> String {
        let (kid, alg) = (self.key_id(), self.algorithm());
        match &self.half {
            Half::Ec { point, .. } => {
                let (crv, (x, y)) = (self.family(), coordinates(point));
                format!(
                    r#"{{"use":"sig","kty":"EC","kid":"{kid}","crv":"{crv}","alg":"{alg}","x":"{x}","y":"{y}"}}"#
                )
            }
            Half::Ed25519 { x } => {
                let x = encode(x);
                format!(
                    r#"{{"use":"sig","kty":"OKP","kid":"{kid}","crv":"Ed25519","alg":"{alg}","x":"{x}"}}"#
                )
            }
            #[cfg(feature = "ml-dsa")]
            Half::MlDsa { public, .. } => {
                let public = encode(public);
                format!(r#"{{"use":"sig","kty":"AKP","kid":"{kid}","alg":"{alg}","pub":"{public}"}}"#)
            }
            Half::Rsa { n, e, .. } => {
                let (n, e) = (encode(n), encode(e));
                format!(r#"{{"use":"sig","kty":"RSA","kid":"{kid}","alg":"{alg}","n":"{n}","e":"{e}"}}"#)
            }
        }
    }

    /// The JWK with exactly the members that GCP takes; `None` for what is neither RSA nor EC.
    fn jwk_gcp(&self) -> Option<String> {
        let (kid, alg) = (self.key_id(), self.algorithm());
        match &self.half {
            Half::Ec { point, .. } => {
                let (crv, (x, y)) = (self.family(), coordinates(point));
                Some(format!(
                    r#"{{"kty":"EC","alg":"{alg}","use":"sig","kid":"{kid}","x":"{x}","y":"{y}","crv":"{crv}"}}"#
                ))
            }
            Half::Rsa { n, e, .. } => {
                let (n, e) = (encode(n), encode(e));
                Some(format!(
                    r#"{{"kty":"RSA","alg":"{alg}","use":"sig","kid":"{kid}","n":"{n}","e":"{e}"}}"#
                ))
            }
            _ => None,
        }
    }
}

/// The key set for the upload of GCP's workload identity federation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GcpJwks {
    /// The `jwksJson`: compact JSON without a final newline.
    pub json: Vec<u8>,
    /// The ids of the keys that GCP has no form for. Tokens signed by them will be refused there: say so.
    pub left_out: Vec<String>,
}

/// None of the keys is RSA or EC.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("GCP takes RSA and EC keys only, and there is none: {}", list(.left_out))]
pub struct NoGcpKey {
    /// The ids of the keys that were given.
    pub left_out: Vec<String>,
}

/// Writes what GCP takes as an uploaded key set (IAM API, `WorkloadIdentityPoolProvider.Oidc.jwksJson`): RSA and EC
/// keys, each with its required members and no other.
pub fn jwks_gcp<'a>(keys: impl IntoIterator<Item = &'a PublicKey>) -> Result<GcpJwks, NoGcpKey> {
    let (mut taken, mut left_out) = (Vec::new(), Vec::new());
    for key in keys {
        match key.jwk_gcp() {
            Some(jwk) => taken.push(jwk),
            None => left_out.push(key.key_id().to_owned()),
        }
    }
    match taken.is_empty() {
        true => Err(NoGcpKey { left_out }),
        false => Ok(GcpJwks { json: format!("{{\"keys\":[{}]}}", taken.join(",")).into_bytes(), left_out }),
    }
}

/// Fixed length, leading zeros kept (RFC 7518 §6.2.1.2).
fn coordinates(point: &[u8]) -> (String, String) {
    let (x, y) = point[1..].split_at(point.len() / 2);
    (encode(x), encode(y))
}

fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn list(ids: &[String]) -> String {
    match ids {
        [] => "no keys were given".into(),
        ids => format!("left out {}", ids.join(", ")),
    }
}
