//! Where a test may let the process die, named by `TOKENSMITH_KILL_AT`: just before or after each write of the key
//! ring, its journal and, once the server runs, the sealing-key file; or at a moment of a group of the store's writers. And
//! which of its tasks panic, listed in the file that `TOKENSMITH_PANIC_WHILE` names. Without debug assertions there is
//! nothing here.

use std::sync::Arc;

use tokensmith_core::keys::SealSource;
use tokensmith_core::store::Store;
use tokensmith_store::Options;

use super::sealing::SealingFile;
use crate::failure::Failure;

#[cfg(debug_assertions)]
mod points {
    use std::sync::Arc;

    use tokensmith_core::keys::{SealKeys, SealSource, SealSourceError};
    use tokensmith_core::store::Store;
    use tokensmith_store::KillAt;

    use super::SealingFile;
    use crate::failure::Failure;

    /// A file with names of tasks: each of them panics at every turn, for as long as it stands there.
    const PANIC_WHILE: &str = "TOKENSMITH_PANIC_WHILE";

    pub(super) fn arm() {
        let Some(file) = std::env::var_os(PANIC_WHILE) else { return };
        tracing::warn!("{PANIC_WHILE} is set: tasks are going to panic");
        tokensmith_core::supervise::arm(Box::new(move |task| {
            let names = std::fs::read_to_string(&file).unwrap_or_default();
            names.split_whitespace().any(|name| name == task.name())
        }));
    }

    /// `before:N`, `after:N`, or a moment of a group such as `after-flush:N`.
    const KILL_AT: &str = "TOKENSMITH_KILL_AT";
    /// The ring and its journal.
    const KEYS: &str = "/tokensmith/keys/";

    pub(super) fn from_env() -> Result<Option<Arc<KillAt>>, Failure> {
        let Ok(text) = std::env::var(KILL_AT) else { return Ok(None) };
        let at: KillAt = text.parse().map_err(|e| Failure::usage(format!("{KILL_AT}: {e}")))?;
        tracing::warn!("{KILL_AT}={text}: this process is going to kill itself");
        Ok(Some(Arc::new(at)))
    }

    pub(super) fn store(inner: Arc<dyn Store>, at: Arc<KillAt>) -> Arc<dyn Store> {
        Arc::new(tokensmith_store::FailPoints::new(inner, KEYS, at))
    }

    /// Each replacement of the file is a step.
    pub(super) struct Sealing {
        pub(super) file: SealingFile,
        pub(super) at: Arc<KillAt>,
    }

    impl SealSource for Sealing {
        fn load(&self) -> Result<SealKeys, SealSourceError> {
            self.file.load()
        }

        fn store(&self, keys: &SealKeys) -> Result<(), SealSourceError> {
            let step = self.at.begin();
            let done = self.file.store(keys);
            self.at.end(step);
            done
        }
    }
}

/// The fail points of one process; none, unless a test asks for one.
#[derive(Default)]
pub(super) struct FailPoints {
    #[cfg(debug_assertions)]
    at: Option<Arc<tokensmith_store::KillAt>>,
}

impl FailPoints {
    /// What the environment asks for.
    pub(super) fn from_env() -> Result<Self, Failure> {
        #[cfg(debug_assertions)]
        points::arm();
        Ok(FailPoints {
            #[cfg(debug_assertions)]
            at: points::from_env()?,
        })
    }

    /// How to open the store, with the fail points of its writers.
    pub(super) fn options(&self, options: Options) -> Options {
        #[cfg(debug_assertions)]
        let options = Options { kill_at: self.at.clone(), ..options };
        options
    }

    /// The store with its fail points.
    pub(super) fn store(&self, store: Arc<dyn Store>) -> Arc<dyn Store> {
        #[cfg(debug_assertions)]
        if let Some(at) = &self.at {
            return points::store(store, at.clone());
        }
        store
    }

    /// The sealing-key file with its fail points.
    pub(super) fn sealing(&self, file: SealingFile) -> Arc<dyn SealSource> {
        #[cfg(debug_assertions)]
        if let Some(at) = &self.at {
            return Arc::new(points::Sealing { file, at: at.clone() });
        }
        Arc::new(file)
    }
}
