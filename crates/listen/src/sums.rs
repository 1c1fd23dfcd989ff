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
        self.lock().full(&self.bounds, owner)
    }

    /// Counts them, unless a bound is reached. Where that of all is, an address that has less than an equal share of it is let
    /// in all the same, up to as much again: a few addresses that take all there is would otherwise shut out everybody.
    pub(crate) fn take(self: &Arc<Self>, owner: Owner, bytes: u64) -> Option<Counted> {
        let mut state = self.lock();
        match state.full(&self.bounds, owner) {
            None => {}
            Some(Scope::All) if state.has_less_than_a_share(&self.bounds, owner) => {}
            Some(_) => return None,
        }
        state.add(owner, bytes);
        drop(state);
        Some(Counted { sums: self.clone(), owner, bytes })
    }

    /// Counts them, even where they go beyond a bound.
    pub(crate) fn count(self: &Arc<Self>, owner: Owner, bytes: u64) -> Counted {
        self.lock().add(owner, bytes);
        Counted { sums: self.clone(), owner, bytes }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn full(&self, &[connection, block, all]: &[u64; 3], owner: Owner) -> Option<Scope> {
        let reached = |sum: Option<&u64>, bound| sum.is_some_and(|sum| *sum >= bound);
        match () {
            () if self.all >= all => Some(Scope::All),
            () if reached(self.blocks.get(&owner.block), block) => Some(Scope::Address),
            () if reached(self.connections.get(&owner.connection), connection) => Some(Scope::Connection),
            () => None,
        }
    }

    /// Whether only others have reached the bound of all.
    fn has_less_than_a_share(&self, &[connection, block, all]: &[u64; 3], owner: Owner) -> bool {
        let own = self.blocks.get(&owner.block).copied();
        let addresses = self.blocks.len() as u64 + u64::from(own.is_none());
        let of_connection = self.connections.get(&owner.connection).copied().unwrap_or(0);
        let own = own.unwrap_or(0);
        self.all < all.saturating_mul(2) && own < block.min(all / addresses) && of_connection < connection
    }

    fn add(&mut self, owner: Owner, bytes: u64) {
        self.all += bytes;
        *self.blocks.entry(owner.block).or_default() += bytes;
        *self.connections.entry(owner.connection).or_default() += bytes;
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
        let sums = Sums::new([20, 100, 300]);
        let owner = |block| Owner { connection: u64::from(block), block: Block::V4(block) };
        let greedy: Vec<_> = (0..3).map(|block| sums.take(owner(block), 100).unwrap()).collect();
        let first = sums.take(owner(9), 20).unwrap();
        assert!(sums.take(owner(9), 1).is_none(), "the bound of its connection counts");
        assert!(sums.take(owner(0), 1).is_none());
        let others: Vec<_> = (10..20).filter_map(|block| sums.take(owner(block), 10)).collect();
        assert_eq!(others.len(), 10);
        assert!(sums.take(owner(0), 1).is_none(), "who has more than a share waits");
        // There is an end to it: twice as much as the bound.
        let crowd: Vec<_> = (100..10_000).filter_map(|block| sums.take(owner(block), 10)).collect();
        assert!(sums.lock().all <= 2 * 300 + 10, "{}", sums.lock().all);
        drop((greedy, first, others, crowd));
    }
}
