//! The gate of reverse mode that the sidecar has: tokens are checked offline.

use std::sync::Arc;

use async_trait::async_trait;
use http::header::HeaderMap;
use prometheus_client::registry::Registry;
use quick_cache::sync::Cache;

use super::reverse::{Denied, ForwardedUser, ForwardedUserError, Gate};
use crate::observe::Unwell;
use tokensmith_verify::{Rejection, Verified, Verifier, bearer};

/// As many callers' headers are kept ready as the verifier remembers tokens.
const READY: usize = 16_384;

/// Lets in who has a token that the verifier takes.
pub struct VerifierGate {
    verifier: Arc<Verifier>,
    /// By where the verdict is in memory: the verifier gives the same `Arc` for the same token while it remembers it. The
    /// token's own names would not do: a `jti` is only its issuer's word.
    ready: Cache<usize, (Arc<Verified>, Arc<ForwardedUser>)>,
}

impl VerifierGate {
    /// A gate before nothing yet.
    pub fn new(verifier: Arc<Verifier>) -> Self {
        VerifierGate { verifier, ready: Cache::new(READY) }
    }

    /// The headers for a caller; made once while its token is remembered. The kept `Arc` keeps its address from being given
    /// to another.
    fn identity(&self, verified: Arc<Verified>) -> Result<Arc<ForwardedUser>, ForwardedUserError> {
        let at = Arc::as_ptr(&verified) as usize;
        if let Some((_, identity)) = self.ready.get(&at) {
            return Ok(identity);
        }
        let identity = Arc::new(identity(&verified)?);
        self.ready.insert(at, (verified, identity.clone()));
        Ok(identity)
    }
}

#[async_trait]
impl Gate for VerifierGate {
    async fn admit(&self, headers: &HeaderMap) -> Result<Arc<ForwardedUser>, Denied> {
        let verified = match bearer(headers) {
            Ok(token) => self.verifier.verify(token).await,
            Err(rejection) => Err(rejection),
        };
        let verified = verified.map_err(|rejection| denied(&rejection))?;
        self.identity(verified).map_err(|_| denied(&Rejection::Malformed))
    }

    async fn health(&self) -> Result<(), Unwell> {
        self.verifier.health()?;
        Ok(self.verifier.reviews().await?)
    }

    fn register(&self, registry: &mut Registry) {
        self.verifier.register(registry);
    }
}

/// As the API server knows the caller (k8s-facts: what a TokenReview says of such a token).
fn identity(verified: &Verified) -> Result<ForwardedUser, ForwardedUserError> {
    const PREFIX: &str = "authentication.kubernetes.io/";
    let mut extra = Vec::new();
    let mut add = |key: &str, value: String| extra.push((format!("{PREFIX}{key}"), value));
    if !verified.jti.is_empty() {
        add("credential-id", format!("JTI={}", verified.jti));
    }
    for (what, reference) in [("node", &verified.node), ("pod", &verified.pod)] {
        let Some(reference) = reference else { continue };
        add(&format!("{what}-name"), reference.name.clone());
        if !reference.uid.is_empty() {
            add(&format!("{what}-uid"), reference.uid.clone());
        }
    }
    let groups = verified.groups.iter().map(String::as_str);
    let extra = extra.iter().map(|(key, value)| (key.as_str(), value.as_str()));
    ForwardedUser::new(&verified.username, &verified.uid, groups, extra)
}

fn denied(rejection: &Rejection) -> Denied {
    Denied::new(rejection.code(), rejection.response())
}
