//! A signer on a socket of its own, with a store in memory and a clock that is moved.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail};
use serde_json::{Value, json};
use tempfile::TempDir;
use time::OffsetDateTime;
use time::macros::datetime;
use tokensmith_core::Clock;
use tokensmith_core::clock::ManualClock;
use tokensmith_core::keys::ring::NEVER;
use tokensmith_core::keys::{Algorithm, Keys, KeysConfig, RotationPolicy, SealKey};
use tokensmith_core::store::Store;
use tokensmith_signer::{Address, ExternalSigner, Socket, serve};
use tokensmith_store::MemoryStore;
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub const START: OffsetDateTime = datetime!(2026-01-01 00:00 UTC);
const SEAL: [u8; 32] = [7; 32];
/// How long a key signs.
pub const SIGNS_FOR: Duration = Duration::from_secs(4 * 3600);
/// How long it is published before: the least that goes with a key set that is kept for an hour.
const PUBLISH_BEFORE: Duration = Duration::from_secs(3720);

pub struct World {
    pub clock: Arc<ManualClock>,
    pub keys: Arc<Keys>,
    pub store: Arc<dyn Store>,
    pub socket: PathBuf,
    pub dir: TempDir,
    stop: watch::Sender<bool>,
    serving: JoinHandle<()>,
}

impl World {
    /// Serves; the first key is of `algorithm`.
    pub async fn new(algorithm: Algorithm, max_seconds: Option<i64>) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let socket = dir.path().join("signer.sock");
        let clock = Arc::new(ManualClock::new(START));
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        let config = KeysConfig {
            algorithm: Some(algorithm),
            policy: RotationPolicy {
                signs_for: SIGNS_FOR,
                publish_before: PUBLISH_BEFORE,
                ..Default::default()
            },
            ..KeysConfig::new("https://issuer.example", SealKey::new(SEAL))
        };
        let keys = Keys::open(store.clone(), clock.clone(), config).await?;
        let signer = ExternalSigner::new(keys.clone(), clock.clone(), max_seconds)?;
        let (stop, stopped) = watch::channel(false);
        let bound = Socket::bind(&Address::Path(socket.clone())).await?;
        let serving = tokio::spawn(serve(bound, signer, tokensmith_core::Supervisor::alone(), stopped));
        Ok(World { clock, keys, store, socket, dir, stop, serving })
    }

    /// Ends the signer.
    pub async fn stop(self) -> Result<TempDir> {
        self.stop.send_replace(true);
        self.serving.await?;
        Ok(self.dir)
    }

    /// A payload that expires after `seconds`.
    pub fn payload(&self, seconds: i64) -> Value {
        let now = self.clock.unix();
        json!({"aud": ["https://kubernetes.default.svc"], "exp": now + seconds, "iat": now, "nbf": now})
    }

    /// The latest expiry that the ring promises for the active key.
    pub fn promised(&self) -> Option<i64> {
        let set = self.keys.current();
        set.infos()
            .iter()
            .find(|key| key.id == set.active_id())
            .and_then(|key| if key.undated { Some(NEVER) } else { key.last_exp })
    }
}

/// Lets the tasks run until `condition` holds.
pub async fn until(what: &str, mut condition: impl FnMut() -> bool) -> Result<()> {
    for _ in 0..100_000 {
        if condition() {
            return Ok(());
        }
        tokio::task::yield_now().await;
    }
    bail!("never: {what}")
}
