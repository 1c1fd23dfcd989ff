use time::macros::datetime;
use time::{Duration, OffsetDateTime};
use tokensmith_objects::object::timestamp;

use super::*;
use crate::keys::{PrivateKey, RotationPolicy, SealKey, SealKeys, Step};

const START: OffsetDateTime = datetime!(2026-01-01 10:00:00 UTC);

pub(crate) fn key(algorithm: Algorithm) -> NewKey {
    let seal = SealKeys::from(SealKey::generate());
    seal.new_key(&PrivateKey::generate(algorithm).unwrap(), Origin::Generated)
}

fn id(key: &NewKey) -> String {
    key.public.key_id().to_owned()
}

fn ring() -> (KeyRing, String) {
    let first = key(Algorithm::ES256);
    let first_id = id(&first);
    (KeyRing::new(first, START), first_id)
}

/// All that is due, applied.
fn tick(ring: &mut KeyRing, policy: &RotationPolicy, now: OffsetDateTime) -> Vec<Step> {
    let steps = policy.due(ring, now);
    for step in &steps {
        step.apply(ring, now, |algorithm| Some(key(algorithm))).unwrap();
    }
    ring.check().unwrap();
    steps
}

#[test]
fn a_ring_lives_by_itself() {
    let policy = RotationPolicy::default();
    let (mut ring, first) = ring();
    assert!(matches!(tick(&mut ring, &policy, START)[..], [Step::Prepare { then: Then::StandBy, .. }]));
    let spare = ring.prepared_of(Algorithm::ES256).unwrap().id.clone();
    ring.promise(Algorithm::ES256, START.unix_timestamp() + 40 * 86_400);

    let turn = START + Duration::days(30);
    assert_eq!(tick(&mut ring, &policy, turn - Duration::SECOND), []);
    assert_eq!(policy.next(&ring), Some(turn));
    assert_eq!(tick(&mut ring, &policy, turn), [Step::Promote { id: spare.clone() }]);
    assert_eq!(ring.active().id, spare);
    assert!(ring.get(&first).unwrap().sealed.is_none(), "a retired key cannot sign");
    // The predecessor's promise is taken over for a day, so that no request waits for the disk.
    assert!(ring.active().last_exp.unwrap() >= turn.unix_timestamp() + 86_400);

    let dead = START + Duration::days(40) + Duration::seconds(3600 + 60);
    tick(&mut ring, &policy, dead - Duration::SECOND);
    assert!(ring.get(&first).is_some(), "its last token may still be accepted");
    tick(&mut ring, &policy, dead);
    assert!(ring.get(&first).is_none());
}

#[test]
fn a_spare_that_came_late_waits_its_time() {
    let policy = RotationPolicy::default();
    let (mut ring, first) = ring();
    let late = START + Duration::days(30) - Duration::hours(1);
    tick(&mut ring, &policy, late);
    assert_eq!(tick(&mut ring, &policy, late + Duration::hours(23)), []);
    assert_eq!(ring.active().id, first);
    tick(&mut ring, &policy, late + Duration::hours(24));
    assert_ne!(ring.active().id, first);
}

/// What a fuzzer may do to a ring.
#[derive(Clone, Debug)]
enum Act {
    Advance(u32),
    SetBack(u32),
    Command(u8, u8, bool),
    Wish(u8),
    Profiles(u8),
}

fn acts() -> impl proptest::strategy::Strategy<Value = Vec<Act>> {
    use proptest::prelude::*;
    let act = prop_oneof![
        3 => (0..200u32).prop_map(|hours| Act::Advance(hours * 1800)),
        1 => (0..2000u32).prop_map(|hours| Act::SetBack(hours * 1800)),
        4 => (0..7u8, 0..3u8, any::<bool>()).prop_map(|(what, which, force)| Act::Command(what, which, force)),
        1 => (0..4u8).prop_map(Act::Wish),
        1 => (0..8u8).prop_map(Act::Profiles),
    ];
    proptest::collection::vec(act, 1..60)
}

const ALGORITHMS: [Algorithm; 3] = [Algorithm::ES256, Algorithm::ES384, Algorithm::EdDSA];

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(200))]

    /// Whatever comes in whatever order, a step that is due can be carried out, none stays due, the invariants hold, and
    /// no key signs before its time unless an operator forced it; `revoke --fresh` excuses its one new key alone.
    #[test]
    fn no_order_of_events_gets_a_ring_stuck(acts in acts()) {
        use crate::keys::command::{plan, Command, Import, Refused};
        let policy = RotationPolicy::default();
        let (mut ring, first) = ring();
        let mut now = START;
        let mut excused: std::collections::HashSet<String> = [first].into();
        for act in acts {
            // As servers do before they judge anything.
            if policy.set_back(&mut ring, now) {
                proptest::prop_assert_eq!(ring.check(), Ok(()));
                proptest::prop_assert!(!policy.set_back(&mut ring.clone(), now));
                for (at, step) in policy.schedule(&ring) {
                    let frozen = matches!(step, Step::Promote { .. }) && at > now + policy.signs_for + policy.lag;
                    proptest::prop_assert!(!frozen, "{step} at {at}, now {now}");
                }
                // They signed before, whatever their dates say now.
                excused.extend(ring.keys().iter().filter(|k| k.is_active()).map(|k| k.id.clone()));
            }
            match act {
                Act::Advance(seconds) => now += Duration::seconds(seconds.into()),
                Act::SetBack(seconds) => now -= Duration::seconds(seconds.into()),
                Act::Wish(n) => ring.want_default(ALGORITHMS.get(usize::from(n)).copied(), now).unwrap(),
                Act::Profiles(bits) => {
                    // As a start does it: only what may sign by then.
                    let may = |a: &Algorithm| ring.active_of(*a).is_some_and(|k| policy.may_sign_from(k) <= now);
                    let chosen = ALGORITHMS.iter().enumerate().filter(|(n, a)| bits >> n & 1 == 1 && may(a));
                    ring.use_profiles(chosen.map(|(_, a)| *a).collect());
                }
                Act::Command(what, which, force) => {
                    let algorithm = ALGORITHMS[usize::from(which)];
                    let some = ring.keys().get(usize::from(which) % ring.keys().len()).unwrap().id.clone();
                    let command = match what {
                        0 => Command::Rotate { algorithm: Some(algorithm) },
                        1 => Command::Prepare { algorithm },
                        2 => Command::Activate { id: some },
                        3 => Command::Revoke { id: some, fresh: false },
                        6 => Command::Revoke { id: some, fresh: true },
                        4 => Command::Import(Import::Sign(key(algorithm))),
                        _ => Command::Import(Import::Verify(key(algorithm), now.unix_timestamp() + 3600)),
                    };
                    let mut done = plan(&ring, &command, &policy, now, force, None);
                    if let Err(Refused::NeedsKey(algorithm)) = done {
                        done = plan(&ring, &command, &policy, now, force, Some(key(algorithm)));
                    }
                    if let Ok(planned) = done {
                        if planned.exception.is_some() {
                            // The named exception excuses the one key that it made, and takes no spare.
                            let asked = force && matches!(command, Command::Revoke { fresh: true, .. });
                            proptest::prop_assert!(asked);
                            let made: Vec<_> =
                                planned.ring.keys().iter().filter(|k| ring.get(&k.id).is_none()).collect();
                            proptest::prop_assert!(made.len() == 1 && made[0].is_active(), "{:?}", made);
                            let kept = |k: &&RingKey| planned.ring.get(&k.id).is_some_and(|new| new == *k);
                            let spares = ring.keys().iter().filter(|k| k.is_prepared() && k.id != planned.key);
                            proptest::prop_assert!(spares.clone().all(|k| kept(&k)));
                            excused.insert(made[0].id.clone());
                        } else if planned.overruled {
                            let signs = planned.ring.keys().iter().filter(|k| k.is_active());
                            excused.extend(signs.map(|k| k.id.clone()));
                        }
                        ring = planned.ring;
                    }
                }
            }
            let advanced = policy.advance(&mut ring, now, |algorithm| Some(key(algorithm)), |_| true);
            proptest::prop_assert!(advanced.refused.is_empty(), "{:?}", advanced.refused);
            proptest::prop_assert!(policy.due(&ring, now).is_empty(), "{:?}", policy.due(&ring, now));
            proptest::prop_assert_eq!(ring.check(), Ok(()));
            for key in ring.keys().iter().filter(|k| k.is_active() && !excused.contains(&k.id)) {
                proptest::prop_assert!(key.phase.since() >= policy.may_sign_from(key), "{:?}", key);
            }
            for algorithm in ring.algorithms().into_iter().filter(|a| ring.in_use(*a)) {
                proptest::prop_assert!(ring.active_of(algorithm).is_some() && ring.prepared_of(algorithm).is_some());
            }
        }
    }
}

/// As [`tick`], until nothing is due.
fn ticks(ring: &mut KeyRing, policy: &RotationPolicy, now: OffsetDateTime) -> Vec<Step> {
    std::iter::from_fn(|| Some(tick(ring, policy, now)).filter(|steps| !steps.is_empty())).flatten().collect()
}

/// A ring that a clock was `ahead` for: the second key signs, the third stands by.
fn rotated_ahead(policy: &RotationPolicy, ahead: Duration) -> KeyRing {
    let (mut ring, _) = ring();
    tick(&mut ring, policy, START);
    ring.promise(Algorithm::ES256, START.unix_timestamp() + 3600);
    ticks(&mut ring, policy, START + ahead);
    ring.promise(Algorithm::ES256, (START + ahead).unix_timestamp() + 7200);
    ring
}

#[test]
fn dates_that_lie_ahead_count_from_now() {
    let policy = RotationPolicy::default();
    let mut ring = rotated_ahead(&policy, Duration::days(32));
    let (before, now) = (ring.clone(), START + Duration::hours(2));
    assert_eq!(policy.next(&ring).unwrap(), START + Duration::days(32) + Duration::seconds(3660), "frozen");
    assert!(policy.set_back(&mut ring, now));
    ring.check().unwrap();
    for (old, new) in before.keys().iter().zip(ring.keys()) {
        // What was published before is known since then; what was promised is promised.
        let published = if old.published_at == START { START } else { now };
        assert_eq!((new.published_at, new.phase.since()), (published, now));
        assert_eq!((&new.last_exp, new.phase.name()), (&old.last_exp, old.phase.name()));
    }
    assert_eq!(
        policy.may_sign_from(ring.prepared_of(Algorithm::ES256).unwrap()),
        now + policy.publish_before
    );
    let id = ring.prepared_of(Algorithm::ES256).unwrap().id.clone();
    let turn = (now + policy.signs_for, Step::Promote { id });
    assert!(policy.schedule(&ring).contains(&turn), "{:?}", policy.schedule(&ring));
    assert_eq!(KeyRing::from_json(&ring.to_json()).unwrap(), ring);
    ring.log(Some(&before), &Cause::set_back(), now);
    let told: Vec<_> = ring.outbox().iter().map(|e| (e.from.as_str(), e.to.as_str())).collect();
    let anew = ["retired", "active", "prepared"].map(|phase| (phase, format!("{phase} (dated anew)")));
    assert_eq!(told, anew.each_ref().map(|(from, to)| (*from, to.as_str())));
    assert!(
        ring.outbox().iter().all(|e| e.by == "schedule" && e.reason.starts_with("the clock was set back"))
    );
}

#[test]
fn a_revoked_key_and_a_key_set_are_dated_anew_too() {
    let policy = RotationPolicy::default();
    let (mut ring, first) = ring();
    tick(&mut ring, &policy, START);
    ring.revoke(&first, START + Duration::days(400)).unwrap();
    assert!(policy.set_back(&mut ring, START));
    let revoked = ring.get(&first).unwrap();
    assert_eq!((revoked.phase.name(), revoked.phase.since()), ("revoked", START));
    assert_eq!((ring.published_at(), ring.active().phase.since()), (START, START));
    ring.check().unwrap();
}

#[test]
fn a_removal_that_lies_ahead_is_in_the_journal_though_its_key_is_gone() {
    let policy = RotationPolicy::default();
    let (mut ring, _) = ring();
    ring.verify_with(key(Algorithm::ES384), START.unix_timestamp(), START).unwrap();
    let other = ring.keys()[1].id.clone();
    ring.remove(&other, START + Duration::days(2)).unwrap();
    let before = ring.clone();
    assert!(policy.set_back(&mut ring, START));
    ring.log(Some(&before), &Cause::set_back(), START);
    assert_eq!(ring.outbox().len(), 1);
}

#[test]
fn dates_that_are_fine_stay() {
    let policy = RotationPolicy::default();
    let ring = rotated_ahead(&policy, Duration::days(32));
    let ahead = START + Duration::days(32);
    let unset = datetime!(1970-01-01 00:05:00 UTC);
    // The clocks of replicas differ by the lag; one that has not been set yet knows nothing.
    for now in [ahead + Duration::days(900), ahead, ahead - policy.lag, unset] {
        let mut same = ring.clone();
        assert!(!policy.set_back(&mut same, now), "{now}");
        assert_eq!(same, ring);
    }
    assert!(policy.set_back(&mut ring.clone(), ahead - policy.lag - Duration::SECOND));
}

#[test]
fn a_clock_that_is_set_back_twice_freezes_nothing() {
    let policy = RotationPolicy::default();
    let mut ring = rotated_ahead(&policy, Duration::days(400));
    assert!(policy.set_back(&mut ring, START + Duration::days(40)));
    assert!(policy.set_back(&mut ring, START + Duration::days(1)));
    // Ahead for a while again: no sooner than the spare could have come to be known.
    ring.date_anew(START, START + Duration::days(400));
    ring.dated_anew = Some(START + Duration::days(1));
    let next = START + Duration::days(1) + policy.publish_before + policy.lag;
    assert!(!policy.set_back(&mut ring, next - Duration::SECOND));
    assert!(policy.set_back(&mut ring, next));
}

/// Two replicas that do not agree on the time would mend each other's ring for ever, each time with a rotation.
#[test]
fn a_replica_whose_clock_stays_ahead_makes_no_storm() {
    let policy = RotationPolicy::default();
    let (mut ring, first) = ring();
    let mut known = std::collections::BTreeMap::from([(first, START)]);
    let mut waited = Vec::new();
    for half_minute in 0..(5 * 2880) {
        let now = START + Duration::seconds(30 * half_minute);
        for clock in [now, now + Duration::days(32)] {
            policy.set_back(&mut ring, clock);
            for step in ticks(&mut ring, &policy, clock) {
                if let Step::Promote { id } = step {
                    waited.push(now - known[&id]);
                }
            }
            for key in ring.keys() {
                known.entry(key.id.clone()).or_insert(now);
            }
        }
    }
    assert!(waited.len() <= 7, "{} rotations in five days", waited.len());
    // After the first ones, which its clock is to blame for, no key signs before verifiers could know it.
    assert!(waited.iter().skip(2).all(|waited| *waited >= policy.publish_before), "{waited:?}");
}

#[test]
fn a_token_that_never_expires_keeps_its_key() {
    let policy = RotationPolicy::default();
    let (mut ring, first) = ring();
    ring.promise(Algorithm::ES256, START.unix_timestamp() + 60);
    ring.promise(Algorithm::ES256, NEVER);
    assert_eq!(ring.active().last_exp, Some(START.unix_timestamp() + 60), "other tokens expire all the same");
    tick(&mut ring, &policy, START);
    tick(&mut ring, &policy, START + Duration::days(31));
    tick(&mut ring, &policy, START + Duration::days(3000));
    assert!(ring.get(&first).is_some());
}

#[test]
fn a_file_signs_until_it_is_no_longer_named() {
    let policy = RotationPolicy::default();
    let (mut ring, first) = ring();
    ring.set_origin(&first, Origin::File).unwrap();
    tick(&mut ring, &policy, START);
    assert_eq!(tick(&mut ring, &policy, START + Duration::days(300)), []);
    ring.set_origin(&first, Origin::Imported).unwrap();
    tick(&mut ring, &policy, START + Duration::days(300));
    assert_ne!(ring.active().id, first);
}

#[test]
fn the_default_algorithm_moves_once_its_key_may_sign() {
    let policy = RotationPolicy::default();
    let (mut ring, first) = ring();
    tick(&mut ring, &policy, START);
    ring.want_default(Some(Algorithm::ES384), START).unwrap();
    assert!(matches!(
        tick(&mut ring, &policy, START)[..],
        [Step::Prepare { algorithm: Algorithm::ES384, then: Then::Sign }]
    ));
    tick(&mut ring, &policy, START + Duration::hours(23));
    assert_eq!(ring.default_algorithm(), Algorithm::ES256);
    tick(&mut ring, &policy, START + Duration::hours(24));
    assert_eq!((ring.default_algorithm(), ring.next_default()), (Algorithm::ES384, None));
    assert_eq!(ring.get(&first).unwrap().phase.name(), "retired");
    assert!(ring.prepared_of(Algorithm::ES256).is_none(), "no spare for what nobody uses");
}

#[test]
fn a_wish_that_is_taken_back_leaves_nothing() {
    let policy = RotationPolicy::default();
    let (mut ring, first) = ring();
    ring.want_default(Some(Algorithm::ES384), START).unwrap();
    tick(&mut ring, &policy, START);
    ring.want_default(Some(Algorithm::ES256), START).unwrap();
    assert!(ring.keys().iter().all(|k| k.algorithm == Algorithm::ES256));
    assert_eq!((ring.next_default(), &ring.active().id), (None, &first));
}

#[test]
fn a_profile_has_keys_of_its_own() {
    let policy = RotationPolicy::default();
    let (mut ring, _) = ring();
    ring.first(key(Algorithm::ES384), START);
    ring.use_profiles([Algorithm::ES384].into());
    tick(&mut ring, &policy, START);
    assert!(ring.prepared_of(Algorithm::ES384).is_some() && ring.prepared_of(Algorithm::ES256).is_some());
    tick(&mut ring, &policy, START + Duration::days(30));
    assert_eq!(ring.keys().iter().filter(|k| k.is_active()).count(), 2);
    // The profile goes: its key ends with its turn, and no other comes.
    ring.use_profiles(BTreeSet::new());
    tick(&mut ring, &policy, START + Duration::days(59));
    assert!(ring.active_of(Algorithm::ES384).is_some());
    tick(&mut ring, &policy, START + Duration::days(60));
    assert!(ring.active_of(Algorithm::ES384).is_none());
}

#[test]
fn a_revoked_active_key_gives_way_to_the_spare() {
    let policy = RotationPolicy::default();
    let (mut ring, first) = ring();
    assert_eq!(ring.revoke(&first, START), Err(RingError::Active(first.clone())));
    tick(&mut ring, &policy, START);
    ring.revoke(&first, START).unwrap();
    ring.check().unwrap();
    assert_ne!(ring.active().id, first);
    let revoked = ring.get(&first).unwrap();
    assert_eq!((revoked.phase.name(), &revoked.sealed), ("revoked", &None));
    let again =
        NewKey { public: crate::keys::PublicKey::from_spki(&revoked.spki).unwrap(), ..key(Algorithm::ES256) };
    assert_eq!(ring.prepare(again, Then::Sign, START), Err(RingError::Revoked { id: first, since: START }));
}

#[test]
fn the_journal_has_every_change() {
    let policy = RotationPolicy::default();
    let first = key(Algorithm::ES256);
    let mut ring = KeyRing::new(first.clone(), START);
    ring.log(None, &Cause::start("the first start"), START);
    let before = ring.clone();
    tick(&mut ring, &policy, START);
    ring.log(Some(&before), &Cause::schedule(), START);
    let before = ring.clone();
    let turn = START + Duration::days(30);
    tick(&mut ring, &policy, turn);
    ring.log(Some(&before), &Cause::schedule(), turn);
    let told: Vec<_> = ring
        .outbox()
        .iter()
        .map(|e| (e.number, e.key == id(&first), e.from.as_str(), e.to.as_str(), e.by.as_str()))
        .collect();
    assert_eq!(
        told,
        [
            (1, true, "-", "active", "start"),
            (2, false, "-", "prepared", "schedule"),
            (3, true, "active", "retired", "schedule"),
            (4, false, "prepared", "active", "schedule"),
        ]
    );
    ring.posted(3);
    assert_eq!((ring.outbox().len(), ring.changes()), (1, 4));
    assert_eq!(KeyRing::from_json(&ring.to_json()).unwrap(), ring);
}

#[test]
fn a_ring_of_the_first_format_is_read() {
    let (mut ring, first) = ring();
    ring.prepare(key(Algorithm::ES384), Then::Sign, START).unwrap();
    let mut old: serde_json::Value = serde_json::from_slice(&ring.to_json()).unwrap();
    old["format"] = 1.into();
    old["keys"][0]["lastExp"] = NEVER.into();
    for new in ["default", "changes"] {
        old.as_object_mut().unwrap().remove(new);
    }
    let read = KeyRing::from_json(&serde_json::to_vec(&old).unwrap()).unwrap();
    assert_eq!((read.active().id.as_str(), read.default_algorithm()), (first.as_str(), Algorithm::ES256));
    assert_eq!(read.next_default(), Some(Algorithm::ES384));
    assert!(read.active().undated && read.active().last_exp.is_none());
}

#[test]
fn damage_is_not_believed() {
    let (mut ring, _) = ring();
    ring.prepare(key(Algorithm::ES256), Then::StandBy, START).unwrap();
    let good: serde_json::Value = serde_json::from_slice(&ring.to_json()).unwrap();
    let damaged = |change: &dyn Fn(&mut serde_json::Value)| {
        let mut value = good.clone();
        change(&mut value);
        KeyRing::from_json(&serde_json::to_vec(&value).unwrap()).unwrap_err().to_string()
    };
    assert!(damaged(&|v| v["format"] = 3.into()).contains("newer version"));
    assert!(damaged(&|v| v["keys"][1]["phase"]["name"] = "active".into()).contains("active"));
    assert!(damaged(&|v| drop(v["keys"].as_array_mut().unwrap().remove(0))).contains("default algorithm"));
    assert!(
        damaged(&|v| drop(v["keys"][0].as_object_mut().unwrap().remove("sealed"))).contains("private half")
    );
    assert!(damaged(&|v| v["keys"][0]["id"] = v["keys"][1]["id"].clone()).contains("twice"));
    assert!(damaged(&|v| v["keys"][0]["spki"] = v["keys"][1]["spki"].clone()).contains("belong"));
    assert!(damaged(&|v| v["keys"] = "x".into()).contains("malformed"));
    assert!(KeyRing::from_json(b"{").unwrap_err().to_string().contains("no key ring"));
}

#[test]
fn a_conflict_says_what_the_key_is_and_since_when() {
    let (mut ring, first) = ring();
    let of = |ring: &KeyRing| {
        let known = ring.get(&first).unwrap();
        NewKey { public: crate::keys::PublicKey::from_spki(&known.spki).unwrap(), ..key(Algorithm::ES256) }
    };
    let since = timestamp(START);
    let again = of(&ring);
    let error = ring.prepare(again, Then::Sign, START).unwrap_err();
    assert_eq!(error.to_string(), format!("key {first} is active since {since}"));
    let again = of(&ring);
    let error = ring.verify_with(again, 0, START).unwrap_err();
    assert_eq!(error.to_string(), format!("key {first} is active since {since}"));
    tick(&mut ring, &RotationPolicy::default(), START);
    ring.revoke(&first, START).unwrap();
    let again = of(&ring);
    let error = ring.prepare(again, Then::Sign, START).unwrap_err();
    assert_eq!(error.to_string(), format!("key {first} is revoked since {since}: use another one"));
    assert_eq!(error.key(), Some(first.as_str()));
}
