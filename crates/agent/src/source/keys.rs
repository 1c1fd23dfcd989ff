//! Whether the keys of the tokens that are held are still published.

use std::sync::Arc;

use tokensmith_core::random;

use super::api::Shared;
use super::slot::WAIT;
use crate::api::{ApiServer, within};
use crate::refresh::IssuerKeys;

/// Looks at the key set for as long as it is polled, and has tokens replaced whose key has left it.
pub(super) async fn run(shared: Arc<Shared>, api: &dyn ApiServer) {
    let (clock, mut keys) = (&*shared.clock, IssuerKeys::default());
    let mut last = clock.monotonic();
    while !keys.none {
        // From when it was asked for last: what came of that may be seen, and the clock moved on, before this timer runs.
        clock.sleep_past(last.saturating_add(keys.pause(random::fraction()))).await;
        last = clock.monotonic();
        let asked = clock.now();
        let answer = within(WAIT, api.key_set(keys.etag.as_deref())).await;
        keys.answered(answer, asked, clock.now());
        // A set of earlier says nothing of what was issued since: by a clock that was set back, that may look older than it.
        if keys.failure.is_some() {
            continue;
        }
        for slot in shared.slots() {
            let Some((token, issued_at)) = slot.held() else { continue };
            let Some(kid) = token.kid().filter(|kid| keys.has(kid, issued_at) == Some(false)) else {
                continue;
            };
            tracing::warn!(
                key.id = kid,
                "the key of a token has left the issuer's key set: another is asked for"
            );
            slot.rejected(clock, &token);
        }
    }
}
