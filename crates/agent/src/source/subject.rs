//! Whether the token that was exchanged is still the one that there is.

use std::sync::Arc;
use std::time::Duration;

use super::api::Shared;
use super::origin::ExchangeOrigin;

/// How often it is looked at.
const EVERY: Duration = Duration::from_secs(10);

/// Looks at it for as long as it is polled, and has what was made of another one made anew: an exchanged token counts for no
/// longer than the one that it was given for, and that one may have been replaced because it is dead.
pub(super) async fn run(shared: Arc<Shared>, origin: &ExchangeOrigin) {
    let clock = &*shared.clock;
    let mut last = clock.monotonic();
    loop {
        clock.sleep_past(last.saturating_add(EVERY)).await;
        last = clock.monotonic();
        let slots = shared.slots();
        if slots.is_empty() {
            continue;
        }
        // What is wrong with it is told by the next exchange.
        let Ok(given) = origin.subject().await else { continue };
        if origin.is_another(&given) {
            tracing::debug!(
                "there is another token to exchange: what was made of the one before is made anew"
            );
            slots.iter().for_each(|slot| slot.renew(clock));
        }
    }
}
