//! The Store port on sled, and in memory.
