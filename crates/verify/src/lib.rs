//! Whose token is this, and may they? Told from the token and from what its issuer publishes, without asking anyone per
//! request.
//!
//! ```text
//! request ─► layer ─► Verifier ─► cache of checked tokens ──────────────┐
//!                        └─► offline (pure) ─► keys ◄─ discovery, set    ├─► Review, if any ─► Arc<Verified>
//!                                                    (Fetch, in time)   ─┘
//! UnverifiedToken ─► Report (by an issuer's keys, or by a review): the same checks, rule by rule, for people
//! ```
//!
//! Promises: what cannot be told is refused; nothing is accepted once its key has left the issuer's set as it was last
//! fetched, or once its time is over; no stranger can make it fetch, remember or wait without bound. Does not hear of
//! deleted accounts and pods: for that there is [`Review`]. Signatures are core's, [`PublicKey::verify`]; it knows no
//! sidecar, no disk and no flags.
//!
//! # By keys at hand
//! ```
//! use tokensmith_core::keys::PublishedKeys;
//! use tokensmith_verify::{Expected, Rejection, verify_by_keys};
//!
//! # use futures::FutureExt;
//! # use tokensmith_core::{keys::{Algorithm, LocalSigner, PrivateKey}, tokens::jws};
//! # let key = PrivateKey::generate(Algorithm::ES256)?;
//! # let jwks = format!(r#"{{"keys":[{}]}}"#, key.public().jwk());
//! # let payload = br#"{"iss":"https://issuer.example","aud":["vault"],"exp":1767265200,"sub":"system:serviceaccount:pay:api","kubernetes.io":{"namespace":"pay","serviceaccount":{"name":"api","uid":"u"}}}"#;
//! # let token = jws::sign(&LocalSigner::new(&key)?, payload).now_or_never().expect("a local key")?;
//! let keys = PublishedKeys::parse(jwks.as_bytes())?;
//! let vault = ["vault".to_owned()];
//! let expected = Expected { issuer: "https://issuer.example", audiences: &vault, allow_subjects: &[] };
//! let verified = verify_by_keys(&token, &keys, &expected, 1_767_265_000)?;
//! assert_eq!(verified.username, "system:serviceaccount:pay:api");
//!
//! let db = ["db".to_owned()];
//! let expected = Expected { audiences: &db, ..expected };
//! assert_eq!(verify_by_keys(&token, &keys, &expected, 1_767_265_000), Err(Rejection::Audience));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # By discovery, and by TokenReview besides
//! ```no_run
//! # async fn example(api: tokensmith_client::Client, token: &str) -> Result<(), Box<dyn std::error::Error>> {
//! use std::sync::Arc;
//!
//! use tokensmith_client::{Trust, Web};
//! use tokensmith_verify::{ReviewConfig, Verifier, VerifierConfig};
//!
//! let web = Web::new(&Trust::System, None)?;
//! let mut config = VerifierConfig::new("https://issuer.example", "vault", Arc::new(web));
//! // Only the API server knows whether account, pod and token are still there.
//! config.review = Some(ReviewConfig::new(Arc::new(api)));
//! let verifier = Verifier::new(config)?;
//! println!("{}", verifier.verify(token).await?.username);
//! # Ok(())
//! # }
//! ```
//!
//! [`PublicKey::verify`]: tokensmith_core::keys::PublicKey::verify

// Only `moment` may use operators that panic where a time does not fit (see clippy.toml).
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

mod bearer;
mod cache;
mod config;
pub mod discovery;
pub mod doctor;
mod error;
mod fetch;
mod keys;
mod layer;
mod metrics;
mod offline;
mod rejection;
pub mod report;
mod review;
mod subject;
#[cfg(test)]
mod tests;
mod token_review;
pub mod trust;
mod verified;
mod verifier;

pub use bearer::bearer;
pub use config::{ConfigError, IssuerConfig, VerifierConfig};
pub use error::{DiscoveryError, FetchError, KeysError, NoReviews, StaleKeys};
pub use fetch::{Fetch, Fetched, MAX_DOCUMENT};
pub use layer::{Verify, VerifyBody, VerifyLayer};
pub use offline::{Expected, MAX_TOKEN, verify_by_keys};
pub use rejection::Rejection;
pub use review::{Review, ReviewConfig, ReviewError, ReviewStatus, WithoutReview};
pub use subject::{SubjectError, SubjectPattern};
pub use verified::Verified;
pub use verifier::Verifier;
