//! The token in a file.

use std::fs::{self, File, Metadata};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokensmith_core::Clock;
use tokio::sync::Mutex;

use super::error::FileProblem;
use super::token::Hints;
use super::{BearerToken, TokenError, TokenStatus};
use crate::payload::Secret;

/// Tokens have a few hundred bytes to a few thousand.
const LARGEST: u64 = 64 << 10;
/// A look at the file costs a system call.
const LOOK: Duration = Duration::from_secs(1);
/// A file that was changed in place within the same instant looks the same.
const READ: Duration = Duration::from_secs(30);
/// After a 401 the file is read again, but not for each of them.
const REJECTED: Duration = Duration::from_secs(30);

pub(super) struct FileSource {
    path: PathBuf,
    clock: Arc<dyn Clock>,
    state: ArcSwap<State>,
    /// When the file was looked at last: milliseconds of the monotonic clock, and one more so that 0 is never.
    looked: AtomicU64,
    rejected: AtomicU64,
    looking: Mutex<()>,
    refreshes: AtomicU64,
    failures: AtomicU64,
}

#[derive(Clone, Default)]
struct State {
    held: Option<Held>,
    /// What the last try found wrong.
    trouble: Option<TokenError>,
    /// The file that was read, and when.
    seen: Option<(FileIdentity, Duration)>,
}

#[derive(Clone)]
struct Held {
    token: Arc<BearerToken>,
    audiences: Arc<Option<Vec<String>>>,
}

/// What tells one file from another behind the same path. The path is followed through `..data`, whose replacement
/// leads to another inode.
#[derive(Clone, Copy, PartialEq, Eq)]
struct FileIdentity {
    device: u64,
    inode: u64,
    modified: (i64, i64),
    size: u64,
}

impl FileSource {
    pub(super) fn new(path: PathBuf, clock: Arc<dyn Clock>) -> Self {
        FileSource {
            path,
            clock,
            state: ArcSwap::default(),
            looked: AtomicU64::new(0),
            rejected: AtomicU64::new(0),
            looking: Mutex::new(()),
            refreshes: AtomicU64::new(0),
            failures: AtomicU64::new(0),
        }
    }

    pub(super) async fn token(self: &Arc<Self>, audience: &str) -> Result<Arc<BearerToken>, TokenError> {
        if self.due(&self.looked, LOOK) {
            // One looks; the others go on with what there is, if it is good.
            let turn = match self.looking.try_lock() {
                Ok(turn) => Some(turn),
                Err(_) if self.usable() => None,
                Err(_) => Some(self.looking.lock().await),
            };
            if turn.is_some() && self.due(&self.looked, LOOK) {
                let me = self.clone();
                // A network file system may hang; a cancelled caller leaves the look to end by itself.
                let _ = tokio::task::spawn_blocking(move || me.look()).await;
            }
        }
        self.answer(audience)
    }

    pub(super) fn cached(&self, audience: &str) -> Option<Arc<BearerToken>> {
        if self.due(&self.looked, LOOK) { None } else { self.answer(audience).ok() }
    }

    pub(super) fn rejected(&self, token: &Arc<BearerToken>) {
        let current = self.state.load();
        let same = current.held.as_ref().is_some_and(|held| Arc::ptr_eq(&held.token, token));
        if same && self.due(&self.rejected, REJECTED) {
            self.rejected.store(self.now(), Ordering::Relaxed);
            self.state.rcu(|state| State { seen: None, ..State::clone(state) });
            self.looked.store(0, Ordering::Relaxed);
        }
    }

    pub(super) fn status(&self) -> TokenStatus {
        let state = self.state.load();
        TokenStatus {
            audience: None,
            expires_at: state.held.as_ref().and_then(|held| held.token.expires_at),
            usable: self.usable(),
            refreshes: self.refreshes.load(Ordering::Relaxed),
            failures: self.failures.load(Ordering::Relaxed),
            trouble: state.trouble.clone(),
        }
    }

    fn answer(&self, audience: &str) -> Result<Arc<BearerToken>, TokenError> {
        let state = self.state.load();
        let Some(held) = &state.held else {
            return Err(state.trouble.clone().unwrap_or(TokenError::Empty));
        };
        if !held.token.usable(self.clock.now()) {
            let expired = |at| TokenError::ExpiredFile { path: self.path.clone(), at };
            let expired = held.token.expires_at.map_or(TokenError::Empty, expired);
            return Err(state.trouble.clone().unwrap_or(expired));
        }
        let fits = |list: &Vec<String>| list.iter().any(|found| found == audience);
        if !audience.is_empty() && !held.audiences.as_ref().as_ref().is_some_and(fits) {
            return Err(TokenError::Audience { path: self.path.clone(), audience: audience.to_owned() });
        }
        Ok(held.token.clone())
    }

    fn usable(&self) -> bool {
        let now = self.clock.now();
        self.state.load().held.as_ref().is_some_and(|held| held.token.usable(now))
    }

    fn now(&self) -> u64 {
        self.clock.monotonic().as_millis() as u64 + 1
    }

    fn due(&self, last: &AtomicU64, period: Duration) -> bool {
        let last = last.load(Ordering::Relaxed);
        last == 0 || self.now().saturating_sub(last) >= period.as_millis() as u64
    }

    /// Looks at the file, and reads it if it is another one or long unread.
    fn look(&self) {
        let now = self.clock.monotonic();
        let before = self.state.load_full();
        let same = |(seen, read): (FileIdentity, Duration)| {
            now.saturating_sub(read) < READ
                && fs::metadata(&self.path).is_ok_and(|found| FileIdentity::of(&found) == seen)
        };
        if !before.seen.is_some_and(same) {
            self.state.store(Arc::new(self.next(&before, now)));
        }
        self.looked.store(self.now(), Ordering::Relaxed);
    }

    fn next(&self, before: &State, now: Duration) -> State {
        match self.read() {
            Ok((identity, held)) => {
                if before.trouble.is_some() {
                    tracing::info!(file = %self.path.display(), "the token can be read again");
                }
                let same = before.held.as_ref().filter(|old| old.token.token == held.token.token);
                if same.is_none() {
                    self.refreshes.fetch_add(1, Ordering::Relaxed);
                }
                // A token that is good is not given up for one that is not.
                let kept = before
                    .held
                    .as_ref()
                    .filter(|old| old.token.usable(self.clock.now()) && !held.token.usable(self.clock.now()));
                let held = same.or(kept).cloned().unwrap_or(held);
                State { held: Some(held), trouble: None, seen: Some((identity, now)) }
            }
            Err(problem) => {
                self.failures.fetch_add(1, Ordering::Relaxed);
                if before.trouble.is_none() {
                    tracing::warn!(file = %self.path.display(), cause = %problem, "cannot read the token");
                }
                let trouble = TokenError::File { path: self.path.clone(), cause: Arc::new(problem) };
                State { held: before.held.clone(), trouble: Some(trouble), seen: None }
            }
        }
    }

    fn read(&self) -> Result<(FileIdentity, Held), FileProblem> {
        // Before it is opened: a pipe without a writer would keep this thread for ever.
        if !fs::metadata(&self.path).map_err(FileProblem::Io)?.is_file() {
            return Err(FileProblem::NotAFile);
        }
        let file = File::open(&self.path).map_err(FileProblem::Io)?;
        let identity = FileIdentity::of(&file.metadata().map_err(FileProblem::Io)?);
        let mut bytes = Vec::new();
        file.take(LARGEST + 1).read_to_end(&mut bytes).map_err(FileProblem::Io)?;
        if bytes.len() as u64 > LARGEST {
            return Err(FileProblem::TooLarge(LARGEST));
        }
        let token = bytes.trim_ascii();
        let Hints { audiences, expires_at } = Hints::of(token);
        let token = BearerToken::new(Secret::new(token.to_vec()), expires_at, expires_at)
            .map_err(FileProblem::Token)?;
        Ok((identity, Held { token: Arc::new(token), audiences: Arc::new(audiences) }))
    }
}

impl FileIdentity {
    fn of(found: &Metadata) -> Self {
        FileIdentity {
            device: found.dev(),
            inode: found.ino(),
            modified: (found.mtime(), found.mtime_nsec()),
            size: found.size(),
        }
    }
}
