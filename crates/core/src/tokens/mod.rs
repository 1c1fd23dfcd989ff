//! Service-account tokens: the claims, minting them, checking them, revoking them.
//!
//! ```text
//! TokenRequest ─► TokenIssuer ─► Claims ─► jws::sign ─► token ─► Jws ─► Verifier ─► Authenticated
//! exchange ─► AccessTokens (at+jwt, never an account's token) ─► introspection
//! ```
//!
//! Promises: what is signed stays verifiable until it expires; no acceptance outlives a change of the account, the
//! bound object or the key, since every check looks at the objects and keys of that moment. Knows no HTTP.

pub mod access_token;
pub mod claims;
mod epochs;
pub mod extra_claims;
pub mod jws;
pub mod ledger;
pub mod legacy;
mod lifetime;
mod live;
pub mod mark;
pub mod mint;
pub mod pattern;
pub mod profile;
pub mod revocations;
mod secrets;
pub mod times;
pub mod verifier;
mod why;

pub use access_token::AccessTokens;
pub use claims::{Bound, Claims, Reference};
pub use extra_claims::{ExtraClaim, ExtraClaims};
pub use jws::Jws;
pub use ledger::{LedgerMode, TokenLedger};
pub use mint::{IssuerConfig, Minted, POKE_SUBJECT, Poke, TokenIssuer};
pub use profile::{TokenProfile, TokenProfiles};
pub use revocations::Revocations;
pub use times::{TimeError, Times};
pub use verifier::{TokenRule, Verifier};

use tokensmith_objects::names;

/// What the user names of service accounts begin with.
pub const USERNAME_PREFIX: &str = "system:serviceaccount:";

/// The user name of a service account, and the `sub` of its tokens.
pub fn username(namespace: &str, name: &str) -> String {
    format!("{USERNAME_PREFIX}{namespace}:{name}")
}

/// Namespace and name of the account whose user name this is; `None` where no account can have it (apiserver
/// `authentication/serviceaccount/util.go`, `SplitUsername`).
pub fn account_of(username: &str) -> Option<(&str, &str)> {
    let (namespace, name) = username.strip_prefix(USERNAME_PREFIX)?.split_once(':')?;
    let valid = names::label(namespace).is_empty() && names::subdomain(name).is_empty();
    valid.then_some((namespace, name))
}

/// The groups that every service account of a namespace is in.
pub fn groups(namespace: &str) -> Vec<String> {
    vec!["system:serviceaccounts".into(), format!("system:serviceaccounts:{namespace}")]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_accounts() {
        assert_eq!(account_of("system:serviceaccount:a:b.c"), Some(("a", "b.c")));
        for wrong in [
            "",
            "a:b",
            "system:serviceaccount:a",
            "system:serviceaccount:a:b:c",
            "system:serviceaccount:a.b:c",
            "system:serviceaccount:*:b",
            "system:serviceaccount:a:b\r\nX: y",
            "System:serviceaccount:a:b",
            "system:serviceaccount:a:",
        ] {
            assert_eq!(account_of(wrong), None, "{wrong:?}");
        }
    }
}
