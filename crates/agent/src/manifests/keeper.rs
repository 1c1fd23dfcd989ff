//! Follows files to the pods that they hold.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use time::OffsetDateTime;
use tokensmith_core::{Clock, Moment, random};
use tokensmith_objects::Object;
use tokio::sync::watch;

use super::files::{Files, ReadError};
use crate::api::{ApiServer, short_line};
use crate::ensure::{self, EnsureError, Known};
use crate::pod::manifest::{Reading, TwiceError};
use crate::pod::{Manifest, ManifestError, PlanError, manifest};
use crate::projector::{Listed, PodName};
use crate::refresh::{Failure, Retry, Trouble};

/// How manifests are understood.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Where objects are that do not say it.
    pub namespace: String,
    /// Whether the pods of workloads' templates are taken.
    pub templates: bool,
    /// Whether what the pods need is made where it is missing.
    pub create: bool,
}

/// Why manifests give no pods.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A file is no manifest.
    #[error("{file}: {cause}")]
    Manifest {
        /// Which.
        file: String,
        /// What is wrong with it.
        cause: Box<ManifestError>,
    },
    /// There is nothing to be kept.
    #[error("the manifest holds no pod{}", hint.as_ref().map(|what| format!(": --from-templates takes that of {what}")).unwrap_or_default())]
    NoPod {
        /// What has a pod's template.
        hint: Option<String>,
    },
    /// A pod cannot be projected.
    #[error(transparent)]
    Plan(Box<PlanError>),
    /// A file cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Something stands twice.
    #[error(transparent)]
    Twice(Box<TwiceError>),
}

impl From<PlanError> for StartError {
    fn from(error: PlanError) -> Self {
        StartError::Plan(Box::new(error))
    }
}

impl From<TwiceError> for StartError {
    fn from(error: TwiceError) -> Self {
        StartError::Twice(Box::new(error))
    }
}

/// Manifests, and what has become of them.
#[derive(Debug)]
pub struct Keeper {
    rules: Rules,
    files: Files,
    read: BTreeMap<String, Kept>,
    /// What is wanted: the last good of each file.
    wanted: Manifest,
    /// Why all files together are not what is wanted.
    conflict: Option<String>,
    known: Known,
    /// `wanted` has been had.
    ensured: bool,
    failure: Option<Failing>,
}

/// A file.
#[derive(Debug)]
struct Kept {
    text: Result<Arc<str>, ReadError>,
    good: Option<Manifest>,
    trouble: Option<String>,
}

/// The pods cannot be had.
#[derive(Debug)]
struct Failing {
    failure: Failure,
    /// The server is away.
    away: bool,
}

/// How often files are looked at; a look costs a system call for each.
const LOOK: Duration = Duration::from_secs(1);

impl Keeper {
    /// Reads all files. Blocks.
    ///
    /// # Errors
    /// The first that is broken: at its start an agent has no last good one to go on with.
    pub fn new(files: Files, rules: Rules) -> Result<Self, StartError> {
        let mut keeper = Keeper {
            rules,
            files,
            read: BTreeMap::new(),
            wanted: Manifest::default(),
            conflict: None,
            known: Known::new(),
            ensured: false,
            failure: None,
        };
        keeper.files.look();
        for (file, text) in keeper.files.texts() {
            let text = text.map_err(Clone::clone)?;
            let good = understand(file, text, &keeper.rules)
                .map_err(|cause| StartError::Manifest { file: file.to_owned(), cause: Box::new(cause) })?;
            let kept = Kept { text: Ok(text.clone()), good: Some(good), trouble: None };
            keeper.read.insert(file.to_owned(), kept);
        }
        keeper.wanted = keeper.together()?;
        ensure::left_out(&keeper.wanted, keeper.rules.create)?;
        Ok(keeper)
    }

    /// What of the manifests is not used, one line each.
    pub fn left_out(&self) -> Vec<String> {
        ensure::left_out(&self.wanted, self.rules.create).unwrap_or_default()
    }

    /// Has the pods found or made, once.
    ///
    /// # Errors
    /// See [`EnsureError`].
    pub async fn ensure(&mut self, api: &dyn ApiServer) -> Result<Vec<Object>, EnsureError> {
        let pods = ensure::pods(api, &self.wanted, self.rules.create, &mut self.known).await;
        self.ensured = pods.is_ok();
        pods
    }

    /// The same as often as it takes while the server is away; `tell` hears of that once.
    ///
    /// # Errors
    /// The server is there, and refuses.
    pub async fn ensure_patiently(
        &mut self,
        api: &dyn ApiServer,
        clock: &dyn Clock,
        mut tell: impl FnMut(&EnsureError),
    ) -> Result<Vec<Object>, EnsureError> {
        let mut failures = 0_u32;
        loop {
            match self.ensure(api).await {
                Err(error) if error.is_passing() => {
                    failures = failures.saturating_add(1);
                    if failures == 1 {
                        tell(&error);
                    }
                    clock.sleep(retry(&error, failures).delay(clock.now(), random::fraction())).await;
                }
                done => return done,
            }
        }
    }

    /// Tries it once: which pods there are, and why not all of them.
    ///
    /// # Errors
    /// The server is there, and refuses: at its start an agent has nothing to go on with.
    pub async fn begin(&mut self, api: &dyn ApiServer, clock: &dyn Clock) -> Result<Listed, EnsureError> {
        match self.ensure(api).await {
            Err(error) if !error.is_passing() => Err(error),
            result => {
                let mut listed = Listed::default();
                self.came(result, clock.now(), &mut listed);
                listed.trouble = self.trouble();
                tell(None, listed.trouble.as_deref());
                Ok(listed)
            }
        }
    }

    /// Follows the files and tells which pods there are, for as long as somebody listens.
    pub async fn run(mut self, api: Arc<dyn ApiServer>, clock: Arc<dyn Clock>, to: watch::Sender<Listed>) {
        while !to.is_closed() {
            clock.sleep(LOOK).await;
            // A panic ends the task, and with `to` the projector learns it.
            self = self.step(&*api, &*clock, &to).await;
        }
    }

    async fn step(mut self, api: &dyn ApiServer, clock: &dyn Clock, to: &watch::Sender<Listed>) -> Self {
        // A network file system may hang; everything else goes on meanwhile.
        let looked = tokio::task::spawn_blocking(move || {
            let settled = self.files.look();
            (self, settled)
        });
        let (mut me, settled) = match looked.await {
            Ok(looked) => looked,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        };
        if settled {
            me.reread();
        }
        let mut listed = to.borrow().clone();
        let before = listed.trouble.clone();
        let due = match &me.failure {
            None => !me.ensured,
            Some(Failing { failure, .. }) => failure.next_attempt.is_none_or(|at| at <= clock.now()),
        };
        if !me.ensured && due {
            let result = me.ensure(api).await;
            me.came(result, clock.now(), &mut listed);
        }
        listed.trouble = me.trouble();
        tell(before.as_deref(), listed.trouble.as_deref());
        to.send_if_modified(|old| std::mem::replace(old, listed.clone()) != listed);
        me
    }

    /// Takes over what has changed.
    fn reread(&mut self) {
        let mut changed = false;
        let mut read = BTreeMap::new();
        let mut before = std::mem::take(&mut self.read);
        for (file, text) in self.files.texts() {
            let (text, old) = (text.cloned().map_err(Clone::clone), before.remove(file));
            let kept = match old {
                Some(old) if old.text == text => old,
                old => {
                    changed = true;
                    let found = match &text {
                        Ok(text) => understand(file, text, &self.rules).map_err(|e| format!("{file}: {e}")),
                        Err(error) => Err(error.to_string()),
                    };
                    match found {
                        Ok(good) => Kept { text, good: Some(good), trouble: None },
                        Err(why) => {
                            Kept { text, good: old.and_then(|old| old.good), trouble: Some(short_line(&why)) }
                        }
                    }
                }
            };
            read.insert(file.to_owned(), kept);
        }
        changed |= !before.is_empty();
        self.read = read;
        if !changed {
            return;
        }
        let found = self.together().and_then(|all| {
            ensure::left_out(&all, self.rules.create)?;
            Ok(all)
        });
        match found {
            Ok(all) => {
                self.conflict = None;
                if all != self.wanted {
                    tracing::info!(pods = all.pods().count(), "the manifests have changed");
                    self.wanted = all;
                    for line in self.left_out() {
                        tracing::info!("{line}");
                    }
                    (self.ensured, self.failure) = (false, None);
                }
            }
            Err(error) => self.conflict = Some(short_line(&error.to_string())),
        }
    }

    /// The last good of all files.
    fn together(&self) -> Result<Manifest, StartError> {
        let all = Manifest::join(self.read.values().filter_map(|kept| kept.good.as_ref()))?;
        if all.pods().next().is_none() {
            let hint = all.left.iter().find(|left| left.template);
            return Err(StartError::NoPod { hint: hint.map(|left| left.what.clone()) });
        }
        Ok(all)
    }

    fn came(&mut self, result: Result<Vec<Object>, EnsureError>, now: OffsetDateTime, listed: &mut Listed) {
        match result {
            Ok(pods) => {
                self.failure = None;
                let name =
                    |pod: Object| PodName { namespace: pod.namespace().into(), name: pod.name().into() };
                listed.names = pods.into_iter().map(name).collect();
            }
            Err(error) => {
                let before = self.failure.take().map(|failing| failing.failure);
                let away = error.is_passing();
                let text = short_line(&error.to_string());
                let mut failure = Failure::after(before.as_ref(), text, now, None);
                let delay = retry(&error, failure.count).delay(now, random::fraction());
                failure.next_attempt = Some(now.plus(delay));
                self.failure = Some(Failing { failure, away });
            }
        }
    }

    fn trouble(&self) -> Option<String> {
        let files = self.read.values().filter_map(|kept| kept.trouble.clone()).chain(self.conflict.clone());
        let server = self.failure.as_ref().map(|Failing { failure, away }| match away {
            true => format!("the API server is waited for: {}", failure.message),
            false => failure.message.clone(),
        });
        // A folder's trouble is that of its files.
        let mut told = HashSet::new();
        let all: Vec<String> = files.chain(server).filter(|line| told.insert(line.clone())).collect();
        (!all.is_empty()).then(|| all.join("; "))
    }
}

fn understand(file: &str, text: &str, rules: &Rules) -> Result<Manifest, ManifestError> {
    manifest(text, &Reading { file, namespace: &rules.namespace, templates: rules.templates })
}

fn retry(error: &EnsureError, failures: u32) -> Retry {
    match error {
        EnsureError::Api(error) => Retry::after(error, failures, None),
        // A pod of that name that is another one has to be deleted first.
        _ => Retry { failures, trouble: Trouble::Refused, retry_after: None, lease: None },
    }
}

/// Each trouble once.
fn tell(before: Option<&str>, now: Option<&str>) {
    match (before, now) {
        (before, now) if before == now => {}
        (_, Some(cause)) => {
            tracing::error!(cause, "the manifests are not followed: the pods stay as they are")
        }
        (_, None) => tracing::info!("the manifests are followed again"),
    }
}
