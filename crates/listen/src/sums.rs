//! Sums of bytes with bounds: of a connection, of an address, and in all.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::block::Block;

/// Whose bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Owner {
    pub(crate) connection: u64,
    pub(crate) block: Block,
}

/// Which of the bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    Connection,
    Address,
    All,
}

#[derive(Debug)]
pub(crate) struct Sums {
    bounds: [u64; 3],
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    connections: HashMap<u64, u64>,
    blocks: HashMap<Block, u64>,
    all: u64,
}

/// Bytes that are counted until this is dropped.
#[derive(Debug)]
pub(crate) struct Counted {
    sums: Arc<Sums>,
    owner: Owner,
    bytes: u64,
}

impl Sums {
    pub(crate) fn new(bounds: [u64; 3]) -> Arc<Self> {
        Arc::new(Sums { bounds, state: Mutex::default() })
    }

    /// The widest bound that is reached.
    pub(crate) fn full(&self, owner: Owner) -> Option<Scope> {
        let state = self.lock();
        let [connection, block, all] = self.bounds;
        if state.all >= all {
            Some(Scope::All)
        } else if state.blocks.get(&owner.block).is_some_and(|sum| *sum >= block) {
            Some(Scope::Address)
        } else if state.connections.get(&owner.connection).is_some_and(|sum| *sum >= connection) {
            Some(Scope::Connection)
        } else {
            None
        }
    }

    /// Counts them, unless a bound is reached. Where that of all is, an address that has less than an equal share of it is let
    /// in all the same, up to as much again: a few addresses that take all there is would otherwise shut out everybody.
    pub(crate) fn take(self: &Arc<Self>, owner: Owner, bytes: u64) -> Option<Counted> {
        match self.full(owner) {
            None => Some(self.count(owner, bytes)),
            Some(Scope::All) if self.has_less_than_a_share(owner) => Some(self.count(owner, bytes)),
            Some(_) => None,
        }
    }

    fn has_less_than_a_share(&self, owner: Owner) -> bool {
        let state = self.lock();
        let all = self.bounds[2];
        let own = state.blocks.get(&owner.block).copied();
        let addresses = state.blocks.len() as u64 + u64::from(own.is_none());
        state.all < all.saturating_mul(2) && own.unwrap_or(0) < all / addresses
    }

    /// Counts them, even where they go beyond a bound.
    pub(crate) fn count(self: &Arc<Self>, owner: Owner, bytes: u64) -> Counted {
        let mut state = self.lock();
        state.all += bytes;
        *state.blocks.entry(owner.block).or_default() += bytes;
        *state.connections.entry(owner.connection).or_default() += bytes;
        drop(state);
        Counted { sums: self.clone(), owner, bytes }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counted {
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut state = self.sums.lock();
        state.all -= self.bytes;
        subtract(&mut state.blocks, self.owner.block, self.bytes);
        subtract(&mut state.connections, self.owner.connection, self.bytes);
    }
}

fn subtract<K: Eq + Hash>(sums: &mut HashMap<K, u64>, key: K, bytes: u64) {
    if let Some(sum) = sums.get_mut(&key) {
        *sum -= bytes;
        if *sum == 0 {
            sums.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_bound_counts() {
        let sums = Sums::new([10, 20, 30]);
        let owner = |connection, block| Owner { connection, block: Block::V4(block) };
        let a = sums.take(owner(1, 1), 15).unwrap();
        assert_eq!(sums.full(owner(1, 1)), Some(Scope::Connection));
        assert!(sums.take(owner(1, 1), 1).is_none());
        let b = sums.take(owner(2, 1), 5).unwrap();
        assert_eq!(sums.full(owner(3, 1)), Some(Scope::Address));
        let c = sums.take(owner(4, 2), 10).unwrap();
        assert_eq!(sums.full(owner(5, 3)), Some(Scope::All));
        drop((a, b, c));
        assert_eq!(sums.full(owner(1, 1)), None);
        let state = sums.lock();
        assert!(state.all == 0 && state.blocks.is_empty() && state.connections.is_empty());
    }

    /// Four addresses that take all would shut out everybody else.
    #[test]
    fn who_takes_all_shuts_out_nobody_else() {
        let sums = Sums::new([100, 100, 300]);
        let owner = |block| Owner { connection: u64::from(block), block: Block::V4(block) };
        let greedy: Vec<_> = (0..3).map(|block| sums.take(owner(block), 100).unwrap()).collect();
        assert!(sums.take(owner(0), 1).is_none());
        let others: Vec<_> = (10..20).filter_map(|block| sums.take(owner(block), 10)).collect();
        assert_eq!(others.len(), 10);
        assert!(sums.take(owner(0), 1).is_none(), "who has more than a share waits");
        // There is an end to it: twice as much as the bound.
        let crowd: Vec<_> = (100..10_000).filter_map(|block| sums.take(owner(block), 10)).collect();
        assert!(sums.lock().all <= 2 * 300 + 10, "{}", sums.lock().all);
        drop((greedy, others, crowd));
    }
}
