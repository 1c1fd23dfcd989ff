//! The client beside real servers over TLS, behind real proxies, with real plugins.
#![expect(clippy::unwrap_used, reason = "a test that fails here says where")]

mod exchange;
mod kubeconfigs;
mod plugins;
mod proxies;
mod retries;
mod world;
