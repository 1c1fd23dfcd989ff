//! The wire: Kubernetes JSON, YAML and protobuf bodies, `Status`, media types, metrics.
//!
//! Turns bytes into a tree of values and back, and says what is wrong with bytes in the words that
//! Kubernetes' own decoders use. It decides nothing: which fields a kind has, who may send it and what it
//! means is the business of the crates above.

// Only `moment` may use operators that panic where a time does not fit (see clippy.toml).
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

pub mod duration;
pub mod exposition;
pub mod findings;
pub mod json;
pub mod media;
pub mod moment;
pub mod proto;
pub mod status;
pub mod yaml;

pub use duration::GoDuration;
pub use findings::Findings;
pub use media::Media;
pub use moment::Moment;
pub use status::Status;
