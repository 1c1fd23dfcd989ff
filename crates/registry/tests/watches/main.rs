//! What follows the store, over watches that break, end, are refused as compacted, leave changes out or say nothing: the
//! schedule of the keys, the key ring, the objects, the controllers; and what readiness says when one of them is ill.
#![expect(clippy::unwrap_used, reason = "a test that fails here says where")]

mod dispatch;
mod follower;
mod health;
mod objects;
mod schedule;
mod served;
mod unruly;
mod world;
