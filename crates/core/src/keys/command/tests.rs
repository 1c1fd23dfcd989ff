use time::macros::datetime;

use super::*;
use crate::keys::{PrivateKey, SealKey, SealKeys, ring::NEVER};

const START: OffsetDateTime = datetime!(2026-01-01 10:00:00 UTC);
const ES256: Algorithm = Algorithm::ES256;

fn new_key(algorithm: Algorithm, origin: Origin) -> NewKey {
    let seal = SealKeys::from(SealKey::generate());
    seal.new_key(&PrivateKey::generate(algorithm).unwrap(), origin)
}

/// A ring with an active key since `START`, and a spare published an hour later.
fn ring() -> (KeyRing, String, String) {
    let mut ring = KeyRing::new(new_key(ES256, Origin::Generated), START);
    ring.prepare(new_key(ES256, Origin::Generated), Then::StandBy, START + hours(1)).unwrap();
    let (active, spare) = (ring.active().id.clone(), ring.prepared_of(ES256).unwrap().id.clone());
    (ring, active, spare)
}

fn hours(n: u64) -> Duration {
    Duration::from_secs(n * 3600)
}

fn ask(ring: &KeyRing, command: &Command, now: OffsetDateTime, force: bool) -> Result<Planned, Refused> {
    let policy = RotationPolicy::default();
    let done = match plan(ring, command, &policy, now, force, None) {
        Err(Refused::NeedsKey(algorithm)) => {
            plan(ring, command, &policy, now, force, Some(new_key(algorithm, Origin::Generated)))
        }
        other => other,
    };
    if let Ok(planned) = &done {
        planned.ring.check().unwrap();
    }
    done
}

/// The refusal's text, and when it would be safe.
#[track_caller]
fn unsafe_until(done: Result<Planned, Refused>) -> (String, Option<OffsetDateTime>) {
    match done.unwrap_err() {
        Refused::Unsafe { text, safe_at } => (text, safe_at),
        other => panic!("{other}"),
    }
}

#[test]
fn a_young_key_signs_only_by_force() {
    let (ring, active, spare) = ring();
    let command = Command::Activate { id: spare.clone() };
    let (text, safe_at) = unsafe_until(ask(&ring, &command, START + hours(2), false));
    assert_eq!(safe_at, Some(START + hours(25)));
    assert!(text.contains("may sign from 2026-01-02T11:00:00Z"), "{text}");

    let forced = ask(&ring, &command, START + hours(2), true).unwrap();
    assert_eq!(forced.ring.active().id, spare);
    assert!(forced.warnings.iter().any(|w| w.contains("a day") && w.contains("2026-01-02T11:00:00Z")));
    let patient = ask(&ring, &command, START + hours(25), false).unwrap();
    assert_eq!((patient.ring.active().id.clone(), patient.warnings), (spare, Vec::<String>::new()));
    assert!(matches!(
        ask(&ring, &Command::Activate { id: active }, START, true),
        Err(Refused::Ring(RingError::Phase { .. }))
    ));
    assert!(matches!(
        ask(&ring, &Command::Activate { id: "x".into() }, START, true),
        Err(Refused::Ring(RingError::Unknown(_)))
    ));
}

#[test]
fn rotate_does_the_next_safe_thing() {
    let policy = RotationPolicy::default();
    let (ring, active, spare) = ring();
    let rotate = Command::Rotate { algorithm: None };
    // Too early: it is remembered, and the schedule does it.
    let waiting = ask(&ring, &rotate, START + hours(2), false).unwrap();
    assert!(waiting.text.contains("signs from 2026-01-02T11:00:00Z, by itself"), "{}", waiting.text);
    assert_eq!(waiting.ring.active().id, active);
    assert_eq!(policy.next(&waiting.ring), Some(START + hours(25)));
    // In time.
    assert_eq!(ask(&ring, &rotate, START + hours(25), false).unwrap().ring.active().id, spare);
    // No spare yet.
    let bare = KeyRing::new(new_key(ES256, Origin::Generated), START);
    let made = ask(&bare, &rotate, START + hours(2), false).unwrap();
    assert_eq!(policy.next(&made.ring), Some(START + hours(26)));
    // Not an algorithm of this ring.
    let (text, safe_at) =
        unsafe_until(ask(&ring, &Command::Rotate { algorithm: Some(Algorithm::ES384) }, START, false));
    assert!(text.contains("keys prepare --algorithm ES384") && safe_at.is_none(), "{text}");
}

#[test]
fn a_second_spare_needs_force() {
    let (ring, _, spare) = ring();
    let (text, safe_at) = unsafe_until(ask(&ring, &Command::Prepare { algorithm: ES256 }, START, false));
    assert_eq!(safe_at, None, "waiting does not help");
    assert!(text.contains(&spare) && text.contains("2026-01-02T11:00:00Z"), "{text}");
    let forced = ask(&ring, &Command::Prepare { algorithm: ES256 }, START, true).unwrap();
    assert!(forced.ring.get(&spare).is_none());
    let other = ask(&ring, &Command::Prepare { algorithm: Algorithm::ES384 }, START, false).unwrap();
    assert_eq!(other.ring.keys().len(), 3);
}

#[test]
fn a_stolen_key_goes_at_once() {
    let (mut ring, active, spare) = ring();
    ring.promise(ES256, (START + hours(48)).unix_timestamp());
    let revoke = Command::Revoke { id: active.clone(), fresh: false };
    // The spare is known everywhere.
    let done = ask(&ring, &revoke, START + hours(25), false).unwrap();
    assert_eq!((&done.ring.active().id, done.ring.get(&active).unwrap().phase.name()), (&spare, "revoked"));
    assert!(done.warnings.iter().all(|w| w.contains("go on accepting")), "{:?}", done.warnings);
    // It is not: who fails, and until when.
    let (text, safe_at) = unsafe_until(ask(&ring, &revoke, START + hours(2), false));
    assert_eq!(safe_at, Some(START + hours(25)));
    for word in ["--force --reason", "a day", "may take over from 2026-01-02T11:00:00Z"] {
        assert!(text.contains(word), "{word}: {text}");
    }
    assert!(!text.contains("Istio"), "an hour is enough for Istio: {text}");
    let forced = ask(&ring, &revoke, START + hours(1), true).unwrap();
    assert!(forced.warnings.iter().any(|w| w.contains("Istio") && w.contains("2026-01-01T11:20:00Z")));
    // Keys that do not sign just go.
    assert!(ask(&ring, &Command::Revoke { id: spare, fresh: false }, START + hours(2), false).is_ok());
    assert!(matches!(ask(&done.ring, &revoke, START, true), Err(Refused::Ring(RingError::Phase { .. }))));
}

#[test]
fn a_stolen_key_without_a_spare() {
    let ring = KeyRing::new(new_key(ES256, Origin::Generated), START);
    let revoke = Command::Revoke { id: ring.active().id.clone(), fresh: false };
    let (text, safe_at) = unsafe_until(ask(&ring, &revoke, START + hours(2), false));
    assert!(text.contains("no spare") && safe_at == Some(START + hours(26)), "{text}");
    let forced = ask(&ring, &revoke, START + hours(2), true).unwrap();
    assert_eq!(forced.ring.keys().len(), 2);
}

/// The names of the families in some warnings.
fn named(warnings: &[String]) -> Vec<&'static str> {
    let names = verifiers::FAMILIES.iter().map(|family| family.name);
    names.filter(|name| warnings.iter().any(|w| w.contains(*name))).collect()
}

#[test]
fn a_forced_rotation_names_the_api_servers_authenticator() {
    let (ring, _, spare) = ring();
    let (rotate, activate) = (Command::Rotate { algorithm: None }, Command::Activate { id: spare });
    for command in [rotate, activate] {
        let done = ask(&ring, &command, START + hours(1), true).unwrap();
        let told = "go-oidc 2.5 (kube-apiserver's OIDC authenticator), until 2026-01-01T12:00:00Z";
        assert!(done.warnings.iter().any(|w| w.ends_with(told)), "{:?}", done.warnings);
        assert!(!named(&done.warnings).iter().any(|name| name.starts_with("go-oidc v3")), "it asks at once");
    }
}

#[test]
fn a_revocation_promises_no_bound_that_verifiers_do_not_keep() {
    let (mut ring, active, spare) = ring();
    ring.promise(ES256, (START + hours(48)).unix_timestamp());
    let revoke = Command::Revoke { id: active, fresh: false };
    let done = ask(&ring, &revoke, START + hours(25), false).unwrap();
    assert_eq!(done.verifiers, verifiers::after_revocation(&RotationPolicy::default(), START + hours(25)));
    let text = done.warnings.join("\n");
    assert!(text.contains("for ever") && text.contains("keys poke --audience"), "{text}");
    // A key without tokens has none that anybody could take.
    let unused = Command::Revoke { id: spare, fresh: false };
    assert!(ask(&ring, &unused, START + hours(25), false).unwrap().verifiers.is_empty());
}

#[test]
fn a_fresh_key_signs_only_by_force_and_leaves_the_spare() {
    let (mut ring, active, spare) = ring();
    ring.promise(ES256, (START + hours(48)).unix_timestamp());
    let now = START + hours(30);
    let revoke = Command::Revoke { id: active.clone(), fresh: true };
    // Not even when the spare may sign: who refuses, and what would not.
    let (text, safe_at) = unsafe_until(ask(&ring, &revoke, now, false));
    assert_eq!(safe_at, None, "nobody ever knows a key that is not made yet");
    for word in
        ["PyJWT", "jose", "until 2026-01-02T16:00:30Z", "go-oidc 2.5", "keys poke", "--force --reason"]
    {
        assert!(text.contains(word), "{word}: {text}");
    }
    let done = ask(&ring, &revoke, now, true).unwrap();
    assert_eq!((done.overruled, done.exception), (true, Some(Exception::RevokeFresh)));
    let fresh = done.ring.active();
    assert!(ring.get(&fresh.id).is_none() && fresh.published_at == now && fresh.phase.since() == now);
    assert_eq!(done.ring.get(&active).unwrap().phase.name(), "revoked");
    assert_eq!(done.ring.prepared_of(ES256), ring.prepared_of(ES256), "it is known already and stands by");
    assert!(fresh.last_exp.is_some(), "the first request does not wait for the disk");
    assert!(done.text.contains(&fresh.id) && done.text.contains("no verifier knows"), "{}", done.text);
    let fails: Vec<_> = verifiers::refusing(&RotationPolicy::default(), now, now);
    assert_eq!(named(&done.warnings), fails.iter().map(|told| told.verifier).collect::<Vec<_>>());
    assert_eq!(done.verifiers.len(), verifiers::FAMILIES.len());
    // No other command makes the exception, forced or not.
    for command in [Command::Revoke { id: active.clone(), fresh: false }, Command::Rotate { algorithm: None }]
    {
        assert_eq!(ask(&ring, &command, now, true).unwrap().exception, None);
    }
    // The same for a key that signs no more, and for one that stands by: the schedule makes another.
    let done = ask(&done.ring, &Command::Revoke { id: spare.clone(), fresh: true }, now, true).unwrap();
    assert!(done.ring.prepared_of(ES256).is_none() && done.ring.get(&spare).unwrap().sealed.is_none());
    assert_eq!(done.ring.keys().iter().filter(|k| k.is_active()).count(), 1);
    assert!(matches!(ask(&done.ring, &revoke, now, true), Err(Refused::Ring(RingError::Phase { .. }))));
}

#[test]
fn a_fresh_key_has_an_algorithm_that_verifiers_see() {
    let (mut ring, active, _) = ring();
    ring.prepare(new_key(Algorithm::ES384, Origin::Generated), Then::StandBy, START).unwrap();
    let other = ring.prepared_of(Algorithm::ES384).unwrap().id.clone();
    let done = ask(&ring, &Command::Revoke { id: other, fresh: true }, START + hours(2), true).unwrap();
    assert_eq!(done.ring.get(&active).unwrap().phase.name(), "retired", "its successor is ES256, too");
    assert!(done.ring.active_of(Algorithm::ES384).is_none(), "nobody asks for it");
}

#[test]
fn keys_from_elsewhere() {
    let (ring, _, spare) = ring();
    let key = new_key(ES256, Origin::Imported);
    let id = key.public.key_id().to_owned();
    let waits = ask(&ring, &Command::Import(Import::Sign(key.clone())), START + hours(2), false).unwrap();
    assert!(waits.text.contains("signs ES256 from 2026-01-02T12:00:00Z, by itself"), "{}", waits.text);
    assert!(waits.ring.get(&spare).is_none(), "one prepared key per algorithm");
    let at_once = ask(&ring, &Command::Import(Import::Sign(key.clone())), START + hours(2), true).unwrap();
    assert_eq!(at_once.ring.active().id, id);
    assert!(!at_once.warnings.is_empty());

    let until = (START + hours(5)).unix_timestamp();
    let done = ask(&ring, &Command::Import(Import::Verify(key.clone(), until)), START, false).unwrap();
    let verifies = done.ring.get(&id).unwrap();
    assert_eq!((verifies.phase.name(), &verifies.sealed, verifies.last_exp), ("retired", &None, Some(until)));
    let policy = RotationPolicy::default();
    assert_eq!(policy.removed_at(verifies), Some(START + hours(6) + Duration::from_secs(60)));
    let for_ever = ask(&ring, &Command::Import(Import::Verify(key.clone(), NEVER)), START, false).unwrap();
    assert!(for_ever.text.ends_with("until it is revoked"), "{}", for_ever.text);
    assert!(ask(&done.ring, &Command::Import(Import::Verify(key, until)), START, true).is_err());
}

#[test]
fn a_file_of_the_flags_is_not_rotated_away() {
    let (mut ring, active, spare) = ring();
    ring.set_origin(&active, Origin::File).unwrap();
    for command in [Command::Rotate { algorithm: None }, Command::Activate { id: spare.clone() }] {
        let (text, safe_at) = unsafe_until(ask(&ring, &command, START + hours(48), false));
        assert!(text.contains("--service-account-signing-key-file") && safe_at.is_none(), "{text}");
        assert_eq!(ask(&ring, &command, START + hours(48), true).unwrap().ring.active().id, spare);
    }
}

#[test]
fn fractions_of_a_second_are_told_late_rather_than_early() {
    assert_eq!(when(START), "2026-01-01T10:00:00Z");
    assert_eq!(when(START + Duration::from_millis(1)), "2026-01-01T10:00:01Z");
}
