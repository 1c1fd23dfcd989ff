//! The crowd as connections see it: a place that is held, moves on with its connection, and can be taken back.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};

use crate::activity::Activity;
use crate::block::Block;
use crate::bounds::Bounds;
use crate::crowd::{Admission, Crowd, Room, Stage};
use crate::stats::Stats;

/// All places of a listener.
#[derive(Debug)]
pub(crate) struct Places {
    state: Mutex<State>,
    /// Somebody has gone, or can be asked to go.
    changed: Notify,
    pub(crate) stats: Arc<Stats>,
}

#[derive(Debug)]
struct State {
    crowd: Crowd,
    /// How each is told to go.
    bells: HashMap<u64, Arc<Notify>>,
}

/// A connection's place among the others, until it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) id: u64,
    pub(crate) block: Block,
    places: Arc<Places>,
    bell: Arc<Notify>,
    /// Became a tunnel, which is busy until its end.
    kept: AtomicBool,
}

impl Places {
    pub(crate) fn new(bounds: &Bounds, stats: Arc<Stats>) -> Arc<Self> {
        let room = Room {
            all: bounds.connections.max(1),
            per_block: bounds.per_address.clamp(1, bounds.connections.max(1)),
            silent: bounds.silent.max(1),
            greeted: bounds.greeted.max(1),
        };
        let state = Mutex::new(State { crowd: Crowd::new(room), bells: HashMap::new() });
        Arc::new(Places { state, changed: Notify::new(), stats })
    }

    /// Resolves when another one could come in: there is room, or somebody who can be asked to go.
    pub(crate) async fn ready(&self) {
        while !self.lock().crowd.has_room() {
            self.changed.notified().await;
        }
    }

    /// Resolves when nobody is left.
    pub(crate) async fn left(&self) {
        while !self.lock().crowd.is_empty() {
            self.changed.notified().await;
        }
    }

    /// Resolves when something has changed: somebody has gone, mostly.
    pub(crate) async fn change(&self) {
        self.changed.notified().await;
    }

    /// A place, when there is one; `None` when the address has what it may have, and uses it.
    pub(crate) async fn admit(self: &Arc<Self>, block: Block) -> Option<Place> {
        loop {
            if let Some(decided) = self.try_admit(block) {
                return decided;
            }
            self.ready().await;
        }
    }

    /// Undecided while all are at work.
    fn try_admit(self: &Arc<Self>, block: Block) -> Option<Option<Place>> {
        let mut state = self.lock();
        let (id, leaving) = match state.crowd.admit(block) {
            Admission::In(id, leaving) => (id, leaving),
            Admission::Full => return None,
            Admission::Refused => {
                self.stats.refuse();
                return Some(None);
            }
        };
        let bell = Arc::new(Notify::new());
        state.bells.insert(id, bell.clone());
        for id in leaving {
            self.ring(&mut state, id);
        }
        drop(state);
        self.stats.opened();
        Some(Some(Place { id, block, places: self.clone(), bell, kept: AtomicBool::new(false) }))
    }

    /// Asks somebody who waits to go, whoever it is; whether there was one.
    pub(crate) fn displace(&self) -> bool {
        let mut state = self.lock();
        let found = state.crowd.displace();
        if let Some(id) = found {
            self.ring(&mut state, id);
        }
        found.is_some()
    }

    fn ring(&self, state: &mut State, id: u64) {
        self.stats.displace();
        if let Some(bell) = state.bells.remove(&id) {
            // Kept for who does not listen yet.
            bell.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// The connection is at something else now.
    pub(crate) fn set(&self, stage: Stage) {
        if self.kept.load(Ordering::Relaxed) {
            return;
        }
        let mut state = self.places.lock();
        if let Some(leaving) = state.crowd.set(self.id, stage) {
            self.places.ring(&mut state, leaving);
        }
        drop(state);
        if stage != Stage::Busy {
            self.places.changed.notify_one();
        }
    }

    fn keep(&self) {
        self.set(Stage::Busy);
        self.kept.store(true, Ordering::Relaxed);
    }

    /// Resolves when the place is wanted for another.
    pub(crate) async fn wanted(&self) {
        self.bell.notified().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.places.lock();
        state.crowd.remove(self.id);
        state.bells.remove(&self.id);
        drop(state);
        self.places.stats.closed();
        self.places.changed.notify_one();
    }
}

/// What a connection and the tunnel that it became hold: their place among the connections, and the listener's end.
#[derive(Clone, Debug)]
pub struct Lifetime {
    pub(crate) activity: Arc<Activity>,
    /// How long, once told to stop, a tunnel is waited for on which nothing moves.
    pub(crate) farewell: Duration,
    /// How long a peer may take nothing.
    pub(crate) stall: Duration,
    pub(crate) stop: watch::Receiver<bool>,
    pub(crate) end: watch::Receiver<()>,
}

impl Lifetime {
    /// Waits for a peer to take something, for as long as for one that reads no answer; `None` when it has not.
    pub async fn patient<T>(&self, doing: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            done = doing => Some(done),
            () = self.activity.sleep(self.stall) => None,
        }
    }

    /// Does something that must not outlive the listener, nor say nothing while that is to stop; `None` when it would have.
    /// From this call on the connection keeps its place until that is done.
    pub fn limit<T>(self, doing: impl Future<Output = T>) -> impl Future<Output = Option<T>> {
        let Lifetime { activity, farewell, mut stop, mut end, .. } = self;
        let place = activity.place().clone();
        place.keep();
        async move {
            let _place = place;
            let silent = async {
                if stop.wait_for(|stop| *stop).await.is_err() {
                    // Nobody will say so any more.
                    std::future::pending::<()>().await;
                }
                activity.silent(farewell).await;
            };
            tokio::select! {
                done = doing => Some(done),
                // Nothing is ever sent: this is the sender's drop.
                _ = end.changed() => None,
                () = silent => None,
            }
        }
    }
}
