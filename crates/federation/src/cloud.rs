//! What the services have in common.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use ring::hmac;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokensmith_core::Clock;
use tokensmith_core::keys::{SealKey, SealKeys};
use uuid::Uuid;

use crate::issuers::Issuers;

/// A cloud whose security token service there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Cloud {
    /// Amazon's.
    Aws,
    /// Microsoft's.
    Azure,
    /// Google's.
    Gcp,
}

impl Cloud {
    /// Its name in flags, in the configuration, in logs and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Cloud::Aws => "aws",
            Cloud::Azure => "azure",
            Cloud::Gcp => "gcp",
        }
    }
}

impl fmt::Display for Cloud {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a service stands on.
#[derive(Clone)]
pub(crate) struct Means {
    /// The server's time.
    pub(crate) clock: Arc<dyn Clock>,
    /// Whose documents are read where.
    pub(crate) issuers: Arc<Issuers>,
    /// A secret of this process: what is sealed with it nobody else can make. A reload keeps it, a restart does not.
    pub(crate) secret: Arc<Secret>,
    /// The URL of the listener as its clients have it, without a stroke at its end: for documents that name endpoints.
    pub(crate) url: Arc<str>,
}

/// 32 random bytes.
pub(crate) struct Secret(pub(crate) [u8; 32]);

impl Secret {
    /// A key of its own for each use: the secret itself is the key of nothing else (HMAC-SHA-256 of the use's name).
    pub(crate) fn derive(&self, label: &str) -> [u8; 32] {
        let root = hmac::Key::new(hmac::HMAC_SHA256, &self.0);
        let derived = hmac::sign(&root, label.as_bytes());
        derived.as_ref().try_into().expect("HMAC-SHA-256 has 32 bytes")
    }
}

/// Seals what is given out, so that nothing has to be remembered of it, under a key of the process' secret for one use alone.
pub(crate) struct Sealed {
    keys: SealKeys,
    purpose: &'static str,
}

impl Sealed {
    /// For this use.
    pub(crate) fn new(secret: &Secret, purpose: &'static str) -> Self {
        Sealed { keys: SealKeys::new(SealKey::new(secret.derive(purpose)), Vec::new()), purpose }
    }

    /// Encrypts and authenticates.
    pub(crate) fn seal(&self, value: &impl Serialize) -> Vec<u8> {
        let plain =
            serde_json::to_vec(value).expect("what is given out is texts and numbers, which are JSON");
        self.keys.seal_bytes(self.purpose, &plain)
    }

    /// Opens what was sealed with the same secret for the same use.
    pub(crate) fn open<T: DeserializeOwned>(&self, sealed: &[u8]) -> Option<T> {
        serde_json::from_slice(&self.keys.open_bytes(self.purpose, sealed).ok()?).ok()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// Why a request of a service's comes to nothing before the service has judged it, or while it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// Its body ended before it was whole.
    BrokeOff,
    /// Its body did not come in time.
    Slow,
    /// Its body has more bytes than any service takes.
    TooLong,
    /// The answer was not there in time.
    TimedOut,
    /// A panic.
    Internal,
}

/// One cloud's security token service.
#[async_trait]
pub(crate) trait Service: Send + Sync {
    /// Which it is.
    fn cloud(&self) -> Cloud;

    /// Whether a path is one of its endpoints, whatever the method: nobody else's body is read.
    fn owns(&self, path: &str) -> bool;

    /// The id that a client has given its request, where the cloud knows of such.
    fn id(&self, _headers: &HeaderMap) -> Option<Uuid> {
        None
    }

    /// Answers a request whose body has been read whole.
    async fn answer(&self, request: Request<Bytes>) -> Response<Bytes>;

    /// Answers one that comes to nothing, as the cloud has its errors, so that SDKs can read it.
    fn failed(&self, failure: Failure, id: Option<Uuid>) -> Response<Bytes>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_use_has_a_key_of_its_own() {
        let (one, other) = (Secret([1; 32]), Secret([2; 32]));
        assert_eq!(one.derive("a"), one.derive("a"));
        let all = [one.0, one.derive("a"), one.derive("b"), other.derive("a")];
        let different: std::collections::HashSet<_> = all.iter().collect();
        assert_eq!(different.len(), all.len());
    }

    #[test]
    fn what_is_sealed_for_one_use_opens_for_no_other() {
        let (one, other) = (Secret([1; 32]), Secret([2; 32]));
        let sealed = Sealed::new(&one, "a").seal(&"plain");
        let open = |secret: &Secret, purpose| Sealed::new(secret, purpose).open::<String>(&sealed);
        assert_eq!(open(&one, "a").as_deref(), Some("plain"));
        assert_eq!((open(&one, "b"), open(&other, "a")), (None, None));
    }
}
