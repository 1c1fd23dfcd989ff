//! Group writing: a thread of its own brings what was recorded to disk, soon and many at once.
//!
//! Knows no database: it is given what writes a group, and in tests something that fails.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use tokensmith_core::Supervisor;
use tokensmith_core::ledger::{Counts, Issued, LedgerError};
use tokensmith_core::supervise::Task;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};

/// A group is begun by its first record and written this much later. With the write before it and its own, a record
/// reaches the disk within 100 ms of being handed over, unless one write takes longer than 35 ms: what is left over is
/// for a machine that is slow to run the thread.
const GATHER: Duration = Duration::from_millis(15);
/// As many records may wait; who comes then waits too.
const QUEUE: usize = 16_384;
/// At most so many records are written at once, so that a flood does not delay the first of it. As many are kept when
/// they cannot be written.
const GROUP: usize = 4096;
/// How long after a failed write the next one is tried, if nobody asks before.
const RETRY: Duration = Duration::from_secs(1);

/// What brings a group to disk.
pub(super) type Write = Box<dyn FnMut(&[Issued]) -> Result<(), WriteError> + Send>;
pub(super) type WriteError = Box<dyn std::error::Error + Send + Sync>;

/// The queue and its thread. Dropping it writes what waits.
pub(super) struct GroupWriter {
    queue: Option<mpsc::Sender<Message>>,
    thread: Option<JoinHandle<()>>,
    state: Arc<State>,
}

/// What the thread and others know.
pub(super) struct State {
    healthy: AtomicBool,
    written: AtomicU64,
    dropped: AtomicU64,
    damaged: AtomicU64,
}

#[expect(
    clippy::large_enum_variant,
    reason = "nearly every message is a record: a box would cost each of them"
)]
enum Message {
    Record(Issued),
    /// Write all that came before, at once, and say whether that succeeded.
    Flush(oneshot::Sender<bool>),
}

impl GroupWriter {
    /// Starts the thread.
    pub(super) fn start(write: Write, supervisor: Arc<Supervisor>) -> std::io::Result<Self> {
        Self::with_queue(write, QUEUE, supervisor)
    }

    fn with_queue(write: Write, capacity: usize, supervisor: Arc<Supervisor>) -> std::io::Result<Self> {
        let state = Arc::new(State {
            healthy: AtomicBool::new(true),
            written: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            damaged: AtomicU64::new(0),
        });
        let (queue, messages) = mpsc::channel(capacity);
        let worker = Worker {
            messages,
            write,
            state: state.clone(),
            group: Vec::new(),
            waiting: Vec::new(),
            written: true,
            writing: false,
            supervisor,
        };
        let thread = std::thread::Builder::new().name("ledger-writer".into()).spawn(move || worker.run())?;
        Ok(GroupWriter { queue: Some(queue), thread: Some(thread), state })
    }

    /// Hands over a record; waits only while the queue is full.
    pub(super) async fn record(&self, issued: Issued) {
        let Some(queue) = &self.queue else { return };
        if let Err(TrySendError::Full(message)) = queue.try_send(Message::Record(issued)) {
            self.wake();
            // The thread ends only with this value.
            let _ = queue.send(message).await;
        }
    }

    /// Returns once all that was recorded before is on disk, or has failed to get there.
    pub(super) async fn flush(&self) -> Result<(), LedgerError> {
        let (done, answer) = oneshot::channel();
        if let Some(queue) = &self.queue {
            let _ = queue.send(Message::Flush(done)).await;
        }
        self.wake();
        if answer.await.unwrap_or(false) { Ok(()) } else { Err(LedgerError::Failed) }
    }

    pub(super) fn state(&self) -> &Arc<State> {
        &self.state
    }

    /// Ends the gathering of a group.
    fn wake(&self) {
        if let Some(thread) = &self.thread {
            thread.thread().unpark();
        }
    }
}

impl Drop for GroupWriter {
    fn drop(&mut self) {
        self.queue = None;
        self.wake();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl State {
    pub(super) fn healthy(&self) -> bool {
        self.healthy.load(Ordering::Acquire)
    }

    pub(super) fn counts(&self) -> Counts {
        Counts {
            written: self.written.load(Ordering::Relaxed),
            dropped: self.dropped.load(Ordering::Relaxed),
            damaged: self.damaged.load(Ordering::Relaxed),
        }
    }

    /// A write has failed. TreeStates once in a row.
    pub(super) fn failed(&self, cause: &dyn std::fmt::Display) {
        if self.healthy.swap(false, Ordering::AcqRel) {
            tracing::error!(%cause, "the ledger cannot write: issue records will be lost if this lasts");
        }
    }

    /// A write has succeeded.
    pub(super) fn succeeded(&self) {
        if !self.healthy.swap(true, Ordering::AcqRel) {
            tracing::warn!("the ledger can write again");
        }
    }

    /// Records could not be handed over.
    pub(super) fn lost(&self, count: usize) {
        self.failed(&"it does not answer");
        self.drop_records(count);
    }

    /// So many records were found that cannot be read. TreeStates when there are more than before.
    pub(super) fn damaged(&self, count: u64) {
        if self.damaged.fetch_max(count, Ordering::Relaxed) < count {
            tracing::warn!(count, "issue records that cannot be read are left out");
        }
    }

    fn drop_records(&self, count: usize) {
        self.dropped.fetch_add(count as u64, Ordering::Relaxed);
    }
}

struct Worker {
    messages: mpsc::Receiver<Message>,
    write: Write,
    state: Arc<State>,
    group: Vec<Issued>,
    waiting: Vec<oneshot::Sender<bool>>,
    /// Whether the last group was.
    written: bool,
    /// A group is being written: a panic now is about one of its records.
    writing: bool,
    supervisor: Arc<Supervisor>,
}

impl Worker {
    fn run(mut self) {
        let supervisor = self.supervisor.clone();
        let _running = supervisor.begin(Task::LedgerWriter);
        while supervisor.step(Task::LedgerWriter, || self.turn()).unwrap_or_else(|| self.recover()) {}
    }

    /// Gathers a group and writes it; says whether there will be more.
    fn turn(&mut self) -> bool {
        let mut rest = RETRY;
        if self.group.is_empty() {
            let Some(first) = self.messages.blocking_recv() else { return false };
            self.take(first);
            rest = GATHER;
        }
        let end = self.messages.is_closed();
        if self.waiting.is_empty() && !end {
            // Woken early by a flush, a full queue or the end; for no reason at all: then the group is small.
            std::thread::park_timeout(rest);
        }
        while let Ok(message) = self.messages.try_recv() {
            self.take(message);
            if self.group.len() >= GROUP {
                self.commit();
            }
        }
        self.commit();
        if end {
            // That was the last attempt.
            self.lose();
        }
        true
    }

    /// After a panic: who waits is told. If a record was the cause, it alone is lost; the rest is tried again.
    fn recover(&mut self) -> bool {
        self.state.failed(&"its writer has panicked");
        for done in self.waiting.drain(..) {
            let _ = done.send(false);
        }
        if std::mem::take(&mut self.writing) {
            let group = std::mem::take(&mut self.group);
            self.sift(group);
        }
        if self.messages.is_closed() {
            self.lose();
        }
        std::thread::park_timeout(RETRY);
        true
    }

    /// Finds the records that cannot be written without a panic, by halves: each of the others is written, or kept.
    fn sift(&mut self, mut group: Vec<Issued>) {
        match catch_unwind(AssertUnwindSafe(|| (self.write)(&group))) {
            Ok(Ok(())) => drop(self.state.written.fetch_add(group.len() as u64, Ordering::Relaxed)),
            Ok(Err(_)) => self.group.append(&mut group),
            Err(_) if group.len() <= 1 => {
                tracing::error!("an issue record is lost: to write it panics");
                self.state.drop_records(group.len());
            }
            Err(_) => {
                let rest = group.split_off(group.len() / 2);
                self.sift(group);
                self.sift(rest);
            }
        }
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Record(issued) => self.group.push(issued),
            Message::Flush(done) => self.waiting.push(done),
        }
    }

    fn commit(&mut self) {
        if !self.group.is_empty() {
            self.written = self.persist();
        }
        // What failed is tried again with what comes next, as long as that is not too much.
        if self.group.len() >= GROUP {
            self.lose();
        }
        for done in self.waiting.drain(..) {
            let _ = done.send(self.written);
        }
    }

    fn persist(&mut self) -> bool {
        self.writing = true;
        let done = (self.write)(&self.group);
        self.writing = false;
        match done {
            Ok(()) => {
                self.state.written.fetch_add(self.group.len() as u64, Ordering::Relaxed);
                self.group.clear();
                self.state.succeeded();
                true
            }
            Err(e) => {
                self.state.failed(&e);
                false
            }
        }
    }

    fn lose(&mut self) {
        self.state.drop_records(self.group.len());
        self.group.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::super::contract::issued;
    use super::*;

    type Groups = Arc<Mutex<Vec<usize>>>;

    fn disk() -> (Groups, Write) {
        let (groups, _, write) = failing_disk();
        (groups, write)
    }

    /// A disk that takes nothing while it is full.
    fn failing_disk() -> (Groups, Arc<AtomicBool>, Write) {
        let (groups, full) = (Groups::default(), Arc::new(AtomicBool::new(false)));
        let (kept, fails) = (groups.clone(), full.clone());
        let write = move |group: &[Issued]| {
            if fails.load(Ordering::Relaxed) {
                return Err("no space left".into());
            }
            kept.lock().unwrap().push(group.len());
            Ok(())
        };
        (groups, full, Box::new(write))
    }

    #[tokio::test]
    async fn many_records_share_few_writes() {
        let (groups, write) = disk();
        let writer = GroupWriter::start(write, Supervisor::alone()).unwrap();
        for n in 0..1000 {
            writer.record(issued(n, 100)).await;
        }
        writer.flush().await.unwrap();
        let groups = groups.lock().unwrap();
        assert_eq!(groups.iter().sum::<usize>(), 1000);
        assert!(groups.len() < 100, "{groups:?}");
        assert_eq!(writer.state().counts(), Counts { written: 1000, ..Counts::default() });
    }

    #[tokio::test]
    async fn a_record_is_written_without_being_asked_for() {
        let (groups, write) = disk();
        let writer = GroupWriter::start(write, Supervisor::alone()).unwrap();
        writer.record(issued(0, 100)).await;
        let mut looks = 0;
        while groups.lock().unwrap().is_empty() {
            looks += 1;
            assert!(looks < 1000, "never written");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    #[tokio::test]
    async fn what_failed_is_written_once_the_disk_takes_it() {
        let (groups, full, write) = failing_disk();
        let writer = GroupWriter::start(write, Supervisor::alone()).unwrap();
        full.store(true, Ordering::Relaxed);
        for n in 0..10 {
            writer.record(issued(n, 100)).await;
        }
        assert!(matches!(writer.flush().await, Err(LedgerError::Failed)));
        assert!(!writer.state().healthy());
        assert_eq!(writer.state().counts(), Counts::default(), "they wait");
        full.store(false, Ordering::Relaxed);
        writer.record(issued(10, 100)).await;
        writer.flush().await.unwrap();
        assert!(writer.state().healthy());
        assert_eq!(*groups.lock().unwrap(), [11]);
        assert_eq!(writer.state().counts(), Counts { written: 11, ..Counts::default() });
    }

    /// A server that is not ready gets no requests: it must not take one to become ready.
    #[tokio::test]
    async fn a_failed_write_is_tried_again_without_being_asked_for() {
        let (groups, full, write) = failing_disk();
        let writer = GroupWriter::start(write, Supervisor::alone()).unwrap();
        full.store(true, Ordering::Relaxed);
        writer.record(issued(0, 100)).await;
        assert!(writer.flush().await.is_err());
        full.store(false, Ordering::Relaxed);
        let mut looks = 0;
        while !writer.state().healthy() {
            looks += 1;
            assert!(looks < 2000, "never tried");
            std::thread::sleep(Duration::from_millis(10));
        }
        assert_eq!(*groups.lock().unwrap(), [1]);
    }

    #[tokio::test]
    async fn a_long_outage_costs_records_that_are_counted_and_no_memory() {
        let (groups, full, write) = failing_disk();
        let writer = GroupWriter::start(write, Supervisor::alone()).unwrap();
        full.store(true, Ordering::Relaxed);
        let count = 3 * GROUP + 5;
        for n in 0..count {
            writer.record(issued(n, 100)).await;
            if n % 1000 == 999 {
                assert!(writer.flush().await.is_err());
            }
        }
        assert!(writer.flush().await.is_err());
        let dropped = writer.state().counts().dropped as usize;
        assert!(dropped >= count - GROUP, "at most a group waits: {dropped}");
        let state = writer.state().clone();
        drop(writer);
        assert_eq!(
            state.counts(),
            Counts { dropped: count as u64, ..Counts::default() },
            "the end loses the rest"
        );
        assert!(groups.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn a_record_that_panics_is_lost_alone() {
        let (groups, mut write) = disk();
        let poison = issued(7, 100).jti;
        let picky = move |group: &[Issued]| {
            assert!(group.iter().all(|issued| issued.jti != poison), "a test's");
            write(group)
        };
        let writer = GroupWriter::start(Box::new(picky), Supervisor::alone()).unwrap();
        for n in 0..20 {
            writer.record(issued(n, 100)).await;
        }
        let state = writer.state().clone();
        // Those who wait while it panics are told; the rest is on disk by then.
        let _ = writer.flush().await;
        drop(writer);
        assert_eq!(groups.lock().unwrap().iter().sum::<usize>(), 19);
        assert_eq!(state.counts(), Counts { written: 19, dropped: 1, ..Counts::default() });
    }

    #[tokio::test]
    async fn a_full_queue_holds_its_callers_back_and_loses_nothing() {
        let (groups, write) = disk();
        let writer = GroupWriter::with_queue(write, 4, Supervisor::alone()).unwrap();
        for n in 0..100 {
            writer.record(issued(n, 100)).await;
        }
        drop(writer);
        assert_eq!(groups.lock().unwrap().iter().sum::<usize>(), 100, "dropping it writes what waits");
    }
}
