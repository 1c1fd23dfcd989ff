//! Tasks that run for as long as the process does: one that panics or ends is told, counted and begun again.
//!
//! ```text
//!   begin ─► turn, turn, … ─┬─ panic ─┐
//!     ▲                     └─ end ───┴─► said, counted, not ready ─► rest 1, 2, 4, … 8 s ─┐
//!     └────────────────────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! [`Task::ALL`] names every one of them: readiness, metrics and the test that has each of them panic go by it. A task says
//! with [`turn`] that it got on; who asks for readiness finds the one that hangs. What a panic says is logged by the
//! process's hook alone, once.

mod errands;
#[cfg(debug_assertions)]
mod fail;
mod task;
mod tasks;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use futures::FutureExt;

pub use errands::Errands;
#[cfg(debug_assertions)]
pub use fail::arm;
pub use task::Task;
pub use tasks::Tasks;

use crate::clock::{Clock, SystemClock};
use crate::follow::Backoff;
use crate::pulse::{Ill, Pulse};

/// Watches the tasks of one process.
#[derive(Debug)]
pub struct Supervisor {
    clock: Arc<dyn Clock>,
    watched: [Watched; Task::ALL.len()],
}

#[derive(Debug, Default)]
struct Watched {
    pulse: Pulse,
    /// Its last step has panicked: that of a thread, which goes on all the same.
    stumbled: AtomicBool,
    panics: AtomicU64,
    restarts: AtomicU64,
}

/// What is counted of a task.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TaskCounts {
    /// How often it has panicked.
    pub panics: u64,
    /// How often it was begun again.
    pub restarts: u64,
}

/// One that has run for so long begins with a short rest again, when it fails.
const STEADY: Duration = Duration::from_secs(60);
/// The first rest. Readiness shows it, and a task that fails at its beginning costs next to nothing.
const REST: Duration = Duration::from_secs(1);

tokio::task_local! {
    /// The task that is running.
    static CURRENT: (Arc<Supervisor>, Task);
}

/// The running task has got on. Does nothing outside of one.
pub fn turn() {
    let _ = CURRENT.try_with(|(supervisor, task)| supervisor.beat(*task));
}

/// One of many objects that the running task handles, of which none is to stop the others. `None`: that panicked, which is
/// counted. Readiness does not tell: who may write one object must not have the whole server taken out of service.
pub async fn attempt<T>(work: impl Future<Output = T>) -> Option<T> {
    let done = AssertUnwindSafe(work).catch_unwind().await;
    if done.is_err() {
        let _ = CURRENT.try_with(|(supervisor, task)| supervisor.panicked(*task));
    }
    done.ok()
}

/// Runs a task to its end: one that panics is begun again, ever more slowly. For tasks of which there are many, and which
/// come to an end by themselves; nobody counts them.
pub async fn to_its_end<W: Future<Output = ()>>(name: &str, clock: &dyn Clock, work: impl Fn() -> W) {
    let mut backoff = Backoff::default();
    while AssertUnwindSafe(async { work().await }).catch_unwind().await.is_err() {
        let pause = backoff.pause().max(REST);
        tracing::error!(task = name, ?pause, "a task has panicked, and is begun again");
        clock.sleep(pause).await;
    }
}

impl Supervisor {
    /// One that watches nothing yet. Pauses go by the clock's monotonic time.
    pub fn new(clock: Arc<dyn Clock>) -> Arc<Self> {
        Arc::new(Supervisor { clock, watched: Default::default() })
    }

    /// One for a thread that nobody else looks at: tools, and tests.
    pub fn alone() -> Arc<Self> {
        Self::new(Arc::new(SystemClock::new()))
    }

    /// Runs a task for as long as the process does: whenever `work` ends or panics, it is called again.
    pub async fn run<W: Future<Output = ()>>(self: Arc<Self>, task: Task, work: impl Fn() -> W) {
        self.run_until(task, || false, work).await;
    }

    /// The same, for a task that is to end once the process is stopping.
    pub async fn run_until<W: Future<Output = ()>>(
        self: Arc<Self>,
        task: Task,
        stopping: impl Fn() -> bool,
        work: impl Fn() -> W,
    ) {
        let mut backoff = Backoff::default();
        loop {
            let begun = self.clock.monotonic();
            let (ended, at) = {
                let _running = self.of(task).pulse.begin(&*self.clock);
                // Made under the guard too: what panics before its first await is a panic of the task.
                let work = AssertUnwindSafe(async { work().await }).catch_unwind();
                let ended = CURRENT.scope((self.clone(), task), work).await;
                // Before anybody can see it, and move a clock by the pause that follows.
                (ended, self.clock.monotonic())
            };
            match ended {
                _ if stopping() => return,
                Ok(()) => tracing::error!(task = task.name(), "a task has ended that was to run on"),
                Err(_) => self.panicked(task),
            }
            if at.saturating_sub(begun) >= STEADY {
                backoff.reset();
            }
            let pause = backoff.pause().max(REST);
            tracing::warn!(task = task.name(), ?pause, "the task is begun again");
            self.clock.sleep_past(at.saturating_add(pause)).await;
            self.of(task).restarts.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A step of a thread, or one that must not take its task with it. `None`: it has panicked, which readiness tells
    /// until one succeeds.
    pub fn step<T>(&self, task: Task, work: impl FnOnce() -> T) -> Option<T> {
        let done = catch_unwind(AssertUnwindSafe(|| {
            self.beat(task);
            work()
        }));
        self.of(task).stumbled.store(done.is_err(), Ordering::Relaxed);
        if done.is_err() {
            self.panicked(task);
        }
        done.ok()
    }

    /// A thread runs from now on, until this is dropped.
    pub fn begin(&self, task: Task) -> crate::pulse::Running<'_> {
        self.of(task).pulse.begin(&*self.clock)
    }

    /// Each task that was begun, by the name of its readiness check, with what is wrong with it.
    pub fn health(&self) -> Vec<(&'static str, Option<String>)> {
        self.begun().map(|task| (task.check(), self.problem(task))).collect()
    }

    /// The names of these checks.
    pub fn checks(&self) -> impl Iterator<Item = &'static str> {
        self.begun().map(Task::check)
    }

    /// One of them by its name, if there is one.
    pub fn check(&self, name: &str) -> Option<Option<String>> {
        self.begun().find(|task| task.check() == name).map(|task| self.problem(task))
    }

    fn begun(&self) -> impl Iterator<Item = Task> {
        Task::ALL.into_iter().filter(|task| self.of(*task).pulse.begun())
    }

    /// What is wrong with a task.
    pub fn problem(&self, task: Task) -> Option<String> {
        if self.of(task).stumbled.load(Ordering::Relaxed) {
            return Some(format!("the last step of the task {} has panicked", task.name()));
        }
        Some(match self.of(task).pulse.ill(&*self.clock, task.longest())? {
            Ill::Ended => format!("the task {} is down", task.name()),
            Ill::Silent(span) => format!("the task {} has not got on for {} s", task.name(), span.as_secs()),
        })
    }

    /// Waits until there has been something wrong for so long without a break, and says what: for a process that nobody asks
    /// for its readiness.
    pub async fn lasting(&self, limit: Duration) -> String {
        let mut since = None;
        loop {
            self.clock.sleep(REST).await;
            let now = self.clock.monotonic();
            match self.health().into_iter().find_map(|(_, problem)| problem) {
                None => since = None,
                Some(problem) if now.saturating_sub(*since.get_or_insert(now)) >= limit => return problem,
                Some(_) => {}
            }
        }
    }

    /// After a leap of a test's clock: waits until the tasks that go by it have got on.
    pub async fn settled(&self) {
        for task in Task::ALL {
            let pulse = &self.of(task).pulse;
            if let Some(Ill::Silent(_)) = pulse.ill(&*self.clock, task.longest()) {
                pulse.beaten(self.clock.monotonic()).await;
            }
        }
    }

    /// What was counted, of every task there is.
    pub fn counts(&self) -> impl Iterator<Item = (&'static str, TaskCounts)> {
        Task::ALL.into_iter().map(|task| {
            let Watched { panics, restarts, .. } = self.of(task);
            let counts = TaskCounts {
                panics: panics.load(Ordering::Relaxed),
                restarts: restarts.load(Ordering::Relaxed),
            };
            (task.name(), counts)
        })
    }

    fn of(&self, task: Task) -> &Watched {
        &self.watched[task as usize]
    }

    fn beat(&self, task: Task) {
        self.of(task).pulse.beat(self.clock.monotonic());
        #[cfg(debug_assertions)]
        fail::point(task);
    }

    /// What the panic says has been said by the process's hook.
    fn panicked(&self, task: Task) {
        self.of(task).panics.fetch_add(1, Ordering::Relaxed);
        tracing::error!(task = task.name(), "a task has panicked");
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use time::macros::datetime;

    use super::*;
    use crate::clock::ManualClock;

    fn poll(work: &mut (impl Future<Output = ()> + Unpin)) -> bool {
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        work.poll_unpin(&mut context).is_pending()
    }

    #[test]
    fn a_task_that_panics_is_told_counted_and_begun_again_ever_more_slowly() {
        let clock = Arc::new(ManualClock::new(datetime!(2026-01-01 10:00 UTC)));
        let supervisor = Supervisor::new(clock.clone());
        let calls = AtomicUsize::new(0);
        let work = || async {
            let call = calls.fetch_add(1, Ordering::Relaxed);
            turn();
            assert!(call >= 3, "a test's");
            std::future::pending().await
        };
        assert_eq!(supervisor.health(), [], "nothing was begun");
        let mut running = supervisor.clone().run(Task::Controllers, work).boxed_local();
        for (pause, panics) in [(1, 1), (1, 2), (2, 3)] {
            assert!(poll(&mut running));
            let down = Some("the task controllers is down".to_owned());
            assert_eq!(supervisor.health(), [("task/controllers", down)]);
            let counts = supervisor.counts().find(|(name, _)| *name == "controllers").unwrap().1;
            assert_eq!(counts, TaskCounts { panics, restarts: panics - 1 });
            clock.advance(Duration::from_secs(pause) - Duration::from_millis(1));
            assert!(poll(&mut running));
            assert_eq!(calls.load(Ordering::Relaxed) as u64, panics, "it rests");
            clock.advance(Duration::from_millis(1));
        }
        assert!(poll(&mut running));
        assert_eq!(supervisor.health(), [("task/controllers", None)]);
        clock.advance(Task::Controllers.longest() + Duration::from_secs(1));
        assert!(supervisor.health()[0].1.as_ref().is_some_and(|why| why.contains("has not got on")));
    }

    #[test]
    fn a_clock_that_moves_when_a_task_is_seen_to_be_down_ends_its_pause() {
        let clock = Arc::new(ManualClock::new(datetime!(2026-01-01 10:00 UTC)));
        let supervisor = Supervisor::new(clock.clone());
        let calls = AtomicUsize::new(0);
        let work = || async {
            assert!(calls.fetch_add(1, Ordering::Relaxed) > 0, "a test's");
            std::future::pending().await
        };
        clock.slip(REST);
        let mut running = supervisor.clone().run(Task::Controllers, work).boxed_local();
        assert!(poll(&mut running));
        assert_eq!(calls.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn one_of_many_tasks_is_begun_again_after_a_panic_and_not_after_its_end() {
        let clock = ManualClock::new(datetime!(2026-01-01 10:00 UTC));
        let calls = AtomicUsize::new(0);
        let work = || async {
            assert!(calls.fetch_add(1, Ordering::Relaxed) > 0, "a test's");
        };
        let mut running = to_its_end("a test's", &clock, work).boxed_local();
        assert!(poll(&mut running));
        clock.advance(REST);
        assert!(!poll(&mut running));
        assert_eq!(calls.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn what_lasts_is_told_to_a_process_without_readiness() {
        let clock = Arc::new(ManualClock::new(datetime!(2026-01-01 10:00 UTC)));
        let supervisor = Supervisor::new(clock.clone());
        let minute = Duration::from_secs(60);
        let mut lasting = supervisor.lasting(minute).boxed_local();
        let mut wait = |seconds| {
            let mut context = std::task::Context::from_waker(std::task::Waker::noop());
            (0..seconds).find_map(|_| {
                clock.advance(REST);
                match lasting.poll_unpin(&mut context) {
                    std::task::Poll::Ready(why) => Some(why),
                    std::task::Poll::Pending => None,
                }
            })
        };
        assert_eq!(wait(200), None);
        drop(supervisor.begin(Task::Ledger));
        assert_eq!(wait(50), None);
        let running = supervisor.begin(Task::Ledger);
        assert_eq!(wait(50), None, "it came back");
        drop(running);
        assert_eq!(wait(100), Some("the task ledger is down".into()));
    }

    #[test]
    fn a_task_that_ends_is_begun_again_too_and_a_step_takes_nothing_with_it() {
        let clock = Arc::new(ManualClock::new(datetime!(2026-01-01 10:00 UTC)));
        let supervisor = Supervisor::new(clock.clone());
        let calls = AtomicUsize::new(0);
        let work = || async {
            calls.fetch_add(1, Ordering::Relaxed);
        };
        let mut running = supervisor.clone().run(Task::Ledger, work).boxed_local();
        assert!(poll(&mut running));
        clock.advance(Duration::from_secs(1));
        assert!(poll(&mut running));
        assert_eq!(calls.load(Ordering::Relaxed), 2);
        let _running = supervisor.begin(Task::StoreWriter);
        assert_eq!(supervisor.step(Task::StoreWriter, || panic!("a test's")), None::<()>);
        assert!(supervisor.problem(Task::StoreWriter).is_some_and(|why| why.contains("has panicked")));
        assert_eq!(supervisor.step(Task::StoreWriter, || 7), Some(7));
        assert_eq!(supervisor.problem(Task::StoreWriter), None);
        let broken = attempt(async { panic!("a test's") });
        assert_eq!(broken.now_or_never(), Some(None::<()>));
    }
}
