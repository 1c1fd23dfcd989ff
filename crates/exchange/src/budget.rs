//! What a policy's expressions may cost a request, all together: strangers' claims are what they read.

use tokensmith_expressions::{Budget, Expression};

use crate::oauth::Refusal;

/// Steps on the worker that a request came in on: a millisecond, and far more than most policies need.
const LIGHT: u64 = 5_000;
/// Steps at all: as many as one expression may take alone.
const WHOLE: u64 = Expression::BUDGET;

/// Works out something by a policy's expressions, all of which share a budget. What takes more than a worker has time for is begun
/// anew in a place for long work, in the line of whom it is for.
///
/// What takes more than there is is refused, whatever has come of it: a condition that was cut off may be of the very rule that would
/// have decided, and the next one would give what that one withholds. Nobody's claims choose the rule by their weight.
pub(crate) async fn within_budget<T>(
    by: &str,
    work: impl Fn(&Budget) -> Result<T, Refusal>,
    refused: impl Fn(String) -> Refusal,
) -> Result<T, Refusal> {
    {
        let light = Budget::new(LIGHT);
        let made = work(&light);
        if !light.is_exhausted() {
            return made;
        }
    }
    tokensmith_server::compute_as(by).await;
    let whole = Budget::new(WHOLE);
    match work(&whole) {
        Ok(_) if whole.is_exhausted() => Err(refused(too_costly())),
        made => made,
    }
}

/// For the log.
pub(crate) fn too_costly() -> String {
    format!("the expressions of the policy take more than {WHOLE} steps for these claims")
}
