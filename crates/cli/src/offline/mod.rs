//! What is done with a data directory that no server uses: a backup is read, put back, checked; a store is looked at,
//! saved from.
//!
//! Whatever is wrong, what is there stays: something new is made beside it and takes its place when it is whole.

pub mod backup;
mod before;
mod check;
pub mod contents;
mod fill;
pub mod restore;
mod said;
mod salvage;
pub mod store;
mod target;
