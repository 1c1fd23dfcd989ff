//! The token endpoint, as clients use it: a module for each RFC whose rules it keeps, one of attacks, one of what tokens are bound to, one of rules
//! that pass tokens on.
#![expect(clippy::unwrap_used, reason = "a test that fails here says where")]

mod attacks;
mod bound;
mod budget;
mod policy;
mod rfc6749;
mod rfc7009;
mod rfc7515;
mod rfc7523;
mod rfc7662;
mod rfc8414;
mod rfc8693;
mod rfc9068;
mod upstream;
mod world;
