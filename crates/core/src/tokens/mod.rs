//! Service-account tokens: the claims, minting them, checking them, revoking them.
//!
//! ```text
//! TokenRequest ─► TokenIssuer ─► Claims ─► jws::sign ─► token ─► Jws ─► Verifier ─► Authenticated
//! ```
//!
//! Promises: what is signed stays verifiable until it expires; no acceptance outlives a change of the account, the
//! bound object or the key, since every check looks at the objects and keys of that moment. Knows no HTTP.

pub mod claims;
pub mod extra_claims;
pub mod jws;
pub mod ledger;
pub mod legacy;
mod lifetime;
mod live;
pub mod mint;
pub mod profile;
pub mod revocations;
mod secrets;
pub mod times;
pub mod verifier;

pub use claims::{Bound, Claims, Reference};
pub use extra_claims::{ExtraClaim, ExtraClaims};
pub use jws::Jws;
pub use ledger::{LedgerMode, TokenLedger};
pub use mint::{IssuerConfig, Minted, TokenIssuer};
pub use profile::{TokenProfile, TokenProfiles};
pub use revocations::Revocations;
pub use times::{TimeError, Times};
pub use verifier::Verifier;

/// The user name of a service account, and the `sub` of its tokens.
pub fn username(namespace: &str, name: &str) -> String {
    format!("system:serviceaccount:{namespace}:{name}")
}

/// The groups that every service account of a namespace is in.
pub fn groups(namespace: &str) -> Vec<String> {
    vec!["system:serviceaccounts".into(), format!("system:serviceaccounts:{namespace}")]
}
