//! What the server itself writes about tokens in Secrets.

use super::builtin::{core_kind, system};
use super::*;
use crate::tokens::legacy::{LAST_USED, day};

impl Registry {
    /// Labels a Secret with today, the day on which its token was used. Who loses a race leaves it to the next use.
    pub async fn note_legacy_use(&self, namespace: &str, name: &str) {
        let kind = core_kind("secrets");
        let Ok(secret) = self.get(kind, namespace, name) else { return };
        let mut labelled = (*secret).clone();
        labelled.set(&["metadata", "labels", LAST_USED], day(self.clock.now()));
        let user = system();
        let done =
            self.update(&mut Request::by(&user), kind, namespace, name, Subresource::None, labelled).await;
        if let Err(e) = done {
            tracing::debug!(cause = %e, namespace, name, "the day of a token's last use was not written");
        }
    }
}
