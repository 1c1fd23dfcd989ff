//! Where a test may have a task panic. Builds without debug assertions have nothing of this.

use std::sync::OnceLock;

use super::Task;

/// Says whether a task is to panic at the turn that it takes just now.
pub type ShouldPanic = Box<dyn Fn(Task) -> bool + Send + Sync>;

static SHOULD_PANIC: OnceLock<ShouldPanic> = OnceLock::new();

/// Arms this process; once.
pub fn arm(should_panic: ShouldPanic) {
    let _ = SHOULD_PANIC.set(should_panic);
}

/// A turn of a task.
pub(super) fn point(task: Task) {
    if SHOULD_PANIC.get().is_some_and(|should_panic| should_panic(task)) {
        panic!("a test wants the task to panic");
    }
}
