//! The runtime of `tokensmith project`: decides what is to be done when, and has it done.
//!
//! ```text
//! agenda (what is due) ┐                     ┌─► asking  (tokens, 16 at a time)  ─┐
//! watches (what changed) ├─► Projector::start ─┼─► reading (lists, watches, 8)      ├─► Projector::finish ─► agenda
//! answers (what came)  ┘                     └─► writing (volumes, states, 8)     ─┘
//! ```
//!
//! One task owns everything; what waits for others are futures that it polls. Nothing waits for anything else: a
//! request that is slow holds a slot for ten seconds, and who failed last may hold only half of the slots.
//!
//! `settle` does what is due and returns; `run` does so until it is told to stop. Nothing else keeps time, so a test
//! moves the clock and settles.

mod agenda;
mod asking;
mod checks;
mod feed;
mod files;
mod job;
mod kept;
mod members;
mod monitor;
pub mod noted;
mod on_disk;
mod reading;
mod sources;
pub mod state;
pub mod status;
mod token;
mod volume;
mod writing;

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::{BoxStream, FuturesUnordered, SelectAll};
use futures::{FutureExt, StreamExt};
use time::OffsetDateTime;
use tokensmith_core::Clock;
use tokensmith_core::Moment;
use tokensmith_core::clock::{Jump, JumpDetector};
use tokensmith_objects::Object;

use self::agenda::Agenda;
use self::asking::{Asked, TokenId};
use self::reading::{FeedId, Read, Signal};
use self::sources::Sources;
use self::volume::Pod;
use self::writing::Desk;
use crate::api::{ApiServer, Selection};
use crate::pod::{NodeResources, PlanError};
use crate::refresh::RefreshPolicy;

pub use self::files::{Files, FilesError};
pub use self::kept::Kept;
pub use self::monitor::Monitor;
pub use self::volume::PodName;

/// What a projector is made of.
#[derive(Clone)]
pub struct Config {
    /// Where tokens and objects come from.
    pub api: Arc<dyn ApiServer>,
    /// All times.
    pub clock: Arc<dyn Clock>,
    /// Where the volumes are.
    pub files: Arc<dyn Files>,
    /// When tokens are replaced.
    pub policy: RefreshPolicy,
    /// Whose volumes are kept.
    pub pods: Pods,
    /// Stands in for limits that containers do not have.
    pub node: NodeResources,
}

/// Whose volumes are kept.
#[derive(Clone, Debug)]
pub enum Pods {
    /// These, as they are here. Their UIDs come from the API if they have none; a pod that was made again there is
    /// followed. They stay, even if the API has none of them.
    Fixed(Vec<Object>),
    /// The one of this name, while it is there.
    Named(PodName),
    /// All of these. What else the root holds of their namespaces is removed: those pods are gone.
    Selected(Selection),
}

/// The runtime.
pub struct Projector {
    api: Arc<dyn ApiServer>,
    clock: Arc<dyn Clock>,
    files: Arc<dyn Files>,
    policy: RefreshPolicy,
    node: NodeResources,
    members: members::Members,
    pods: HashMap<PodId, Pod>,
    names: HashMap<Arc<PodName>, PodId>,
    count: u64,
    sources: Sources,
    agenda: Agenda<Task>,
    asking: asking::Slots,
    reads: VecDeque<Read>,
    reading: usize,
    checks: checks::Checks,
    desks: HashMap<Arc<PodName>, Desk>,
    desk_queue: VecDeque<Arc<PodName>>,
    writing: usize,
    looking: bool,
    sweeping: bool,
    skewed: bool,
    under_way: FuturesUnordered<BoxFuture<'static, Done>>,
    watches: SelectAll<BoxStream<'static, Signal>>,
    jumps: JumpDetector,
    monitor: Monitor,
}

/// A pod's incarnation in this process; not given again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct PodId(u64);

/// An entry of the agenda.
#[derive(Debug)]
enum Task {
    /// A volume may be an alarm.
    Alarm(PodId, usize),
    /// The disk is to be tried again.
    Disk(Arc<PodName>),
    /// A fixed pod's UID is to be asked for.
    Resolve(Arc<PodName>),
    /// A feed is to be read, if it is still its turn.
    Feed(FeedId, u64),
    /// That pods cannot be listed may be an alarm.
    Listing,
    /// All files are to be looked for.
    Look,
    /// The issuer's key set is to be looked at.
    Keys,
    /// A token is to be reviewed.
    Review,
    /// What was kept for readers is to go.
    Sweep,
    /// A token is due, if it is still its turn.
    Token(TokenId, u64),
}

/// What came of something that was under way.
enum Done {
    Asked(Asked),
    Checked(checks::Checked),
    Compared(Result<Vec<PodName>, FilesError>),
    Looked(Vec<(PodId, usize)>),
    Read(reading::Readout),
    Swept(Option<Duration>),
    Wrote(Box<job::Outcome>),
}

/// A jump of the clock is noticed within this.
const LOOK_AT_CLOCK: Duration = Duration::from_secs(60);

impl Projector {
    /// A projector that has done nothing yet. To be used within a tokio runtime.
    ///
    /// # Errors
    /// A fixed pod that has no plan.
    pub fn new(config: Config) -> Result<Self, PlanError> {
        let Config { api, clock, files, policy, pods, node } = config;
        let mut projector = Projector {
            monitor: Monitor::new(clock.clone()),
            jumps: JumpDetector::new(clock.now(), clock.monotonic()),
            api,
            clock,
            files,
            policy,
            node,
            members: members::Members::default(),
            pods: HashMap::new(),
            names: HashMap::new(),
            count: 0,
            sources: Sources::default(),
            agenda: Agenda::new(),
            asking: asking::Slots::default(),
            reads: VecDeque::new(),
            reading: 0,
            checks: checks::Checks::default(),
            desks: HashMap::new(),
            desk_queue: VecDeque::new(),
            writing: 0,
            looking: false,
            sweeping: false,
            skewed: false,
            under_way: FuturesUnordered::new(),
            watches: SelectAll::new(),
        };
        projector.follow(pods)?;
        let now = projector.now();
        projector.agenda.put(now.plus(writing::LOOK), Task::Look);
        projector.agenda.put(now, Task::Keys);
        projector.agenda.put(now, Task::Review);
        Ok(projector)
    }

    /// Does everything that is due now, waits for what is under way, and says when the next thing is due.
    pub async fn settle(&mut self) -> OffsetDateTime {
        let mut quiet = false;
        loop {
            self.start();
            if let Some(Some(signal)) = self.watches.next().now_or_never() {
                self.signalled(signal);
                quiet = false;
            } else if !self.under_way.is_empty() {
                self.step().await;
                quiet = false;
            } else if quiet {
                return self.next();
            } else {
                // Others of this runtime may be about to say something.
                tokio::task::yield_now().await;
                quiet = true;
            }
        }
    }

    /// Keeps the volumes until `shutdown`; then finishes what is to be written.
    pub async fn run(&mut self, shutdown: impl Future<Output = ()>) {
        let mut shutdown = pin!(shutdown);
        let clock = self.clock.clone();
        loop {
            self.start();
            // A wall clock that goes back makes any deadline far: so not for longer than a look at it may wait.
            let timer = tokio::time::timeout(LOOK_AT_CLOCK, clock.sleep_until(self.next()));
            tokio::select! {
                biased;
                () = &mut shutdown => break,
                () = self.step() => {}
                _ = timer => {}
            }
        }
        // What is known is written down; what was asked for is asked for again by the next run.
        self.start_writing();
        while self.writing > 0 {
            self.step().await;
            self.start_writing();
        }
    }

    /// Metrics and health, for other tasks.
    pub fn monitor(&self) -> Monitor {
        self.monitor.clone()
    }

    /// All metrics, as text.
    pub fn metrics(&self) -> String {
        self.monitor.metrics()
    }

    /// Whether there is no alarm.
    ///
    /// # Errors
    /// One line on what is wrong.
    pub fn health(&self) -> Result<(), String> {
        self.monitor.health()
    }

    /// What keeps volumes from being there, or from being as they should; empty when all is done.
    pub fn unfinished(&self) -> Vec<String> {
        let mut out: Vec<String> = self.members.unfinished().into_iter().collect();
        for pod in self.pods.values() {
            for (plan, volume) in pod.plan.volumes.iter().zip(&pod.volumes) {
                match &volume.failure {
                    Some(failure) => out.push(format!("{}: {}", pod.name, failure.message)),
                    None if !volume.written => {
                        out.push(format!("{}: volume {:?} is not written yet", pod.name, plan.name));
                    }
                    None => {}
                }
                let tokens = volume.tokens.iter().filter_map(|t| Some((t, t.failure.as_ref()?)));
                out.extend(tokens.filter(|_| volume.failure.is_none()).map(|(token, failure)| {
                    format!("{}: {}/{}: {}", pod.name, plan.name, token.source.path, failure.message)
                }));
            }
            if let Some(failure) = &pod.failure {
                out.push(format!("{}: {}", pod.name, failure.message));
            }
        }
        out.sort();
        out
    }

    /// Begins whatever can begin.
    fn start(&mut self) {
        let now = self.now();
        if let Some(jump) = self.jumps.look(now, self.clock.monotonic()) {
            self.jumped(jump, now);
        }
        while let Some(task) = self.agenda.due(now) {
            match task {
                Task::Alarm(pod, volume) => self.look_for_alarm(pod, volume),
                Task::Disk(name) => self.visit(&name),
                Task::Feed(feed, turn) => self.feed_due(feed, turn),
                Task::Keys => self.keys_due(),
                Task::Listing => self.judge_listing(),
                Task::Look => self.look_at_files(),
                Task::Review => self.review_due(),
                Task::Sweep => self.sweep(),
                Task::Resolve(name) => self.resolve(&name),
                Task::Token(token, turn) => self.token_due(token, turn),
            }
        }
        self.start_asking();
        self.start_reading();
        self.start_writing();
    }

    /// Waits for something to happen, and deals with it. Never ends when nothing is under way or watched.
    async fn step(&mut self) {
        let (under_way, watches) = (&mut self.under_way, &mut self.watches);
        tokio::select! {
            Some(done) = under_way.next(), if !under_way.is_empty() => self.finish(done),
            Some(signal) = watches.next(), if !watches.is_empty() => self.signalled(signal),
            else => std::future::pending().await,
        }
    }

    fn finish(&mut self, done: Done) {
        match done {
            Done::Asked(asked) => self.answered(asked),
            Done::Checked(checked) => self.checked(checked),
            Done::Compared(Ok(on_disk)) => self.left_over(on_disk),
            Done::Compared(Err(error)) => {
                let cause = token::one_line(&error.to_string());
                tracing::warn!(cause, "the root cannot be read: volumes of pods that are gone may stay");
            }
            Done::Looked(missing) => self.looked(missing),
            Done::Swept(more) => self.swept(more),
            Done::Read(readout) => self.read(readout),
            Done::Wrote(outcome) => self.wrote(*outcome),
        }
    }

    fn next(&self) -> OffsetDateTime {
        // There is always the next look at the files.
        self.agenda.next().unwrap_or_else(|| self.now().plus(writing::LOOK))
    }

    fn jumped(&mut self, jump: Jump, now: OffsetDateTime) {
        let by = match jump {
            Jump::Forwards(by) => {
                tracing::warn!(
                    seconds = by.as_secs(),
                    "the clock went forwards, or the machine slept: tokens that are due are replaced"
                );
                return;
            }
            Jump::Back(by) => by,
        };
        tracing::warn!(seconds = by.as_secs(), "the clock went back: tokens of its future are replaced");
        self.agenda.move_back(by);
        self.members.move_back(by);
        self.checks.move_back(by);
        self.desks.values_mut().for_each(|desk| desk.move_back(by));
        let mut future = Vec::new();
        for (&id, pod) in &mut self.pods {
            pod.state_dirty = true;
            if let Some(failure) = &mut pod.failure {
                failure.move_back(by);
            }
            for (v, volume) in pod.volumes.iter_mut().enumerate() {
                volume.move_back(by);
                for (t, token) in volume.tokens.iter_mut().enumerate() {
                    if token.move_back(by, now) {
                        future.push(TokenId { pod: id, volume: v, token: t });
                    }
                }
            }
        }
        for id in future {
            self.renew(id, now);
        }
        for name in self.names.keys().cloned().collect::<Vec<_>>() {
            self.visit(&name);
        }
        for id in self.pods.keys().copied().collect::<Vec<_>>() {
            self.show_expiries(id);
        }
    }

    fn now(&self) -> OffsetDateTime {
        self.clock.now()
    }
}

impl fmt::Debug for Projector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Projector")
            .field("pods", &self.pods.len())
            .field("sources", &self.sources.len())
            .finish_non_exhaustive()
    }
}
