//! What waits for a controller that is not here: an object that was deleted with `Foreground` or `Orphan` for the collector
//! of dependents (`pkg/controller/garbagecollector`), a claim, a volume or a class of its attributes for those that look
//! whether somebody uses it (`pkg/controller/volume`).
//!
//! Nobody else takes these finalizers away: without this, such an object, and the namespace that it is in, would stay
//! for ever. Volumes have nothing behind them here, so none is in use. Dependents are left alone. To collect them means to judge who really owns them, by kind, name, scope and all
//! their owners; whoever may write one object must not have the system delete another by claiming it as its own.

use serde_json::Value;
use time::Duration;

use super::Controllers;
use super::place::Place;
use super::queue::Done;
use crate::{Request, Subresource, system};
use tokensmith_core::error::Error;
use tokensmith_core::moment::Moment;

/// As kube-controller-manager's, the collector comes a moment later: who has deleted sees what it waits for.
const MOMENT: Duration = Duration::seconds(5);

const AWAITED: [&str; 5] = [
    "foregroundDeletion",
    "kubernetes.io/pv-protection",
    "kubernetes.io/pvc-protection",
    "kubernetes.io/vac-protection",
    "orphan",
];

impl Controllers {
    /// Lets an object go that waits; says when to look again.
    pub(super) async fn collect(&self, place: &Place<'_>) -> Result<Done, Error> {
        let Place { kind, namespace, name } = *place;
        let Ok(object) = self.registry.get(kind, namespace, name) else { return Ok(Done::default()) };
        let Some(begun) = object.deletion_timestamp() else { return Ok(Done::default()) };
        let finalizers = object.finalizers();
        if !finalizers.iter().any(|f| is_awaited(f)) {
            return Ok(Done::default());
        }
        let (now, due) = (self.clock.now(), begun.plus(MOMENT));
        // What was deleted by a clock that was ahead does not wait until that time has come.
        if (begun..due).contains(&now) {
            return Ok(Done::again(due));
        }
        let mut released = object.object();
        let left: Vec<Value> = finalizers.into_iter().filter(|f| !is_awaited(f)).map(Value::from).collect();
        released.set(&["metadata", "finalizers"], left);
        let user = system();
        let (request, part) = (&mut Request::by_controller(&user), Subresource::None);
        self.registry.update(request, kind, namespace, name, part, released).await?;
        Ok(Done::wrote(true))
    }
}

fn is_awaited(finalizer: &str) -> bool {
    AWAITED.contains(&finalizer)
}
