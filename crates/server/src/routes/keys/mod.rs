//! `/admin/v1/keys…`: the key ring for those who look after it. RBAC guards the paths as it does any other
//! (`nonResourceURLs`); reading shows public facts only.

mod commands;
mod export;
mod import;
mod poke;
mod view;

use std::sync::Arc;

use tokensmith_core::Clock;
use tokensmith_core::keys::Keys;
use tokensmith_core::supervise::Errands;
use tokensmith_core::tokens::{TokenIssuer, TokenLedger};

use crate::needs::{Limit, needs};

needs! {
    /// What the ring is looked after with.
    pub(crate) struct Ring {
        clock: Arc<dyn Clock>,
        errands: Arc<Errands>,
        keys: Arc<Keys>,
        ledger: Arc<TokenLedger>,
        limit: Limit,
        tokens: Arc<TokenIssuer>,
    }
}

pub(super) use commands::{activate, check_reason, prepare, reseal, revoke, rotate};
pub(super) use export::{export, private};
pub(super) use import::import;
pub(super) use poke::poke;
pub(super) use view::{history, list, policy, show};
