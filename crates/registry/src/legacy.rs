//! What the server itself writes about tokens in Secrets.

use super::builtin::system;
use super::*;
use tokensmith_core::tokens::legacy::{LAST_USED, day};

/// Where it says since when uses are tracked.
const TRACKING: (&str, &str) = ("kube-system", "kube-apiserver-legacy-service-account-token-tracking");

impl Registry {
    /// Writes down, once, since when uses of tokens in Secrets are tracked.
    pub async fn track_legacy_tokens(&self) -> Result<(), Error> {
        let (namespace, name) = TRACKING;
        if self.get(&self.core("configmaps"), namespace, name).is_ok() {
            return Ok(());
        }
        let map = serde_json::json!({
            "kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": name}, "data": {"since": day(self.clock.now())},
        });
        self.create_quietly(&mut Request::by(&system()), "configmaps", namespace, map).await
    }

    /// Labels a Secret with today, the day on which its token was used. Who loses a race leaves it to the next use.
    pub async fn note_legacy_use(&self, namespace: &str, name: &str) {
        let kind = &self.core("secrets");
        let Ok(secret) = self.get(kind, namespace, name) else { return };
        let mut labelled = secret.object();
        labelled.set(&["metadata", "labels", LAST_USED], day(self.clock.now()));
        let user = system();
        let done =
            self.update(&mut Request::by(&user), kind, namespace, name, Subresource::None, labelled).await;
        if let Err(e) = done {
            tracing::debug!(cause = %e, namespace, name, "the day of a token's last use was not written");
        }
    }
}
