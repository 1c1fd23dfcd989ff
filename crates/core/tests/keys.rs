//! The keys of a server over a store: restarts with other flags, several operators at once, sealing keys that change.
#![expect(clippy::unwrap_used, reason = "a test that fails here says where")]

use std::sync::Arc;
use std::time::Duration;

use time::OffsetDateTime;
use time::macros::datetime;
use tokensmith_core::Clock;
use tokensmith_core::clock::ManualClock;
use tokensmith_core::keys::{
    Algorithm, Cause, Command, CommandError, Keys, KeysConfig, KeysError, NewKey, Origin, PrivateKey,
    PrivatePem, Refused, SealKey, SealKeys, SealMemory, SealSource,
};
use tokensmith_core::store::Store;
use tokensmith_store::MemoryStore;

const START: OffsetDateTime = datetime!(2026-01-01 10:00:00 UTC);
const DAY: Duration = Duration::from_secs(86_400);

/// A data directory that outlives its servers.
struct World {
    store: Arc<dyn Store>,
    clock: Arc<ManualClock>,
    sealing: Arc<dyn SealSource>,
}

impl World {
    fn new() -> Self {
        let clock = Arc::new(ManualClock::new(START));
        World { store: Arc::new(MemoryStore::new()), clock, sealing: SealMemory::new(SealKey::generate()) }
    }

    /// A start of the server, with what is due done.
    async fn start(&self, flags: impl FnOnce(&mut KeysConfig)) -> Result<Arc<Keys>, KeysError> {
        let mut config = KeysConfig::new("https://issuer.test", self.sealing.clone());
        flags(&mut config);
        let keys = Keys::open(self.store.clone(), self.clock.clone(), config).await?;
        keys.tick().await.unwrap();
        Ok(keys)
    }

    /// The key that signs what no profile decides: its algorithm and id.
    fn signs(keys: &Keys) -> (Algorithm, String) {
        let set = keys.current();
        (set.ring().default_algorithm(), set.active_id().to_owned())
    }

    /// As long as a key is published before it signs.
    async fn wait(&self, keys: &Keys) {
        self.clock.advance(DAY);
        keys.tick().await.unwrap();
    }
}

fn by(forced: bool) -> Cause {
    Cause { by: "admin".into(), reason: "a test".into(), forced, exception: None }
}

fn es256(config: &mut KeysConfig) {
    config.algorithm = Some(Algorithm::ES256);
}

/// A key file of an operator, made here.
fn file(algorithm: Algorithm) -> (String, Vec<u8>) {
    let key = PrivateKey::generate(algorithm).unwrap();
    (key.public().key_id().to_owned(), key.to_pem(None).unwrap().as_bytes().to_vec())
}

/// Every private half opens with what the source has.
async fn opens(world: &World) {
    world.start(|_| {}).await.map(drop).unwrap();
}

#[tokio::test]
async fn resealing_twice_at_once_loses_nothing() {
    let world = World::new();
    let keys = world.start(es256).await.unwrap();
    let (first, second) = (by(false), by(false));
    let (first, second) = tokio::join!(keys.reseal(true, &first), keys.reseal(true, &second));
    assert_eq!((first.unwrap(), second.unwrap()), (2, 2));
    assert_eq!(world.sealing.load().unwrap().all().len(), 1, "the old ones are gone");
    opens(&world).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_that_come_while_others_are_resealed_open() {
    let world = World::new();
    let keys = world.start(es256).await.unwrap();
    for _ in 0..20 {
        let (resealing, importing) = (keys.clone(), keys.clone());
        let reseal = tokio::spawn(async move { resealing.reseal(true, &by(false)).await.map(drop) });
        let import = tokio::spawn(async move {
            let key = PrivateKey::generate(Algorithm::ES256).unwrap();
            importing.import(&key, &by(true)).await.map(drop)
        });
        reseal.await.unwrap().unwrap();
        import.await.unwrap().unwrap();
        opens(&world).await;
    }
}

#[tokio::test]
async fn a_file_without_the_old_key_changes_nothing() {
    let world = World::new();
    let keys = world.start(es256).await.unwrap();
    let old = world.sealing.load().unwrap();
    world.sealing.store(&SealKey::generate().into()).unwrap();
    assert!(matches!(keys.reseal(false, &by(false)).await, Err(CommandError::Unseal { .. })));
    // What is made from now on must open with the old key, which the operator puts back.
    keys.command(&Command::Prepare { algorithm: Algorithm::ES384 }, &by(false)).await.unwrap();
    world.sealing.store(&old).unwrap();
    opens(&world).await;
}

#[tokio::test]
async fn a_new_key_in_front_of_the_file_is_taken() {
    let world = World::new();
    let keys = world.start(es256).await.unwrap();
    let old = SealKey::new(*world.sealing.load().unwrap().all()[0].expose());
    let new = SealKey::generate();
    let alone = SealKeys::from(SealKey::new(*new.expose()));
    world.sealing.store(&SealKeys::new(new, vec![old])).unwrap();
    assert_eq!(keys.reseal(false, &by(false)).await.unwrap(), 2);
    world.sealing.store(&alone).unwrap();
    opens(&world).await;
}

#[tokio::test]
async fn another_process_that_renewed_the_sealing_key_is_followed() {
    let world = World::new();
    let here = world.start(es256).await.unwrap();
    let there = world.start(|_| {}).await.unwrap();
    there.reseal(true, &by(false)).await.unwrap();
    // `here` still has the old sealing key in memory.
    here.command(&Command::Prepare { algorithm: Algorithm::ES384 }, &by(false)).await.unwrap();
    assert_eq!(here.problem(), None);
    opens(&world).await;
}

#[tokio::test]
async fn steps_that_contradict_each_other_do_not_stop_the_schedule() {
    let world = World::new();
    world.start(|c| c.algorithm = Some(Algorithm::ES384)).await.unwrap();
    let keys = world.start(es256).await.unwrap();
    // A spare of the old algorithm that wants to sign is due together with the new default, which retires it.
    keys.command(&Command::Rotate { algorithm: Some(Algorithm::ES384) }, &by(false)).await.unwrap();
    world.clock.advance(3 * DAY);
    keys.tick().await.unwrap();
    assert_eq!((World::signs(&keys).0, keys.problem()), (Algorithm::ES256, None));
    assert!(keys.next_change().unwrap() > world.clock.now(), "nothing stays due");
}

#[tokio::test]
async fn what_an_operator_did_outlives_restarts_with_the_same_flags() {
    let world = World::new();
    let keys = world.start(es256).await.unwrap();
    let key = PrivateKey::generate(Algorithm::ES256).unwrap();
    let id = key.public().key_id().to_owned();
    keys.import(&key, &by(false)).await.unwrap();
    let keys = world.start(es256).await.unwrap();
    assert_ne!(World::signs(&keys).1, id);
    world.wait(&keys).await;
    assert_eq!(World::signs(&keys), (Algorithm::ES256, id.clone()));
    keys.command(&Command::Revoke { id: id.clone(), fresh: false }, &by(true)).await.unwrap();
    let keys = world.start(es256).await.unwrap();
    assert_eq!(keys.current().ring().get(&id).unwrap().phase.name(), "revoked");
}

#[tokio::test]
async fn a_file_signs_while_it_is_named() {
    let world = World::new();
    world.start(es256).await.unwrap();
    let (id, pem) = file(Algorithm::ES384);
    let named = |config: &mut KeysConfig| config.signing_key = Some(PrivatePem::new(pem.clone()));
    let keys = world.start(named).await.unwrap();
    assert_eq!(World::signs(&keys).0, Algorithm::ES256, "not before it has been published");
    world.wait(&keys).await;
    assert_eq!(World::signs(&keys), (Algorithm::ES384, id.clone()));
    world.clock.advance(60 * DAY);
    keys.tick().await.unwrap();
    assert_eq!(World::signs(&keys).1, id, "no schedule takes its place");
    let rotate = Command::Rotate { algorithm: None };
    assert!(keys.command(&rotate, &by(false)).await.unwrap_err().to_string().contains("signing-key-file"));

    let done = keys.command(&Command::Revoke { id: id.clone(), fresh: false }, &by(false)).await.unwrap();
    assert!(done.warnings.iter().any(|w| w.contains("take the flag away")), "{:?}", done.warnings);
    match world.start(named).await {
        Err(KeysError::SigningKeyRevoked(revoked)) => assert_eq!(revoked, id),
        other => panic!("{:?}", other.map(drop)),
    }
    world.start(|_| {}).await.map(drop).unwrap();
}

#[tokio::test]
async fn a_file_that_is_withdrawn_leaves_no_wish() {
    let world = World::new();
    let before = World::signs(&world.start(es256).await.unwrap());
    let (_, pem) = file(Algorithm::ES384);
    world.start(|config| config.signing_key = Some(PrivatePem::new(pem))).await.unwrap();
    let keys = world.start(|_| {}).await.unwrap();
    world.wait(&keys).await;
    assert_eq!(World::signs(&keys), before);
    assert!(keys.current().ring().keys().iter().all(|k| k.algorithm == Algorithm::ES256));
}

#[tokio::test]
async fn an_unpublished_key_never_becomes_the_default_by_the_back_door() {
    let world = World::new();
    let keys = world.start(|c| c.algorithm = Some(Algorithm::ES384)).await.unwrap();
    let key = PrivateKey::generate(Algorithm::ES256).unwrap();
    let done = keys.import(&key, &by(true)).await.unwrap();
    assert!(done.warnings.iter().any(|w| w.contains("no token asks for ES256")), "{:?}", done.warnings);
    keys.command(&Command::Prepare { algorithm: Algorithm::ES256 }, &by(false)).await.unwrap();
    // Nobody asks for ES256: its spare has no reason to sign when its key goes.
    keys.command(&Command::Revoke { id: done.key, fresh: false }, &by(false)).await.unwrap();
    assert!(keys.current().ring().active_of(Algorithm::ES256).is_none());
    let young = PrivateKey::generate(Algorithm::ES256).unwrap();
    keys.import(&young, &by(true)).await.unwrap();
    let keys = world.start(es256).await.unwrap();
    assert_eq!(World::signs(&keys).0, Algorithm::ES384, "the forced key is too young to be the default");
    world.wait(&keys).await;
    assert_eq!(World::signs(&keys).0, Algorithm::ES256);
}

#[tokio::test]
async fn a_profile_that_leaves_takes_its_keys_with_it_in_the_end() {
    let world = World::new();
    let profiles = |config: &mut KeysConfig| {
        es256(config);
        config.profile_algorithms = [Algorithm::ES384].into();
    };
    let keys = world.start(profiles).await.unwrap();
    assert_eq!(keys.current().published().len(), 4);
    world.start(es256).await.unwrap();
    world.clock.advance(DAY);
    world.start(profiles).await.map(drop).expect("it comes back before its turn is over");
    let keys = world.start(es256).await.unwrap();
    world.clock.advance(31 * DAY);
    keys.tick().await.unwrap();
    world.clock.advance(DAY);
    keys.tick().await.unwrap();
    assert!(
        keys.current().ring().keys().iter().all(|k| k.algorithm == Algorithm::ES256),
        "{:?}",
        keys.current()
    );
    assert!(matches!(world.start(profiles).await, Err(KeysError::NotYet { safe_at: None, .. })));
}

#[tokio::test]
async fn the_journal_says_what_was_asked_for() {
    let world = World::new();
    world.start(es256).await.unwrap();
    let keys = world.start(|c| c.algorithm = Some(Algorithm::ES384)).await.unwrap();
    world.wait(&keys).await;
    let (entries, count) = keys.history().await.unwrap();
    assert_eq!(entries.len() as u64, count);
    let told = |from: &str, to: &str, by: &str| {
        let found = entries.iter().any(|e| (e.from.as_str(), e.to.as_str(), e.by.as_str()) == (from, to, by));
        assert!(found, "{from} -> {to} by {by}: {entries:#?}");
    };
    told("wanted default -", "wanted default ES384", "start");
    told("default ES256", "default ES384", "schedule");
    told("wanted default ES384", "wanted default -", "schedule");
    // --force that overruled nothing is not told as if it had.
    let done = keys.command(&Command::Prepare { algorithm: Algorithm::ES512 }, &by(true)).await.unwrap();
    let (entries, _) = keys.history().await.unwrap();
    assert!(entries.iter().filter(|e| e.key == done.key).all(|e| !e.forced));
}

#[tokio::test]
async fn one_rsa_key_has_one_algorithm() {
    let world = World::new();
    let keys = world.start(es256).await.unwrap();
    let key = PrivateKey::generate(Algorithm::RS256).unwrap();
    let pem = key.to_pem(None).unwrap();
    let other = key.with_algorithm(Algorithm::RS384).unwrap();
    keys.import(&other, &by(true)).await.unwrap();
    let again = world.start(|c| c.signing_key = Some(PrivatePem::new(pem.as_bytes().to_vec()))).await;
    assert!(matches!(again, Err(KeysError::Ring(_))), "{:?}", again.map(drop));
}

#[tokio::test]
async fn a_key_that_only_verifies_comes_without_a_private_half() {
    let world = World::new();
    let keys = world.start(es256).await.unwrap();
    let public = PrivateKey::generate(Algorithm::ES384).unwrap().public().clone();
    let key = NewKey { public: public.clone(), sealed: None, origin: Origin::Imported };
    let until = (START + DAY).unix_timestamp();
    keys.command(&Command::Import(tokensmith_core::keys::Import::Verify(key, until)), &by(false))
        .await
        .unwrap();
    assert!(keys.private(public.key_id()).is_err());
    let keys = world.start(es256).await.unwrap();
    assert_eq!(keys.current().candidates(Some(public.key_id())).count(), 1);
    world.clock.advance(2 * DAY);
    keys.tick().await.unwrap();
    assert!(keys.current().candidates(Some(public.key_id())).next().is_none());
}

/// A world whose clock was ahead by 32 days while its keys changed, and is right again.
async fn set_back() -> (World, Arc<Keys>) {
    let world = World::new();
    let keys = world.start(es256).await.unwrap();
    world.clock.jump(START + 32 * DAY);
    keys.tick().await.unwrap();
    let mut ahead = by(false);
    ahead.reason = "ahead".into();
    keys.command(&Command::Prepare { algorithm: Algorithm::ES384 }, &ahead).await.unwrap();
    world.clock.jump(START + DAY);
    (world, keys)
}

#[tokio::test]
async fn a_key_can_be_revoked_a_day_after_the_clock_was_set_back() {
    let (world, keys) = set_back().await;
    let revoke = Command::Revoke { id: World::signs(&keys).1, fresh: false };
    // Nothing ticks: the command itself finds the dates wrong, and the wait begins though it is refused.
    let safe_at = |refused: Result<_, CommandError>| match refused.map(drop) {
        Err(CommandError::Refused(Refused::Unsafe { safe_at, .. })) => safe_at,
        other => panic!("{other:?}"),
    };
    let may = Some(START + 2 * DAY);
    assert_eq!(safe_at(keys.command(&revoke, &by(false)).await), may);
    world.clock.advance(DAY - Duration::from_secs(1));
    assert_eq!(safe_at(keys.command(&revoke, &by(false)).await), may);
    world.clock.advance(Duration::from_secs(1));
    keys.command(&revoke, &by(false)).await.unwrap();
    keys.tick().await.unwrap();
    assert_eq!(keys.problem(), None);
    let (history, count) = keys.history().await.unwrap();
    assert!(history.iter().map(|e| e.number).eq(1..=count), "{history:?}");
    let anew: Vec<_> = history.iter().filter(|e| e.to.ends_with("(dated anew)")).collect();
    assert!(anew.iter().all(|e| e.by == "schedule" && e.reason.starts_with("the clock was set back")));
    assert_eq!(anew.len(), 4, "{history:?}");
}

#[tokio::test]
async fn a_start_after_the_clock_was_set_back_waits_for_a_profile_no_longer_than_for_a_new_key() {
    let (world, keys) = set_back().await;
    drop(keys);
    let profile = |config: &mut KeysConfig| {
        es256(config);
        config.profile_algorithms = [Algorithm::ES384].into();
    };
    let may = Some(START + 2 * DAY);
    for _ in 0..2 {
        let refused = world.start(profile).await.err();
        assert!(matches!(refused, Some(KeysError::NotYet { safe_at, .. }) if safe_at == may), "{refused:?}");
        world.clock.advance(DAY / 2);
    }
    world.start(profile).await.unwrap();
}

#[tokio::test]
async fn a_ring_whose_dates_are_fine_is_not_written() {
    let world = World::new();
    let keys = world.start(es256).await.unwrap();
    let revision = world.store.revision().await.unwrap();
    for now in [START, START - Duration::from_secs(60), START + DAY] {
        world.clock.jump(now);
        keys.tick().await.unwrap();
        drop(world.start(es256).await.unwrap());
        assert_eq!(world.store.revision().await.unwrap(), revision, "{now}");
    }
}
