//! A disk that fails, or a writer that dies, at any step.

use std::cell::Cell;
use std::io;

use rustix::io::Errno;

#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    /// The process is killed: no cleaning up.
    Crash,
    /// The system says no, to this step and all that follow.
    Error(Errno),
}

thread_local! {
    static NEXT: Cell<Option<(usize, Fault)>> = const { Cell::new(None) };
}

/// What a crash unwinds with.
pub(crate) struct Crashed;

/// Called before everything that changes the disk.
pub(crate) fn step() -> io::Result<()> {
    match NEXT.get() {
        None => Ok(()),
        Some((0, Fault::Error(errno))) => Err(errno.into()),
        Some((0, Fault::Crash)) => std::panic::resume_unwind(Box::new(Crashed)),
        Some((left, fault)) => {
            NEXT.set(Some((left - 1, fault)));
            Ok(())
        }
    }
}

/// Runs something whose step of this number (from 0) fails; `None` if it has crashed.
pub(crate) fn with<T>(at: usize, fault: Fault, run: impl FnOnce() -> T) -> Option<T> {
    NEXT.set(Some((at, fault)));
    let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(run));
    NEXT.set(None);
    match done {
        Ok(done) => Some(done),
        Err(panic) if panic.is::<Crashed>() => None,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

/// Whether a run got past the step.
pub(crate) fn reached(at: usize, fault: Fault, run: impl FnOnce()) -> bool {
    let hit = Cell::new(false);
    let _ = with(at, fault, || {
        run();
        hit.set(NEXT.get().is_some_and(|(left, _)| left == 0));
    });
    hit.get()
}
