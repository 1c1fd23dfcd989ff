//! Why a token is not believed.

use tokensmith_core::tokens::TimeError;

use crate::KeysError;

/// The rule at which a token fell. For logs, and for whoever has codes of his own: a stranger is told less. Holds nothing
/// of the token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Untrusted {
    /// `alg` is none that is known here, or not that of the key (RFC 8725 §3.1).
    #[error("the header's alg is not that of the key")]
    Algorithm,
    /// `crit` or `b64`: its header asks for what is not understood here (RFC 7515 §4.1.11).
    #[error("the header asks for an extension that is not known")]
    Critical,
    /// `iss` is none that is trusted.
    #[error("the issuer is not trusted")]
    Issuer,
    /// The issuer's keys cannot be had, so nothing can be told.
    #[error("the issuer's keys are not available{}", why.as_ref().map(|why| format!(": {why}")).unwrap_or_default())]
    Keys {
        /// When it may be worth to come again, seconds.
        retry_after: u32,
        /// What came of the last attempt to get them; `None` while it is still on its way.
        why: Option<KeysError>,
    },
    /// No JWT, or one that readers could read differently.
    #[error("malformed: {0}")]
    Malformed(&'static str),
    /// It would be good for ever.
    #[error("there is no exp")]
    NoExpiry,
    /// It does not say which key has signed it.
    #[error("the header has no kid")]
    NoKeyId,
    /// It is not the key's.
    #[error("the signature is not the key's")]
    Signature,
    /// Not now.
    #[error("{}", time(.0))]
    Time(#[from] TimeError),
    /// More bytes than any token has.
    #[error("it is too long")]
    TooLong,
    /// The issuer publishes no such key.
    #[error("the issuer has no key of the header's kid")]
    UnknownKey,
}

/// Core's texts are of service accounts.
fn time(error: &TimeError) -> &'static str {
    match error {
        TimeError::Expired => "it has expired",
        TimeError::IssuedInFuture => "it is issued in the future",
        TimeError::NotYetValid => "it is not valid yet",
    }
}

impl Untrusted {
    /// For metrics: one of few words.
    pub fn code(&self) -> &'static str {
        match self {
            Untrusted::Algorithm => "algorithm",
            Untrusted::Critical => "critical",
            Untrusted::Issuer => "issuer",
            Untrusted::Keys { .. } => "keys_unavailable",
            Untrusted::Malformed(_) => "malformed",
            Untrusted::NoExpiry => "no_expiry",
            Untrusted::NoKeyId => "no_key_id",
            Untrusted::Signature => "signature",
            Untrusted::Time(TimeError::Expired) => "expired",
            Untrusted::Time(TimeError::IssuedInFuture) => "issued_in_future",
            Untrusted::Time(TimeError::NotYetValid) => "not_yet_valid",
            Untrusted::TooLong => "too_long",
            Untrusted::UnknownKey => "unknown_key",
        }
    }
}
