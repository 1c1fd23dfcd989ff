//! Pods that were deleted go when their grace period ends: there is no kubelet here to say that they have stopped.

use super::Controllers;
use super::queue::Done;
use crate::{DeleteOptions, Request, system};
use time::Duration;
use tokensmith_core::error::Error;
use tokensmith_core::moment::Moment;

impl Controllers {
    /// Removes a pod whose time is over; else says when it will be.
    pub(super) async fn pod(&self, namespace: &str, name: &str) -> Result<Done, Error> {
        let kind = &self.registry.core("pods");
        let Ok(pod) = self.registry.get(kind, namespace, name) else { return Ok(Done::default()) };
        let Some(mut end) = pod.deletion_timestamp() else { return Ok(Done::default()) };
        if let Some(most) = self.registry.pod_grace {
            let own = pod.value(&["metadata", "deletionGracePeriodSeconds"]).and_then(|own| own.as_i64());
            let begun = end.minus(Duration::seconds(own.unwrap_or(0)));
            end = end.min(begun.plus(most));
        }
        if end > self.clock.now() {
            return Ok(Done::again(end));
        }
        let options = DeleteOptions::default().of(pod.uid()).at_once();
        let user = system();
        self.registry.delete(&mut Request::by(&user), kind, namespace, name, &options).await?;
        Ok(Done::wrote(true))
    }
}
