//! The token endpoint, as clients use it: a module for each RFC whose rules it keeps, and one of attacks.
#![expect(clippy::unwrap_used, reason = "a test that fails here says where")]

mod rfc8693;
mod world;
