//! Where lines go: a bounded queue, and a thread of its own that writes them. Nobody waits for a disk.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::Duration;

use tokensmith_core::supervise::{Supervisor, Task};

use super::Line;

/// Opens the log, at the start and again when it has been moved away.
pub type Opener = Box<dyn FnMut() -> io::Result<Box<dyn Write + Send>> + Send>;

/// As much may wait, bytes: some ten thousand lines.
const QUEUE: usize = 16 << 20;
/// As much of it may be taken by requests that were refused at the gate: who knocks without a key, and be it a million
/// times a second, displaces no line of a token that was given out.
const REFUSED: usize = QUEUE / 2;
/// How long a writer rests that has failed. It holds its line meanwhile.
const REST: Duration = Duration::from_millis(250);

/// How it went so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Lines written.
    pub written: u64,
    /// Lines lost: the queue was full, or the end came before the disk took them.
    pub dropped: u64,
    /// Writes that failed. A line is tried again, so it need not be lost.
    pub errors: u64,
}

/// The audit log. Dropped, it writes what waits.
pub struct Audit {
    queue: Arc<Queue>,
    writer: Option<JoinHandle<()>>,
}

impl Audit {
    /// Writes nothing: for servers that nobody has to answer for.
    pub fn none() -> Self {
        Audit { queue: Arc::default(), writer: None }
    }

    /// Writes to `out`.
    ///
    /// # Errors
    /// No thread could be started.
    pub fn to(out: Box<dyn Write + Send>, supervisor: Arc<Supervisor>) -> io::Result<Self> {
        Self::start(out, None, supervisor)
    }

    /// Writes to what `open` opens, now and at each [`Audit::reopen`].
    ///
    /// # Errors
    /// It does not open, or no thread could be started.
    pub fn open(mut open: Opener, supervisor: Arc<Supervisor>) -> io::Result<Self> {
        Self::start(open()?, Some(open), supervisor)
    }

    fn start(
        out: Box<dyn Write + Send>,
        open: Option<Opener>,
        supervisor: Arc<Supervisor>,
    ) -> io::Result<Self> {
        let queue = Arc::new(Queue::default());
        let mut writer =
            Writer { queue: queue.clone(), out, open, supervisor, hand: VecDeque::new(), writing: None };
        let writer = std::thread::Builder::new().name("audit".into()).spawn(move || writer.run())?;
        Ok(Audit { queue, writer: Some(writer) })
    }

    /// Hands over a line. Never waits.
    pub fn write(&self, line: &Line) {
        self.push(line, QUEUE);
    }

    /// Hands over the line of a request that was refused at the gate.
    pub(crate) fn write_refused(&self, line: &Line) {
        self.push(line, REFUSED);
    }

    fn push(&self, line: &Line, most: usize) {
        if self.writer.is_some() {
            self.queue.push(line.to_bytes(), most);
        }
    }

    /// Opens the log anew, for who has moved it away (logrotate): lines that wait go to the new one.
    pub fn reopen(&self) {
        self.queue.lock().reopen = true;
        self.queue.wake.notify_one();
    }

    /// How it went so far.
    pub fn counts(&self) -> Counts {
        let get = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let queue = &self.queue;
        Counts { written: get(&queue.written), dropped: get(&queue.dropped), errors: get(&queue.errors) }
    }

    /// What keeps the log from being written, for readiness: who gives out credentials without a trace is not well.
    pub fn problem(&self) -> Option<String> {
        if self.queue.failing.load(Ordering::Relaxed) {
            return Some("the audit log cannot be written: its lines wait".into());
        }
        let full = self.queue.losing.load(Ordering::Relaxed);
        full.then(|| "the audit log takes no more lines: some are lost".into())
    }
}

impl Drop for Audit {
    fn drop(&mut self) {
        self.queue.lock().closed = true;
        self.queue.wake.notify_one();
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
    }
}

#[derive(Default)]
struct Queue {
    state: Mutex<State>,
    wake: Condvar,
    /// The last write failed.
    failing: AtomicBool,
    /// Lines were lost since the queue was empty.
    losing: AtomicBool,
    written: AtomicU64,
    dropped: AtomicU64,
    errors: AtomicU64,
}

#[derive(Default)]
struct State {
    lines: VecDeque<Vec<u8>>,
    /// Of `lines` and of what the writer has in hand.
    bytes: usize,
    reopen: bool,
    closed: bool,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing that is done under it can be left half done.
        self.state.lock().unwrap_or_else(|e| e.into_inner())
    }

    fn push(&self, line: Vec<u8>, most: usize) {
        let mut state = self.lock();
        if state.bytes + line.len() > most {
            drop(state);
            self.lost(1);
            return;
        }
        state.bytes += line.len();
        state.lines.push_back(line);
        drop(state);
        self.wake.notify_one();
    }

    fn lost(&self, lines: u64) {
        self.dropped.fetch_add(lines, Ordering::Relaxed);
        // Once, not per line: what is lost is counted.
        if !self.losing.swap(true, Ordering::Relaxed) {
            tracing::error!("audit lines are lost: the log cannot be written as fast as they come");
        }
    }
}

struct Writer {
    queue: Arc<Queue>,
    out: Box<dyn Write + Send>,
    open: Option<Opener>,
    supervisor: Arc<Supervisor>,
    /// Lines that were taken from the queue.
    hand: VecDeque<Vec<u8>>,
    /// How long the line is that is being written.
    writing: Option<usize>,
}

impl Writer {
    /// A step that panics costs the line that it was at, and no other.
    fn run(&mut self) {
        let supervisor = self.supervisor.clone();
        let _running = supervisor.begin(Task::AuditWriter);
        while supervisor.step(Task::AuditWriter, || self.step()).unwrap_or_else(|| self.recover()) {}
    }

    /// Writes what there is, or waits for it; says whether there will be more.
    fn step(&mut self) -> bool {
        if self.hand.is_empty() {
            let mut state = self.queue.lock();
            while state.lines.is_empty() && !state.reopen && !state.closed {
                state = self.queue.wake.wait(state).unwrap_or_else(|e| e.into_inner());
            }
            self.hand = std::mem::take(&mut state.lines);
            let (reopen, closed) = (std::mem::take(&mut state.reopen), state.closed);
            drop(state);
            if reopen {
                self.reopen();
            }
            if self.hand.is_empty() && closed {
                return false;
            }
        }
        while let Some(line) = self.hand.pop_front() {
            self.writing = Some(line.len());
            self.write(&line);
            self.written();
        }
        if self.queue.lock().lines.is_empty() {
            self.queue.losing.store(false, Ordering::Relaxed);
        }
        true
    }

    fn written(&mut self) {
        let length = self.writing.take().unwrap_or(0);
        self.queue.lock().bytes -= length;
    }

    fn recover(&mut self) -> bool {
        if self.writing.is_some() {
            self.written();
            self.queue.lost(1);
        }
        // A panic at every step must not cost a core.
        self.rest();
        true
    }

    /// Writes a line, however long the disk takes to be well again; gives up only at the end.
    fn write(&mut self, line: &[u8]) {
        let mut left = line;
        loop {
            // One write per line where it can be: lines of several processes on one file do not mix.
            let done = match self.out.write(left) {
                Ok(0) => Err(ErrorKind::WriteZero.into()),
                Ok(n) => {
                    left = &left[n..];
                    if left.is_empty() { self.out.flush() } else { continue }
                }
                Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                Err(e) => Err(e),
            };
            let Err(cause) = done else {
                self.queue.written.fetch_add(1, Ordering::Relaxed);
                if self.queue.failing.swap(false, Ordering::Relaxed) {
                    tracing::info!("the audit log can be written again");
                }
                return;
            };
            self.queue.errors.fetch_add(1, Ordering::Relaxed);
            if !self.queue.failing.swap(true, Ordering::Relaxed) {
                tracing::error!(%cause, "the audit log cannot be written: its lines wait");
            }
            if self.rest() {
                self.queue.lost(1);
                return;
            }
            if std::mem::take(&mut self.queue.lock().reopen) && self.reopen() {
                // What the old file has of it is there, too: rather twice than not at all.
                left = line;
            }
        }
    }

    /// Waits for better times, or for a reason to try at once; says whether the end has come.
    fn rest(&self) -> bool {
        let state = self.queue.lock();
        let woken = self.queue.wake.wait_timeout_while(state, REST, |s| !s.closed && !s.reopen);
        woken.unwrap_or_else(|e| e.into_inner()).0.closed
    }

    fn reopen(&mut self) -> bool {
        let Some(open) = &mut self.open else { return false };
        match open() {
            Ok(out) => {
                self.out = out;
                tracing::info!("opened the audit log anew");
                true
            }
            Err(cause) => {
                tracing::error!(%cause, "the audit log cannot be opened anew: lines go where they went");
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A disk that takes what it is told to.
    #[derive(Clone, Default)]
    struct Disk(Arc<(Mutex<Files>, Condvar)>);

    #[derive(Default)]
    struct Files {
        all: Vec<Vec<u8>>,
        /// Bytes that still fit.
        room: Option<usize>,
        /// Writes wait.
        stuck: bool,
        failed: usize,
    }

    struct Handle(Disk, usize);

    impl Disk {
        fn set(&self, change: impl FnOnce(&mut Files)) {
            change(&mut self.0.0.lock().unwrap());
            self.0.1.notify_all();
        }

        /// Waits until the files are as they are to be.
        fn until(&self, what: &str, condition: impl Fn(&Files) -> bool) {
            let files = self.0.0.lock().unwrap();
            let wait = Duration::from_secs(20);
            let (_files, out) = self.0.1.wait_timeout_while(files, wait, |f| !condition(f)).unwrap();
            assert!(!out.timed_out(), "never: {what}");
        }

        fn opener(&self) -> Opener {
            let disk = self.clone();
            Box::new(move || {
                let mut file = 0;
                disk.set(|f| {
                    file = f.all.len();
                    f.all.push(Vec::new());
                });
                Ok(Box::new(Handle(disk.clone(), file)))
            })
        }
    }

    impl Write for Handle {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let (files, changed) = &*self.0.0;
            let mut files = changed.wait_while(files.lock().unwrap(), |f| f.stuck).unwrap();
            let n = files.room.map_or(bytes.len(), |room| room.min(bytes.len()));
            files.room = files.room.map(|room| room - n);
            files.all[self.1].extend_from_slice(&bytes[..n]);
            files.failed += usize::from(n == 0);
            changed.notify_all();
            if n == 0 { Err(ErrorKind::StorageFull.into()) } else { Ok(n) }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn line(user: &str) -> Line {
        Line { user: user.into(), ..Line::default() }
    }

    fn users(file: &[u8]) -> Vec<String> {
        let lines = file.split(|b| *b == b'\n').filter(|l| !l.is_empty());
        let parsed = lines.map(|l| serde_json::from_slice::<serde_json::Value>(l).unwrap());
        parsed.map(|l| l["user"].as_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn a_full_disk_loses_no_line_and_is_told() {
        let disk = Disk::default();
        let audit = Audit::open(disk.opener(), Supervisor::alone()).unwrap();
        disk.set(|f| f.room = Some(10));
        for user in ["a", "b"] {
            audit.write(&line(user));
        }
        disk.until("it is tried again", |f| f.failed > 1);
        assert!(audit.problem().is_some_and(|p| p.contains("cannot be written")));
        assert!(audit.counts().errors > 0 && audit.counts().dropped == 0);
        disk.set(|f| f.room = None);
        disk.until("both are there", |f| f.all[0].iter().filter(|b| **b == b'\n').count() == 2);
        drop(audit);
        assert_eq!(users(&disk.0.0.lock().unwrap().all[0]), ["a", "b"], "whole, each once");
    }

    #[test]
    fn a_moved_log_is_opened_anew() {
        let disk = Disk::default();
        let audit = Audit::open(disk.opener(), Supervisor::alone()).unwrap();
        audit.write(&line("before"));
        disk.until("the first is written", |f| !f.all[0].is_empty());
        audit.reopen();
        disk.until("there is a new file, before the next line", |f| f.all.len() == 2);
        audit.write(&line("after"));
        drop(audit);
        let files = disk.0.0.lock().unwrap();
        assert_eq!(
            (users(&files.all[0]), users(&files.all[1])),
            (vec!["before".into()], vec!["after".into()])
        );
    }

    #[test]
    fn a_log_that_hangs_delays_nobody_and_refusals_displace_nothing() {
        let disk = Disk::default();
        let audit = Audit::open(disk.opener(), Supervisor::alone()).unwrap();
        disk.set(|f| f.stuck = true);
        let big = line(&"x".repeat(500));
        let fit = REFUSED / big.to_bytes().len();
        for _ in 0..fit + 100 {
            audit.write_refused(&big);
        }
        assert_eq!(audit.counts().dropped, 100, "strangers fill half of it");
        assert!(audit.problem().is_some_and(|p| p.contains("some are lost")));
        for _ in 0..fit {
            audit.write(&big);
        }
        assert_eq!(audit.counts().dropped, 100, "the other half is for what was decided");
        audit.write(&line("one more, which may fit"));
        for _ in 0..10 {
            audit.write(&big);
        }
        assert!(audit.counts().dropped >= 110, "then it is full");
        disk.set(|f| f.stuck = false);
        drop(audit);
        let files = disk.0.0.lock().unwrap();
        assert!(users(&files.all[0]).len() >= 2 * fit);
    }

    #[test]
    fn an_end_with_a_full_disk_is_an_end() {
        let disk = Disk::default();
        let audit = Audit::open(disk.opener(), Supervisor::alone()).unwrap();
        disk.set(|f| f.room = Some(0));
        audit.write(&line("a"));
        let queue = audit.queue.clone();
        drop(audit);
        assert_eq!(queue.dropped.load(Ordering::Relaxed), 1);
    }
}
