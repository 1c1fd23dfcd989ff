//! Turns at work that needs a core: handshakes, and the beginning of each request (who asks, may they, and all of what is
//! answered from memory).
//!
//! Whoever waits is served round the addresses, and within an address round its connections: ten thousand requests on
//! hundreds of connections delay a newcomer, of the same address too, by one request of each connection at most. Connections
//! that have had no more turns than a handshake and a request take are served three times as often as the others.

use std::collections::{HashMap, VecDeque};
use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;

use tokio::sync::oneshot;

use crate::block::Block;

#[derive(Debug)]
pub(crate) struct Turns(Mutex<State>);

#[derive(Debug)]
struct State {
    free: usize,
    /// The addresses with somebody who waits, the next one first.
    ring: VecDeque<Block>,
    queues: HashMap<Block, Queue>,
}

/// Those who wait at one address.
#[derive(Debug, Default)]
struct Queue {
    /// Connections that have had few turns, and the others.
    rings: [VecDeque<u64>; 2],
    /// Counts turns of this address.
    turn: u8,
    connections: HashMap<u64, VecDeque<oneshot::Sender<()>>>,
}

/// Whether a connection has just come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Age {
    Fresh,
    Old,
}

/// Every so many turns of an address are the old ones'.
const OLD: u8 = 4;

/// The right to work, given back when it is dropped.
struct Turn<'a>(&'a Turns);

/// A wait that can be broken off.
struct Waiting<'a> {
    turns: &'a Turns,
    granted: oneshot::Receiver<()>,
}

impl Turns {
    /// As many at one time.
    pub(crate) fn new(free: usize) -> Arc<Self> {
        Arc::new(Turns(Mutex::new(State { free, ring: VecDeque::new(), queues: HashMap::new() })))
    }

    /// Waits for a turn, and does with it what can be done without waiting for anything else; the rest goes on without.
    ///
    /// The turn is kept until the runtime has come round: all tasks that are ready have then asked for one, and stand in the
    /// order of this queue. In the runtime's own each would be done as it comes, a flood's first.
    pub(crate) async fn begin<F: Future>(
        &self,
        block: Block,
        connection: u64,
        age: Age,
        doing: F,
    ) -> F::Output {
        let mut doing = pin!(doing);
        let first = {
            let _turn = self.turn(block, connection, age).await;
            let first = poll_fn(|context| Poll::Ready(doing.as_mut().poll(context))).await;
            tokio::task::yield_now().await;
            first
        };
        match first {
            Poll::Ready(done) => done,
            Poll::Pending => doing.await,
        }
    }

    async fn turn(&self, block: Block, connection: u64, age: Age) -> Turn<'_> {
        let granted = {
            let mut state = self.lock();
            if state.free > 0 {
                state.free -= 1;
                return Turn(self);
            }
            let (grant, granted) = oneshot::channel();
            state.push(block, connection, age, grant);
            granted
        };
        let mut waiting = Waiting { turns: self, granted };
        // The sender is only dropped after it has sent, or with `self`.
        let _ = (&mut waiting.granted).await;
        Turn(self)
    }

    fn release(&self) {
        let mut state = self.lock();
        while let Some(grant) = state.pop() {
            // Who has given up is passed over.
            if grant.send(()).is_ok() {
                return;
            }
        }
        state.free += 1;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn push(&mut self, block: Block, connection: u64, age: Age, grant: oneshot::Sender<()>) {
        let queue = self.queues.entry(block).or_default();
        if queue.connections.is_empty() {
            self.ring.push_back(block);
        }
        let waiting = queue.connections.entry(connection).or_default();
        if waiting.is_empty() {
            queue.rings[age as usize].push_back(connection);
        }
        waiting.push_back(grant);
    }

    /// The next one: of the next connection of the next address.
    fn pop(&mut self) -> Option<oneshot::Sender<()>> {
        let block = self.ring.pop_front()?;
        let queue = self.queues.get_mut(&block)?;
        queue.turn = (queue.turn + 1) % OLD;
        let first = usize::from(queue.turn == 0);
        let ring = if queue.rings[first].is_empty() { 1 - first } else { first };
        let connection = queue.rings[ring].pop_front()?;
        let waiting = queue.connections.get_mut(&connection)?;
        let grant = waiting.pop_front();
        if waiting.is_empty() {
            queue.connections.remove(&connection);
        } else {
            // Who has more than one request waiting has had a turn now.
            queue.rings[Age::Old as usize].push_back(connection);
        }
        if queue.connections.is_empty() {
            self.queues.remove(&block);
        } else {
            self.ring.push_back(block);
        }
        grant
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.release();
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.granted.close();
        // It had been granted already, and nobody took it.
        if self.granted.try_recv().is_ok() {
            self.turns.release();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn yielding() -> impl Future<Output = ()> {
        tokio::task::yield_now()
    }

    /// Who waits in which order is seen by who comes when.
    #[tokio::test]
    async fn turns_go_round_addresses_and_connections() {
        let turns = Turns::new(1);
        let held = turns.turn(Block::Local, 0, Age::Old).await;
        let order = Arc::new(Mutex::new(Vec::new()));
        let mut tasks = Vec::new();
        // A flood of one address on two connections, then one request of a third, then one of another address.
        let flood = (0..100).map(|n| (1, n % 2));
        for (address, connection) in flood.chain([(1, 7), (2, 8)]) {
            let (turns, order) = (turns.clone(), order.clone());
            tasks.push(tokio::spawn(async move {
                let done = async { order.lock().unwrap().push(connection) };
                turns.begin(Block::V4(address), connection, Age::Old, done).await;
            }));
            yielding().await;
        }
        drop(held);
        for task in tasks {
            task.await.unwrap();
        }
        let order = order.lock().unwrap();
        let place = |connection| order.iter().position(|c| *c == connection).unwrap();
        assert!(place(8) <= 1, "another address waits for one: {}", place(8));
        assert!(place(7) <= 3, "another connection waits for one of each: {}", place(7));
        assert_eq!(order.len(), 102);
    }

    #[tokio::test]
    async fn who_gives_up_takes_no_turn_away() {
        let turns = Turns::new(1);
        let held = turns.turn(Block::Local, 0, Age::Old).await;
        let ran = Arc::new(AtomicUsize::new(0));
        let begin = |n| {
            let (turns, ran) = (turns.clone(), ran.clone());
            tokio::spawn(async move {
                turns.begin(Block::Local, n, Age::Old, async { ran.fetch_add(1, Ordering::SeqCst) }).await
            })
        };
        let given_up: Vec<_> = (0..10).map(begin).collect();
        yielding().await;
        for task in &given_up {
            task.abort();
        }
        let last = begin(99);
        yielding().await;
        drop(held);
        last.await.unwrap();
        assert_eq!(ran.load(Ordering::SeqCst), 1);
        // Granted in the same moment as it is given up.
        let held = turns.turn(Block::Local, 0, Age::Old).await;
        let late = begin(5);
        yielding().await;
        drop(held);
        late.abort();
        drop(late.await);
        assert_eq!(turns.lock().free, 1);
    }

    #[tokio::test]
    async fn what_waits_for_something_else_has_no_turn() {
        let turns = Turns::new(1);
        let (tell, told) = oneshot::channel::<()>();
        let slow = turns.clone();
        let slow = tokio::spawn(async move { slow.begin(Block::Local, 1, Age::Old, told).await });
        yielding().await;
        assert_eq!(turns.begin(Block::Local, 2, Age::Old, async { 5 }).await, 5);
        tell.send(()).unwrap();
        slow.await.unwrap().unwrap();
    }

    /// Five hundred connections with requests that wait, and a newcomer of the same address.
    #[tokio::test]
    async fn the_fresh_come_first_and_the_old_come_too() {
        let turns = Turns::new(1);
        let held = turns.turn(Block::Local, 0, Age::Old).await;
        let order = Arc::new(Mutex::new(Vec::new()));
        let mut tasks = Vec::new();
        let old = (0..500).map(|n| (n, Age::Old));
        for (connection, age) in old.chain((1000..1500).map(|n| (n, Age::Fresh))) {
            let (turns, order) = (turns.clone(), order.clone());
            tasks.push(tokio::spawn(async move {
                let done = async { order.lock().unwrap().push(age) };
                turns.begin(Block::Local, connection, age, done).await;
            }));
            yielding().await;
        }
        drop(held);
        for task in tasks {
            task.await.unwrap();
        }
        let order = order.lock().unwrap();
        let fresh = order.iter().take(400).filter(|age| **age == Age::Fresh).count();
        assert_eq!(fresh, 300);
    }
}
