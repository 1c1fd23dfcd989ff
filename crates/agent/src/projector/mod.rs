//! The runtime of `tokensmith project`: decides what is to be done when, and has it done.
//!
//! ```text
//! agendas (what is due)  ┐                      ┌─► refresher (tokens, 16 at a time) ─► answered ┐
//! watches (what changed) ├─► Projector::start ──┼─► reading (lists, watches, 8)     ─┐           ├─► agendas
//! answers (what came)    ┘                      └─► writing (volumes, states, 8)    ─┴─► finish  ┘
//! ```
//!
//! A manifest's way to the disk (whoever starts the projector has read it, and gives its pods as [`Pods`]):
//!
//! 1. `members`: what is given is followed. A pod that is given as an object is taken as it is (`fix`), and one without a
//!    UID is asked for first (`resolve`, `resolved`); others come by a feed (`read_feed`, `pods_changed`), those of a list
//!    each by its own (`listed`, `named_changed`). Either way a pod
//!    is there (`applied`) and gets its plan; it is admitted to the `roster`, and what it refers to is claimed of `sources`,
//!    which follow each object once (`feed`).
//! 2. `writing`: the disk's work for the pod is queued (`queue_disk_work`), and `next_job` says what it is. The first job
//!    reads what an earlier run left (`writing/outcome`: `loaded`); then each token is put on the refresher's agenda (`asking`: `schedule`).
//! 3. `asking`: a token is due (`token_due`), the refresher asks for it as soon as it has room (`start_asking`), and what
//!    comes is held (`answered`). `reading`: an object came, or changed (`source_changed`). Either makes its volume dirty, and
//!    the disk's work is queued again.
//! 4. `writing`: `volume_job` makes the payload (`pod::payload`) as soon as every token and object is there. The job runs
//!    on a thread of its own (`job`), writes volumes by the port `Files` (`files_on_disk`), and the state after them.
//!    `writing/outcome`: `job_done` then keeps what the disk has now (`synced`), and queues the work again until nothing is
//!    left.
//!
//! Each part owns what it counts and queues; only what concerns several is the projector's own. One task owns everything; what
//! waits for others are futures that it polls. Nothing waits for anything else: a request that is slow holds a slot for ten
//! seconds, and who failed last may hold only half of the slots.
//!
//! `settle` does what is due and returns; `run` does so until it is told to stop. Nothing else keeps time, so a test
//! moves the clock and settles.

mod alarms;
mod asking;
mod checks;
pub mod checks_file;
mod feed;
mod files;
mod files_on_disk;
mod ids;
mod job;
mod kept;
mod members;
mod monitor;
mod reading;
mod roster;
mod sources;
pub mod state;
pub mod status;
mod summary;
mod token;
mod volume;
mod writing;

use std::collections::BTreeSet;
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
use tokio::sync::watch;

use self::checks::{Checked, Checks};
use self::ids::{PodId, Task, TokenId};
use self::members::Members;
use self::reading::{Reading, Readout, Signal};
use self::roster::Roster;
use self::sources::Sources;
use self::token::Token;
use self::volume::Pod;
use self::writing::Writing;
use crate::api::{ApiServer, Selection, short_line};
use crate::exchange::Exchanger;
use crate::pod::{EXCHANGE_ANNOTATION, NodeResources, PlanError};
use crate::refresh::{Agenda, Bounds, RefreshPolicy, Refresher, pause};

pub use self::files::{Files, FilesError};
pub use self::ids::PodName;
pub use self::kept::Kept;
pub use self::monitor::{Alarms, Monitor};
pub use self::summary::VolumeSummary;

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
    /// Where tokens are exchanged, if anywhere.
    pub exchanger: Option<Exchanger>,
}

/// Whose volumes are kept.
#[derive(Clone, Debug)]
pub enum Pods {
    /// These, as they are here. Their UIDs come from the API if they have none; a pod that was made again there is
    /// followed. They stay, even if the API has none of them.
    Fixed(Vec<Object>),
    /// Those of these names, while they are there; the list may change.
    Listed(watch::Receiver<Listed>),
    /// The one of this name, while it is there.
    Named(PodName),
    /// All of these. What else the root holds of their namespaces is removed: those pods are gone.
    Selected(Selection),
}

/// Which pods there should be, by a list that may change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listed {
    /// Their names. A pod that is not among them any more goes with its volumes.
    pub names: BTreeSet<PodName>,
    /// Why the list is not what it should be: an alarm.
    pub trouble: Option<String>,
}

/// The runtime.
pub struct Projector {
    ports: Ports,
    /// Which pods there should be.
    members: Members,
    /// Those that there are.
    roster: Roster,
    /// The objects that their volumes are made of.
    sources: Sources,
    /// What is due when.
    agenda: Agenda<Task>,
    /// The requests for tokens.
    refresher: Refresher<TokenId>,
    reading: Reading,
    writing: Writing,
    checks: Checks,
    under_way: UnderWay,
    jumps: JumpDetector,
}

/// What it was given.
struct Ports {
    api: Arc<dyn ApiServer>,
    clock: Arc<dyn Clock>,
    files: Arc<dyn Files>,
    node: NodeResources,
    exchanger: Option<Exchanger>,
    monitor: Monitor,
}

/// What it waits for.
#[derive(Default)]
struct UnderWay {
    work: FuturesUnordered<BoxFuture<'static, Done>>,
    watches: SelectAll<BoxStream<'static, Signal>>,
}

/// What came of something that was under way.
enum Done {
    Checked(Checked),
    Compared(Result<Vec<PodName>, FilesError>),
    Looked(Vec<(PodId, usize)>),
    Read(Readout),
    Swept(Option<Duration>),
    Job(Box<job::Finished>),
}

/// Requests end after this.
const DEADLINE: Duration = Duration::from_secs(10);
/// Requests for tokens at a time.
const REQUESTS: usize = 16;

impl Projector {
    /// A projector that has done nothing yet. To be used within a tokio runtime.
    ///
    /// # Errors
    /// A fixed pod that has no plan.
    pub fn new(config: Config) -> Result<Self, PlanError> {
        let Config { api, clock, files, policy, pods, node, exchanger } = config;
        let monitor = Monitor::new(clock.clone());
        let bounds = Bounds { requests: REQUESTS, deadline: DEADLINE };
        let refresher = Refresher::new(clock.clone(), policy, bounds);
        let mut projector = Projector {
            jumps: JumpDetector::new(clock.now(), clock.monotonic()),
            ports: Ports { api, clock, files, node, exchanger, monitor },
            members: Members::default(),
            roster: Roster::default(),
            sources: Sources::default(),
            agenda: Agenda::default(),
            refresher,
            reading: Reading::default(),
            writing: Writing::default(),
            checks: Checks::default(),
            under_way: UnderWay::default(),
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
            if let Some(Some(signal)) = self.under_way.watches.next().now_or_never() {
                self.signalled(signal);
                quiet = false;
            } else if self.members.has_another() {
                let listed = self.members.another().await;
                self.listed(listed);
                quiet = false;
            } else if !self.under_way.work.is_empty() || self.refresher.is_asking() {
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
        let clock = self.ports.clock.clone();
        loop {
            self.start();
            let timer = pause(&*clock, Some(self.next()));
            tokio::select! {
                biased;
                () = &mut shutdown => break,
                () = self.step() => {}
                () = timer => {}
            }
        }
        // What is known is written down; what was asked for is asked for again by the next run.
        self.start_writing();
        while self.writing.is_under_way() {
            self.step().await;
            self.start_writing();
        }
    }

    /// Metrics and health, for other tasks.
    pub fn monitor(&self) -> Monitor {
        self.ports.monitor.clone()
    }

    /// All metrics, as text.
    pub fn metrics(&self) -> String {
        self.ports.monitor.metrics()
    }

    /// Whether there is no alarm.
    ///
    /// # Errors
    /// There is one.
    pub fn health(&self) -> Result<(), Alarms> {
        self.ports.monitor.health()
    }

    /// What no wait mends: a pod has tokens exchanged, and this agent was told of no token endpoint.
    pub fn in_vain(&self) -> Option<String> {
        if self.ports.exchanger.is_some() {
            return None;
        }
        let wants = |pod: &Pod| pod.volumes.iter().flat_map(|volume| &volume.tokens).any(Token::is_exchanged);
        let (_, pod) = self.roster.iter().find(|(_, pod)| wants(pod))?;
        Some(format!(
            "{}: the annotation {EXCHANGE_ANNOTATION} has tokens exchanged, and no token endpoint was named: give --exchange URL",
            pod.name
        ))
    }

    /// What keeps volumes from being there, or from being as they should; empty when all is done.
    pub fn unfinished(&self) -> Vec<String> {
        let mut out: Vec<String> = self.members.unfinished().into_iter().collect();
        let missing = self.members.read().filter(|name| self.roster.id_of(name).is_none());
        out.extend(missing.map(|name| format!("{name}: the pod is not there, or has ended")));
        for (_, pod) in self.roster.iter() {
            for (plan, volume) in pod.plan.volumes.iter().zip(&pod.volumes) {
                match &volume.failure {
                    Some(failure) => out.push(format!("{}: {}", pod.name, failure.message)),
                    None if !volume.is_there() => {
                        out.push(format!("{}: volume {:?} is not written yet", pod.name, plan.name));
                    }
                    None => {}
                }
                let tokens = volume.tokens.iter().filter_map(|t| Some((t, t.renewal.failure()?)));
                out.extend(tokens.filter(|_| volume.failure.is_none()).map(|(token, failure)| {
                    format!("{}: {}/{}: {}", pod.name, plan.name, token.source.path, failure.message)
                }));
            }
            if let Some(failure) = pod.shown.failure() {
                out.push(format!("{}: {}", pod.name, failure.message));
            }
        }
        out.sort();
        out
    }

    /// Begins whatever can begin.
    fn start(&mut self) {
        let now = self.now();
        if let Some(jump) = self.jumps.look(now, self.ports.clock.monotonic()) {
            self.jumped(jump, now);
        }
        while let Some(task) = self.agenda.due(now) {
            match task {
                Task::Alarm(pod, volume) => self.look_for_alarm(pod, volume),
                Task::Disk(name) => self.queue_disk_work(&name),
                Task::Feed(feed, turn) => self.feed_due(feed, turn),
                Task::Keys => self.keys_due(),
                Task::Listing => self.judge_listing(),
                Task::Look => self.look_at_files(),
                Task::Review => self.review_due(),
                Task::Sweep => self.sweep(),
                Task::Resolve(name) => self.resolve(&name),
            }
        }
        while let Some(token) = self.refresher.due(now) {
            self.token_due(token, now);
        }
        self.start_asking();
        self.start_reading();
        self.start_writing();
    }

    /// Waits for something to happen, and deals with it. Never ends when nothing is under way or watched.
    async fn step(&mut self) {
        let Projector { refresher, members, under_way: UnderWay { work, watches }, .. } = self;
        tokio::select! {
            listed = members.another() => self.listed(listed),
            asked = refresher.answer(), if refresher.is_asking() => self.answered(asked),
            Some(done) = work.next(), if !work.is_empty() => self.finish(done),
            Some(signal) = watches.next(), if !watches.is_empty() => self.signalled(signal),
        }
    }

    fn finish(&mut self, done: Done) {
        match done {
            Done::Checked(checked) => self.checked(checked),
            Done::Compared(Ok(on_disk)) => self.left_over(on_disk),
            Done::Compared(Err(error)) => {
                let cause = short_line(&error.to_string());
                tracing::warn!(cause, "the root cannot be read: volumes of pods that are gone may stay");
            }
            Done::Looked(missing) => self.looked(missing),
            Done::Swept(more) => self.swept(more),
            Done::Read(readout) => self.read(readout),
            Done::Job(finished) => self.job_done(*finished),
        }
    }

    fn next(&self) -> OffsetDateTime {
        // There is always the next look at the files.
        let next = self.agenda.next().unwrap_or_else(|| self.now().plus(writing::LOOK));
        self.refresher.next().map_or(next, |token| token.min(next))
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
        self.refresher.move_back(by);
        self.members.move_back(by);
        self.checks.move_back(by);
        self.writing.move_back(by);
        let mut future = Vec::new();
        for (id, pod) in self.roster.iter_mut() {
            pod.state_dirty = true;
            pod.shown.move_back(by);
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
        for name in self.roster.names() {
            self.queue_disk_work(&name);
        }
        for id in self.roster.iter().map(|(id, _)| id).collect::<Vec<_>>() {
            self.show_expiries(id);
        }
    }

    fn now(&self) -> OffsetDateTime {
        self.ports.clock.now()
    }
}

impl fmt::Debug for Projector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Projector")
            .field("pods", &self.roster.len())
            .field("sources", &self.sources.len())
            .finish_non_exhaustive()
    }
}
