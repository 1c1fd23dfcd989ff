//! Why a server does not start or end.

use std::io;
use std::net::SocketAddr;

use tokensmith_core::keys::issuer::IssuerError;
use tokensmith_core::keys::{KeysError, PolicyError, ReserveError};
use tokensmith_core::ledger::LedgerError;
use tokensmith_core::store::StoreError;
use tokensmith_core::tokens::ledger::LedgerOpenError;
use tokensmith_core::tokens::profile::AudienceError;
use tokensmith_registry::RangesError;
use tokensmith_server::RouteError;

use crate::certificates::CertificateError;
use crate::issuers::IssuersError;
use crate::tls::TlsError;

/// Why a server does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Where others reach the server.
    #[error("{0} is no address by which others reach the server")]
    Advertised(SocketAddr),
    /// The documents are open to callers whom nothing else lets in.
    #[error(
        "anonymous_oidc opens the documents to callers without credentials, and anonymous_auth refuses all of those: leave one of them out"
    )]
    AnonymousOidc,
    /// What tokens are for that name no audience.
    #[error("the API's audiences and the token profiles do not go together")]
    Audiences(#[from] AudienceError),
    /// The audit log's thread.
    #[error("cannot start the audit log")]
    Audit(#[source] io::Error),
    /// The built-in objects.
    #[error("cannot make the built-in objects")]
    BuiltIn(#[source] tokensmith_core::Error),
    /// The CA, or the certificate to serve.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// The policy of the token endpoint.
    #[error("the exchange policy cannot be used: {0}")]
    Exchange(#[from] tokensmith_exchange::PolicyError),
    /// The folder for the store.
    #[error("cannot make the folder")]
    Folder(#[source] io::Error),
    /// The issuers.
    #[error(transparent)]
    Issuer(#[from] IssuerError),
    /// Tokens of before would be refused.
    #[error(transparent)]
    Issuers(#[from] IssuersError),
    /// The signing keys.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// The record of issued tokens and revocations.
    #[error(transparent)]
    Ledger(#[from] LedgerOpenError),
    /// The same, as the store has it.
    #[error("cannot open the token ledger")]
    LedgerTree(#[source] LedgerError),
    /// The address.
    #[error("cannot listen")]
    Listen(#[source] io::Error),
    /// The longest that tokens may live.
    #[error("max_token_seconds must be between 3600 and 2^32, not {0}: leave it out for no bound")]
    MaxTokenSeconds(i64),
    /// The shortest that they may be asked to live.
    #[error("limits.min_token_expiration_seconds must be between 1 and 2^32, not {0}")]
    MinTokenSeconds(i64),
    /// There are no issuers.
    #[error("a server has at least one issuer")]
    NoIssuer,
    /// The objects.
    #[error("cannot read the objects")]
    Objects(#[source] StoreError),
    /// When keys change.
    #[error(transparent)]
    Rotation(#[from] PolicyError),
    /// An endpoint of another crate.
    #[error(transparent)]
    Route(#[from] RouteError),
    /// What services get.
    #[error(transparent)]
    Services(#[from] RangesError),
    /// The folder on disk.
    #[error(transparent)]
    Store(#[from] tokensmith_store::OpenError),
    /// The spare key.
    #[error("cannot make the spare signing key")]
    Tick(#[source] ReserveError),
    /// Opening the folder has panicked.
    #[error("the folder could not be opened")]
    Opening(#[source] tokio::task::JoinError),
    /// TLS.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// Why a server has not ended well. What was acknowledged is on disk all the same.
#[derive(Debug, thiserror::Error)]
pub enum EndError {
    /// Letting go of the store has panicked.
    #[error("the store was not closed well: the last issue records may be lost")]
    Broken,
    /// It was closed as far as this server goes, and somebody still has it.
    #[error("something still holds the server's store: its folder is not free until that lets go")]
    Held,
    /// The disk does not answer.
    #[error(
        "the disk has not answered for {seconds} s: ended without it. What was acknowledged is on disk; the last issue records may be lost"
    )]
    Hangs {
        /// How long it was waited for.
        seconds: u64,
    },
}
