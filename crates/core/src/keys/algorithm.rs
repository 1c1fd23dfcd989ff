//! The signature algorithms of tokens (RFC 7518 §3.1, RFC 8037, RFC 9964; Kubernetes `pkg/serviceaccount/jwt.go`).
//!
//! ML-DSA comes with the cargo feature `ml-dsa`: aws-lc-rs carries it in its stable interface since 1.18, but few
//! verifiers know it yet, and its signatures make tokens of 3 to 6 KiB, more than many a proxy lets pass in a header.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A JWS algorithm. A key has exactly one: what the token's header says is compared, never obeyed, so that a
/// token cannot choose how it is checked (RFC 8725 §3.1).
///
/// The order is that of the names: discovery documents list them sorted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Algorithm {
    /// ECDSA on P-256 with SHA-256.
    ES256,
    /// ECDSA on P-384 with SHA-384.
    ES384,
    /// ECDSA on P-521 with SHA-512.
    ES512,
    /// EdDSA, on Ed25519 alone (RFC 8037 §3.1).
    EdDSA,
    /// ML-DSA-44 of FIPS 204, pure, with an empty context (RFC 9964).
    #[cfg(feature = "ml-dsa")]
    #[serde(rename = "ML-DSA-44")]
    MlDsa44,
    /// ML-DSA-65, likewise.
    #[cfg(feature = "ml-dsa")]
    #[serde(rename = "ML-DSA-65")]
    MlDsa65,
    /// ML-DSA-87, likewise.
    #[cfg(feature = "ml-dsa")]
    #[serde(rename = "ML-DSA-87")]
    MlDsa87,
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    RS256,
    /// RSASSA-PKCS1-v1_5 with SHA-384.
    RS384,
    /// RSASSA-PKCS1-v1_5 with SHA-512.
    RS512,
}

/// A kind of key: what an algorithm needs, and what a key is whatever its algorithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// Ed25519.
    Ed25519,
    /// ML-DSA-44.
    #[cfg(feature = "ml-dsa")]
    MlDsa44,
    /// ML-DSA-65.
    #[cfg(feature = "ml-dsa")]
    MlDsa65,
    /// ML-DSA-87.
    #[cfg(feature = "ml-dsa")]
    MlDsa87,
    /// NIST P-256.
    P256,
    /// NIST P-384.
    P384,
    /// NIST P-521.
    P521,
    /// RSA of 2048 to 8192 bits: the one family with several algorithms.
    Rsa,
}

impl Algorithm {
    /// Every algorithm, sorted by name. All sign and verify.
    pub const ALL: &[Algorithm] = &[
        Algorithm::ES256,
        Algorithm::ES384,
        Algorithm::ES512,
        Algorithm::EdDSA,
        #[cfg(feature = "ml-dsa")]
        Algorithm::MlDsa44,
        #[cfg(feature = "ml-dsa")]
        Algorithm::MlDsa65,
        #[cfg(feature = "ml-dsa")]
        Algorithm::MlDsa87,
        Algorithm::RS256,
        Algorithm::RS384,
        Algorithm::RS512,
    ];

    /// Those that Kubernetes itself signs with: any verifier of its tokens knows them. The others are for those
    /// who ask for them.
    pub const KUBERNETES: &[Algorithm] =
        &[Algorithm::RS256, Algorithm::ES256, Algorithm::ES384, Algorithm::ES512];

    /// The name in JOSE headers and JWKs.
    pub fn as_str(self) -> &'static str {
        match self {
            Algorithm::ES256 => "ES256",
            Algorithm::ES384 => "ES384",
            Algorithm::ES512 => "ES512",
            Algorithm::EdDSA => "EdDSA",
            #[cfg(feature = "ml-dsa")]
            Algorithm::MlDsa44 => "ML-DSA-44",
            #[cfg(feature = "ml-dsa")]
            Algorithm::MlDsa65 => "ML-DSA-65",
            #[cfg(feature = "ml-dsa")]
            Algorithm::MlDsa87 => "ML-DSA-87",
            Algorithm::RS256 => "RS256",
            Algorithm::RS384 => "RS384",
            Algorithm::RS512 => "RS512",
        }
    }

    /// The kind of key that it needs.
    pub fn family(self) -> Family {
        match self {
            Algorithm::ES256 => Family::P256,
            Algorithm::ES384 => Family::P384,
            Algorithm::ES512 => Family::P521,
            Algorithm::EdDSA => Family::Ed25519,
            #[cfg(feature = "ml-dsa")]
            Algorithm::MlDsa44 => Family::MlDsa44,
            #[cfg(feature = "ml-dsa")]
            Algorithm::MlDsa65 => Family::MlDsa65,
            #[cfg(feature = "ml-dsa")]
            Algorithm::MlDsa87 => Family::MlDsa87,
            Algorithm::RS256 | Algorithm::RS384 | Algorithm::RS512 => Family::Rsa,
        }
    }

    /// Names in a list for people: `RS256, ES256 or ES384`.
    pub fn list(algorithms: &[Algorithm]) -> String {
        match algorithms {
            [] => String::new(),
            [one] => one.to_string(),
            [most @ .., last] => {
                let most: Vec<_> = most.iter().map(|a| a.as_str()).collect();
                format!("{} or {last}", most.join(", "))
            }
        }
    }
}

impl Family {
    /// What a key of this kind signs with unless something else is asked for: the algorithm that Kubernetes gives it.
    pub fn default_algorithm(self) -> Algorithm {
        match self {
            Family::Ed25519 => Algorithm::EdDSA,
            #[cfg(feature = "ml-dsa")]
            Family::MlDsa44 => Algorithm::MlDsa44,
            #[cfg(feature = "ml-dsa")]
            Family::MlDsa65 => Algorithm::MlDsa65,
            #[cfg(feature = "ml-dsa")]
            Family::MlDsa87 => Algorithm::MlDsa87,
            Family::P256 => Algorithm::ES256,
            Family::P384 => Algorithm::ES384,
            Family::P521 => Algorithm::ES512,
            Family::Rsa => Algorithm::RS256,
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Family::Ed25519 => "Ed25519",
            #[cfg(feature = "ml-dsa")]
            Family::MlDsa44 => "ML-DSA-44",
            #[cfg(feature = "ml-dsa")]
            Family::MlDsa65 => "ML-DSA-65",
            #[cfg(feature = "ml-dsa")]
            Family::MlDsa87 => "ML-DSA-87",
            Family::P256 => "P-256",
            Family::P384 => "P-384",
            Family::P521 => "P-521",
            Family::Rsa => "RSA",
        })
    }
}

/// A name that is none of the signing algorithms.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown signing algorithm {0:?}: use {list}", list = Algorithm::list(Algorithm::ALL))]
pub struct UnknownAlgorithm(String);

impl FromStr for Algorithm {
    type Err = UnknownAlgorithm;

    /// Names are compared exactly (RFC 7515 §4.1.1): `rs256` is none.
    fn from_str(name: &str) -> Result<Self, UnknownAlgorithm> {
        let found = Algorithm::ALL.iter().find(|algorithm| algorithm.as_str() == name);
        found.copied().ok_or_else(|| UnknownAlgorithm(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_are_there_once_and_sorted_by_name() {
        let names: Vec<_> = Algorithm::ALL.iter().map(|a| a.as_str()).collect();
        assert!(names.is_sorted() && Algorithm::ALL.is_sorted());
        assert_eq!(names.len(), if cfg!(feature = "ml-dsa") { 10 } else { 7 });
        for algorithm in Algorithm::ALL {
            assert_eq!(algorithm.as_str().parse(), Ok(*algorithm));
            assert_eq!(serde_json::to_string(algorithm).unwrap(), format!("\"{algorithm}\""), "in the ring");
            assert_eq!(algorithm.family().default_algorithm().family(), algorithm.family());
        }
    }

    #[test]
    fn other_names_are_refused_with_those_that_are_taken() {
        for name in ["none", "HS256", "PS256", "rs256", "Ed25519", ""] {
            let error = name.parse::<Algorithm>().unwrap_err().to_string();
            assert!(
                error.contains("use ES256, ES384, ES512, EdDSA,") && error.ends_with("or RS512"),
                "{error}"
            );
        }
    }
}
