//! Where a test may have a task panic. Builds without debug assertions have nothing of this.

use std::sync::OnceLock;

use super::Task;

/// Says whether a task is to panic at the turn that it takes just now.
pub type Wanted = Box<dyn Fn(Task) -> bool + Send + Sync>;

static WANTED: OnceLock<Wanted> = OnceLock::new();

/// Arms this process; once.
pub fn arm(wanted: Wanted) {
    let _ = WANTED.set(wanted);
}

/// A turn of a task.
pub(super) fn point(task: Task) {
    if WANTED.get().is_some_and(|wanted| wanted(task)) {
        panic!("a test wants the task to panic");
    }
}
