//! The server as one service, without sockets.
#![expect(clippy::unwrap_used, reason = "a test that fails here says where")]

mod admission;
mod aside;
mod audit;
mod backup;
mod certificates;
mod errands;
mod escalation;
mod extremes;
mod headers;
mod keys;
mod ledger;
mod metrics;
mod nodes;
mod objects;
mod oidc;
mod openapi;
mod options;
mod patches;
mod paths;
mod poke;
mod profiles;
mod representations;
mod reviews;
mod routes;
mod rules;
mod services;
mod sizes;
mod spans;
mod tokens;
mod trust_bundles;
mod views;
mod watches;
mod websockets;
mod workloads;
mod world;
