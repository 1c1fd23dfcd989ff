//! The `Ledger` port on sled ([`SledLedger`]) and in memory ([`MemoryLedger`]). Both pass one contract suite.

#[cfg(any(test, feature = "contract"))]
pub mod contract;
pub(crate) mod keys;
mod memory;
mod sealed;
mod sled_ledger;
mod writer;

pub use memory::MemoryLedger;
pub use sled_ledger::SledLedger;

#[cfg(test)]
mod tests;
