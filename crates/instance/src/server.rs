//! A server with its listener: started from a few options, gone when it is dropped.

use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use rustls::ClientConfig;
use serde_json::json;
use tokensmith_core::access::authenticators::TokenFile;
use tokensmith_core::access::{Identity, MASTERS, TokenAuthenticator};
use tokensmith_core::keys::{Algorithm, SealSource};
use tokensmith_objects::schema::Current;
use tokensmith_server::App;
use tokio::sync::watch;
use tokio::task::JoinSet;
use zeroize::Zeroizing;

use crate::builder::Builder;
use crate::call::TokenRequest;
use crate::clock::TestClock;
use crate::error::EndError;
use crate::storage::Storage;
use crate::tls::{self, TlsError};
use crate::wire::Instance;

/// The administrator, whose token is in [`Server::kubeconfig`].
pub const ADMIN: &str = "admin";

/// Knows the administrator, [`ADMIN`], by their token.
pub fn administrator(token: &str) -> Arc<dyn TokenAuthenticator> {
    let admin = Identity { name: ADMIN.into(), groups: vec![MASTERS.into()], ..Identity::default() };
    Arc::new(TokenFile::single(token, admin))
}

/// A server that runs. Dropped, it goes: at once its listener, its tasks and its connections, a moment later its store, on a
/// thread of its own. Who wants to know that all of it has gone waits for [`Server::stop`].
pub struct Server {
    pub(crate) instance: Instance,
    pub(crate) url: String,
    pub(crate) ca: String,
    pub(crate) admin_token: Zeroizing<String>,
    pub(crate) stop: watch::Sender<bool>,
    pub(crate) serving: JoinSet<()>,
}

impl Server {
    /// A server in memory: with a clock that stands until [`Server::clock`] moves it, and an ES256 key, which is made at
    /// once (an RSA key takes up to seconds).
    pub fn ephemeral() -> Builder {
        Builder::on(Storage::memory()).algorithm(Algorithm::ES256).standing()
    }

    /// A server whose objects, keys and ledger are in a folder, with the machine's clock. `seal` opens its private keys:
    /// without it the folder is of no use, and nobody else should have both. CA and administrator are new at each start.
    ///
    /// A bare [`SealKey`](crate::SealKey) is the caller's to keep, so `POST /admin/v1/keys/reseal` is refused. To replace it, hand over
    /// [`SealKeys`](crate::SealKeys), the new one first, and reseal with `"keepFile": true`; or hand over a
    /// [`SealSource`] that keeps what it is given, as an `Arc<dyn SealSource>`.
    ///
    /// The issuer of the first start stays, as do the API's audiences: where neither [`Builder::issuer`] nor
    /// [`Builder::address`] is said, it is the URL of that start, whose port the next one need not have. A start that would
    /// refuse tokens of before is refused, unless [`Options::dropped_issuers`](crate::Options::dropped_issuers) or `dropped_audiences` lets them
    /// go. Who verifies by discovery needs an issuer that can be reached: say one.
    pub fn on_disk(folder: impl Into<PathBuf>, seal: impl Into<Arc<dyn SealSource>>) -> Builder {
        Builder::on(Storage::disk(folder.into(), seal.into()))
    }

    /// The kinds that it serves: one that is added is served at once, one that is taken away is a 404.
    pub fn schema(&self) -> &Arc<Current> {
        &self.app().schema
    }

    /// Where it listens: `https://127.0.0.1:PORT`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// `iss` of its tokens: its URL, or on disk that of the first start, unless told otherwise.
    pub fn issuer(&self) -> &str {
        &self.app().tokens.config().issuer
    }

    /// The CA that its clients must trust, PEM. Its key was made in memory and is nowhere else, unless the certificate is
    /// from elsewhere ([`Builder::certificate`]).
    pub fn ca(&self) -> &str {
        &self.ca
    }

    /// A client's TLS that trusts this server alone.
    ///
    /// # Errors
    /// None for a CA of our own; the TLS library's all the same.
    pub fn client_tls(&self) -> Result<ClientConfig, TlsError> {
        tls::client(&self.ca)
    }

    /// A kubeconfig of the administrator, for kubectl and other clients. It holds a credential.
    pub fn kubeconfig(&self) -> Zeroizing<String> {
        let cluster =
            json!({"server": self.url, "certificate-authority-data": BASE64_STANDARD.encode(&self.ca)});
        let config = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "tokensmith", "cluster": cluster}],
            "contexts": [{"name": "tokensmith", "context": {"cluster": "tokensmith", "user": ADMIN}}],
            "current-context": "tokensmith",
            "users": [{"name": ADMIN, "user": {"token": &**self.admin_token}}],
        });
        // JSON is YAML.
        Zeroizing::new(format!("{config:#}\n"))
    }

    /// Asks for a token of an account, `NAMESPACE/NAME`. Both are made if they are not there.
    pub fn token(&self, account: &str) -> TokenRequest<'_> {
        TokenRequest::new(self, account)
    }

    /// The clock, of a server whose clock can be moved ([`Server::ephemeral`], unless told otherwise).
    ///
    /// # Panics
    /// The server goes by the machine's clock, which nobody moves.
    pub fn clock(&self) -> &TestClock {
        self.instance.clock.as_ref().expect("a server that goes by the machine's clock has none to move")
    }

    /// Stops: open requests end, all that is queued is written, and the store is closed: its folder is free when this returns.
    /// To drop a server is enough where nothing of it is to stay.
    ///
    /// # Errors
    /// The disk does not answer, or somebody else still has the store.
    pub async fn stop(self) -> Result<(), EndError> {
        let Server { instance, stop, mut serving, .. } = self;
        stop.send_replace(true);
        while serving.join_next().await.is_some() {}
        instance.end().await
    }

    pub(crate) fn admin_token(&self) -> &Zeroizing<String> {
        &self.admin_token
    }

    pub(crate) fn app(&self) -> &App {
        &self.instance.app
    }

    pub(crate) fn router(&self) -> Router {
        self.instance.router.clone()
    }
}
