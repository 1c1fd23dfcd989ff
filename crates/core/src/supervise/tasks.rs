//! The tasks of one server, together: they end when this is dropped.

use std::sync::Arc;

use tokio::task::JoinSet;

use super::{Supervisor, Task};

/// Tasks that run for as long as their server does.
pub struct Tasks {
    supervisor: Arc<Supervisor>,
    running: JoinSet<()>,
}

impl Tasks {
    /// None yet.
    pub fn new(supervisor: Arc<Supervisor>) -> Self {
        Tasks { supervisor, running: JoinSet::new() }
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

    /// Ends them, and waits until they have.
    pub async fn end(mut self) {
        self.running.shutdown().await;
    }
}
