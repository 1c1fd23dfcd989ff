//! What must be another one after a restore.

use time::Duration;
use tokensmith_core::backup::{Bump, Header};
use tokensmith_core::keys::service::RING_KEY;
use tokensmith_core::keys::{KeyRing, RotationPolicy, Step};
use tokensmith_core::ledger::Marks;

use crate::{START, World};

fn header() -> Header {
    let version = "1".to_owned();
    Header { format: 1, version, time: START, revision: 50, issuer: None, identity: None }
}

#[test]
fn no_revision_and_no_mark_is_given_twice_not_even_by_a_second_restore() {
    let first = Bump::new(&header(), START + Duration::hours(1));
    let second = Bump::new(&header(), START + Duration::hours(2));
    let limit = |bump: &Bump, limit| bump.marks(Some(Marks { limit, ..Marks::default() })).limit;
    assert!(first.revision(60) >= 60 + 1_000_000_000);
    // As many as no disk can write in an hour.
    assert!(second.revision(60) - first.revision(60) >= 3600 * 1_000_000);
    assert!(limit(&first, 7) >= 7 + (1 << 20) && limit(&second, 7) >= limit(&first, 7) + 3600);
    let behind = Bump::new(&header(), START - Duration::days(9));
    assert!(behind.revision(60) >= 1_000_000_060, "a clock that is behind takes nothing back");
    let ever = Bump::new(&header(), time::macros::datetime!(9999-12-31 23:59:59 UTC));
    assert!(ever.revision(u64::MAX - 1) == u64::MAX, "no overflow");
    assert!(limit(&ever, u32::MAX - 1) == u32::MAX - 1 && limit(&ever, 0) < 1 << 29);
    assert_eq!(first.marks(None).unmarked_until, None);
}

#[tokio::test]
async fn keys_stay_for_as_much_longer_as_the_lost_server_may_have_signed_and_spares_wait_anew() {
    let world = World::new().await;
    let ring = world.store.get(RING_KEY).await.unwrap().unwrap().value;
    let mut ring = KeyRing::from_json(&ring).unwrap();
    let algorithm = ring.default_algorithm();
    ring.promise(algorithm, START.unix_timestamp() + 3600);
    let spare = ring.prepared_of(algorithm).unwrap().id.clone();
    let now = START + Duration::days(40);
    let restored = Bump::new(&header(), now).ring(&ring, now);
    restored.check().unwrap();
    let kept = now.unix_timestamp() + 3600;
    assert_eq!(restored.active().last_exp, Some(kept));
    assert_eq!(restored.get(&spare).unwrap().last_exp, Some(kept), "it may have signed meanwhile");
    let policy = RotationPolicy::default();
    let promotes = |ring: &KeyRing, at| {
        policy.due(ring, at).iter().any(|step| matches!(step, Step::Promote { id } if *id == spare))
    };
    assert!(promotes(&ring, now), "without it, the spare would sign at once");
    assert!(!promotes(&restored, now) && promotes(&restored, now + Duration::days(1)));
    let last = restored.outbox().last().unwrap();
    assert_eq!((last.by.as_str(), last.to.as_str()), ("restore", "key set (restored)"));
    assert_eq!(last.number, restored.changes());
    assert_eq!(KeyRing::from_json(&restored.to_json()).unwrap(), restored);
}
