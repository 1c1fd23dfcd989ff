#![doc = include_str!("../README.md")]
// Only `moment` may use operators that panic where a time does not fit (see clippy.toml).
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

mod builder;
mod call;
pub mod certificates;
mod clock;
pub mod end;
mod error;
pub mod issuers;
mod options;
pub mod renewal;
mod server;
mod storage;
pub mod testing_clock;
pub mod tls;
mod wire;

pub use builder::Builder;
pub use call::{CallError, Patch, Review, Token, TokenRequest};
pub use clock::TestClock;
pub use error::{EndError, StartError};
pub use options::{Authorization, MAX_TOKEN_SECONDS, MIN_TOKEN_SECONDS, Options};
pub use server::{ADMIN, Server, administrator};
pub use storage::store_problem;
pub use tls::Certificate;
pub use wire::{Instance, Parts};

// What the doors above name of the crates below, so that whoever uses the library names no other.
pub use tokensmith_core::access::admission::{self, Admission};
pub use tokensmith_core::access::authenticators::{ClientCas, ClientCertificates, TokenFile};
pub use tokensmith_core::access::{
    AuthError, Authenticated, BearerToken, Identity, MASTERS, TokenAuthenticator,
};
pub use tokensmith_core::clock::{Clock, ManualClock, SystemClock};
pub use tokensmith_core::keys::issuer::IssuerError;
pub use tokensmith_core::keys::{
    Algorithm, Keys, KeysConfig, KeysError, PolicyError, PrivateKey, PrivatePem, PublicKey, ReserveError,
    RotationPolicy, SealKey, SealKeys, SealSource, SealSourceError,
};
pub use tokensmith_core::ledger::{Ledger, LedgerError};
pub use tokensmith_core::store::{Store, StoreError};
pub use tokensmith_core::tokens::profile::{AudienceError, ProfileError, ServerLimits};
pub use tokensmith_core::tokens::{LedgerMode, TokenProfiles};
pub use tokensmith_core::view::Snapshot;
pub use tokensmith_core::{Error, Supervisor};
pub use tokensmith_exchange::{
    ENDPOINTS as EXCHANGE_ENDPOINTS, Policies as ExchangePolicies, PolicyError as ExchangePolicyError,
};
pub use tokensmith_objects::Object;
pub use tokensmith_objects::schema::{self, Schema};
pub use tokensmith_objects::validate::Limits;
pub use tokensmith_registry::{AddressRange, RangesError, ServiceRanges};
pub use tokensmith_server::app::Check;
pub use tokensmith_server::audit::Audit;
pub use tokensmith_server::backup::{FileError, Files};
pub use tokensmith_server::{
    Access, App, AppConfig, Caller, Failure, Limit, Route, RouteError, json_body, json_reply,
};
pub use tokensmith_store::{MemoryLedger, MemoryStore, OpenError, SledLedger, SledStore, hush};

// Their types are in those doors, too.
pub use {axum, http, rustls, serde_json, time};
