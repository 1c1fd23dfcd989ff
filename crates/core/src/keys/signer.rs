//! The Signer port: who turns a message into a signature, here or far away.

use futures::future::BoxFuture;
use tracing::{Instrument, debug_span};

use super::Algorithm;

/// Signs with one key. May be remote, so it is asynchronous and may fail.
pub trait Signer: Send + Sync {
    /// The `kid` of what it signs.
    fn key_id(&self) -> &str;

    /// The `alg` of what it signs.
    fn algorithm(&self) -> Algorithm;

    /// The signature in JWS form: for ECDSA r‖s of fixed length (RFC 7518 §3.4), not DER.
    ///
    /// # Errors
    /// There is no signature; who asks may ask again, for it says nothing of the key.
    fn sign<'a>(&'a self, message: &'a [u8]) -> BoxFuture<'a, Result<Vec<u8>, SignError>>;
}

/// The signature that a signer gives, asked for in a span of its own.
///
/// # Errors
/// The signer's.
pub async fn signature(signer: &dyn Signer, message: &[u8]) -> Result<Vec<u8>, SignError> {
    let span = debug_span!("sign", key.id = signer.key_id(), alg = signer.algorithm().as_str());
    // A local one signs at once, when it is asked.
    async { signer.sign(message).await }.instrument(span).await
}

/// Why there is no signature.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// The cryptographic library refused.
    #[error("the signing operation failed")]
    Failed,
}
