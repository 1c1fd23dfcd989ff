//! Whether the keys of the tokens that are held are still published: a key may be revoked long before its tokens expire.

use std::collections::BTreeSet;
use std::sync::Weak;
use std::time::Duration;

use time::OffsetDateTime;
use tokensmith_core::random;

use super::api::Shared;
use crate::api::{ApiError, KeySet};

/// How often the key set is asked for, more or less,
const EVERY: Duration = Duration::from_secs(10);
/// no less often than this where that fails,
const LONGEST: Duration = Duration::from_secs(300);
/// and how long an answer is waited for.
const CALL: Duration = Duration::from_secs(10);

/// Looks at the key set for as long as the source is there, and has tokens replaced whose key has left it. A set that cannot
/// be had takes no token away.
pub(super) async fn run(shared: Weak<Shared>) {
    let (mut kids, mut etag, mut failures) = (None, None, 0u32);
    loop {
        let Some(clock) = shared.upgrade().map(|shared| shared.clock.clone()) else { return };
        // A quarter more or less, so that sidecars that were started at once do not come at once.
        let wait = EVERY.saturating_mul(1 << failures.min(10)).min(LONGEST);
        clock.sleep(wait.mul_f64(0.75 + 0.5 * random::fraction())).await;
        let Some(shared) = shared.upgrade() else { return };
        let asked = clock.now();
        let told = look(&shared, etag.as_deref()).await;
        match told.and_then(|told| told.checked(kids.is_some())) {
            Ok(KeySet::None) => return,
            Ok(KeySet::Same) => failures = 0,
            Ok(KeySet::New { kids: new, etag: tag }) => (kids, etag, failures) = (Some(new), tag, 0),
            Err(error) => {
                if failures == 0 {
                    tracing::debug!(cause = %error, "the issuer's key set cannot be read: whether tokens are good is not checked");
                }
                failures = failures.saturating_add(1);
                continue;
            }
        }
        if let Some(kids) = &kids {
            compare(&shared, kids, asked);
        }
    }
}

async fn look(shared: &Shared, etag: Option<&str>) -> Result<KeySet, ApiError> {
    let late = |_| ApiError::Unreachable("no answer in time".into());
    tokio::time::timeout(CALL, shared.api.key_set(etag)).await.map_err(late)?
}

fn compare(shared: &Shared, kids: &BTreeSet<String>, seen: OffsetDateTime) {
    for (slot, token) in shared.held_before(seen) {
        let Some(kid) = token.kid().filter(|kid| !kids.contains(kid)) else { continue };
        tracing::warn!(
            key.id = kid,
            "the key of a token has left the issuer's key set: another is asked for"
        );
        slot.rejected(&*shared.clock, &token);
    }
}
