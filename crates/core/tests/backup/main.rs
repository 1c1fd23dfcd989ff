//! The backup's form: what is written comes back, what is not as it was written is refused, and what is written meanwhile
//! makes one view.
#![expect(clippy::unwrap_used, reason = "a test that fails here says where")]

mod damage;
mod meanwhile;
mod restored;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use time::OffsetDateTime;
use time::macros::datetime;
use tokensmith_core::backup::{Decoder, Finished, ReadError, Record, Source, Trailer, WriteError, write};
use tokensmith_core::clock::ManualClock;
use tokensmith_core::keys::{Algorithm, Keys, KeysConfig, SealKey, SealKeys};
use tokensmith_core::ledger::{Issued, Ledger, Marks, NamespacedName, Revocation, What};
use tokensmith_core::store::{Expect, Revision, Store};
use tokensmith_store::{MemoryLedger, MemoryStore};
use tokio::sync::mpsc;

const START: OffsetDateTime = datetime!(2026-01-01 10:00:00 UTC);

/// What a store holds: values with their revisions.
type Contents = BTreeMap<String, (Revision, Bytes)>;

/// A server's store and ledger, with its sealing key.
struct World {
    store: Arc<dyn Store>,
    ledger: Arc<dyn Ledger>,
    clock: Arc<ManualClock>,
    seal: SealKey,
}

impl World {
    async fn new() -> Self {
        let (store, ledger) = (Arc::new(MemoryStore::new()), Arc::new(MemoryLedger::new()));
        let clock = Arc::new(ManualClock::new(START));
        let seal = SealKey::generate();
        let config = KeysConfig {
            algorithm: Some(Algorithm::ES256),
            ..KeysConfig::new("https://issuer.test", SealKey::new(*seal.expose()))
        };
        let keys = Keys::open(store.clone(), clock.clone(), config).await.unwrap();
        keys.tick().await.unwrap();
        for n in 0..100 {
            let value = Bytes::from(vec![n; usize::from(n)]);
            store.put(&format!("/registry/configmaps/default/{n}"), value, Expect::Any).await.unwrap();
        }
        ledger.keep_marks(Marks { limit: 7, settled: Some(3), ..Marks::default() }).await.unwrap();
        ledger.revoke(&[revocation("j"), revocation("k")]).await.unwrap();
        ledger.record(issued("j", START.unix_timestamp() + 600)).await;
        ledger.record(issued("expired", START.unix_timestamp() - 600)).await;
        World { store, ledger, clock, seal }
    }

    fn seal_keys(&self) -> SealKeys {
        SealKey::new(*self.seal.expose()).into()
    }

    fn source(&self) -> Source {
        let seal = Arc::new(self.seal_keys());
        Source {
            store: self.store.clone(),
            ledger: self.ledger.clone(),
            clock: self.clock.clone(),
            version: "1.2.3".into(),
            issuer: Some("https://issuer.test".into()),
            identity: Some("identity".into()),
            files: vec![("ca.key".into(), b"a secret".to_vec().into())],
            seal: Box::new(move || seal.clone()),
        }
    }

    async fn backup(&self) -> Vec<u8> {
        backup(&self.source()).await.unwrap()
    }

    async fn contents(&self) -> Contents {
        let all = self.store.list("", None, 0).await.unwrap().entries;
        all.into_iter().map(|e| (e.key, (e.revision, e.value))).collect()
    }
}

async fn backup(source: &Source) -> Result<Vec<u8>, WriteError> {
    let (out, mut pieces) = mpsc::channel::<Bytes>(1);
    let collect = async {
        let mut all = Vec::new();
        while let Some(piece) = pieces.recv().await {
            all.extend_from_slice(&piece);
        }
        all
    };
    let writing = async move {
        let done: Result<Trailer, _> = write(source, &out).await;
        drop(out);
        done
    };
    let (all, done) = futures::join!(collect, writing);
    done.map(|_| all)
}

/// All records of a backup that comes in pieces of this length.
fn read(bytes: &[u8], piece: usize) -> Result<(Vec<Record>, Finished), ReadError> {
    let (mut decoder, mut records) = (Decoder::default(), Vec::new());
    for piece in bytes.chunks(piece) {
        decoder.push(piece);
        while let Some(record) = decoder.record()? {
            records.push(record);
        }
    }
    Ok((records, decoder.finish()?))
}

/// What a store holds after these records: the latest revision of a key counts.
fn applied(records: &[Record]) -> Contents {
    let mut contents = Contents::new();
    for record in records {
        let newer = |known: Option<&(Revision, Bytes)>, than| known.is_none_or(|(known, _)| *known < than);
        match record {
            Record::Entry(e) if newer(contents.get(&e.key), e.revision) => {
                drop(contents.insert(e.key.clone(), (e.revision, e.value.clone())));
            }
            Record::Deleted(key, revision) if newer(contents.get(key), *revision) => {
                drop(contents.remove(key));
            }
            _ => {}
        }
    }
    contents
}

fn revocation(jti: &str) -> Revocation {
    Revocation {
        what: What::Jti(jti.into()),
        at: 1,
        until: i64::MAX,
        by: "admin".into(),
        reason: String::new(),
        epoch: None,
        ahead: None,
    }
}

fn issued(jti: &str, expires_at: i64) -> Issued {
    Issued {
        jti: jti.into(),
        account: NamespacedName::new("default", "default"),
        uid: "u".into(),
        bound: None,
        audiences: vec!["api".into()],
        audiences_cut: false,
        kid: "k".into(),
        issued_at: 1,
        expires_at,
        requester: "admin".into(),
        exchanged: None,
    }
}

#[tokio::test]
async fn a_backup_holds_all_that_store_and_ledger_hold() {
    let world = World::new().await;
    let bytes = world.backup().await;
    let (records, finished) = read(&bytes, 7).unwrap();
    assert_eq!(read(&bytes, bytes.len()).unwrap().0, records);
    assert_eq!(applied(&records), world.contents().await);
    let revision = world.store.revision().await.unwrap();
    assert_eq!((finished.header.revision, finished.trailer.revision), (revision, revision));
    assert_eq!(
        (finished.header.time, finished.header.issuer.as_deref()),
        (START, Some("https://issuer.test"))
    );
    let of_ledger: Vec<_> = records
        .iter()
        .filter_map(|record| match record {
            Record::Marks(marks) => Some(format!("{} {:?}", marks.limit, marks.settled)),
            Record::Revocation(revocation) => Some(revocation.what.to_string()),
            Record::Issued(issued) => Some(issued.jti.clone()),
            _ => None,
        })
        .collect();
    assert_eq!(of_ledger, ["7 Some(3)", "token j", "token k", "j"], "what has expired is left out");
    let counts = finished.trailer.counts;
    assert_eq!((counts.revocations, counts.issued, counts.files, counts.deleted), (2, 1, 1, 0));
    assert_eq!(finished.bytes, bytes.len() as u64);
}

#[tokio::test]
async fn nothing_in_it_is_secret_but_sealed_and_only_its_own_key_proves_it() {
    let world = World::new().await;
    let bytes = world.backup().await;
    let (records, finished) = read(&bytes, 1000).unwrap();
    assert!(!bytes.windows(8).any(|w| w == b"a secret"));
    let file =
        records.iter().find_map(|r| if let Record::File(file) = r { Some(file) } else { None }).unwrap();
    assert_eq!(file.open(&world.seal_keys()).unwrap().as_slice(), b"a secret");
    finished.prove(&world.seal_keys()).unwrap();
    let foreign: SealKeys = SealKey::generate().into();
    assert!(finished.prove(&foreign).is_err() && file.open(&foreign).is_err());
    let moved = tokensmith_core::backup::Sealed { name: "admin.token".into(), ..file.clone() };
    assert!(moved.open(&world.seal_keys()).is_err(), "one file's bytes are not another's");
}

#[tokio::test]
async fn a_ring_that_was_sealed_anew_meanwhile_makes_no_backup() {
    let world = World::new().await;
    let foreign: Arc<SealKeys> = Arc::new(SealKey::generate().into());
    let source = Source { seal: Box::new(move || foreign.clone()), ..world.source() };
    assert!(matches!(backup(&source).await, Err(WriteError::Sealed(_))));
}
