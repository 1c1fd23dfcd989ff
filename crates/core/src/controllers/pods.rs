//! Pods that were deleted go when their grace period ends: there is no kubelet here to say that they have stopped.

use time::OffsetDateTime;

use super::Controllers;
use crate::error::Error;
use crate::registry::{DeleteOptions, Request, core_kind, system};

impl Controllers {
    /// Removes a pod whose time is over; else says when it will be.
    pub(super) async fn pod(&self, namespace: &str, name: &str) -> Result<Option<OffsetDateTime>, Error> {
        let kind = core_kind("pods");
        let Ok(pod) = self.registry.get(kind, namespace, name) else { return Ok(None) };
        let Some(end) = pod.deletion_timestamp() else { return Ok(None) };
        if end > self.clock.now() {
            return Ok(Some(end));
        }
        let options = DeleteOptions::default().of(pod.uid()).at_once();
        let user = system();
        self.registry.delete(&mut Request::by(&user), kind, namespace, name, &options).await?;
        Ok(None)
    }
}
