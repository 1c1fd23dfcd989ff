//! The tasks of one server, together: they end when this is dropped.

use std::sync::Arc;

use tokio::task::JoinSet;

use super::{Errands, Supervisor, Task};

/// Tasks that run for as long as their server does, and its errands.
pub struct Tasks {
    supervisor: Arc<Supervisor>,
    running: JoinSet<()>,
    errands: Arc<Errands>,
}

impl Tasks {
    /// None yet.
    pub fn new(supervisor: Arc<Supervisor>) -> Self {
        Tasks { supervisor, running: JoinSet::new(), errands: Arc::default() }
    }

    /// Begins one. It is begun again with the same things when it panics or ends.
    pub fn run<T, W>(&mut self, task: Task, with: &T, work: impl Fn(T) -> W + Send + Sync + 'static)
    where
        T: Clone + Send + Sync + 'static,
        W: Future<Output = ()> + Send + 'static,
    {
        let (supervisor, with) = (self.supervisor.clone(), with.clone());
        self.running.spawn(async move { supervisor.run(task, || work(with.clone())).await });
    }

    /// For whoever begins what is to go on without them.
    pub fn errands(&self) -> &Arc<Errands> {
        &self.errands
    }

    /// Waits for the errands, for which the tasks may have work to do; then ends the tasks, and waits until they have.
    pub async fn end(mut self) {
        self.errands.end().await;
        self.running.shutdown().await;
    }
}

impl Drop for Tasks {
    /// The errands hold what holds them: nobody else ends them.
    fn drop(&mut self) {
        self.errands.abort();
    }
}
