//! AWS's security token service: the query API of version 2011-06-15, as far as federation goes.
//!
//! ```text
//! POST / ─► query ─┬─► web_identity ─► trust, policy ─► session (sealed)
//!                  └─► caller ─► sigv4 ─► session (opened)
//! ```

mod arn;
mod caller;
mod claims;
mod config;
mod error;
mod keys;
mod policy;
mod query;
mod session;
mod session_policy;
mod sigv4;
#[cfg(test)]
mod tests;
mod validate;
mod web_identity;
mod x5c;
mod xml;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response};
use tokensmith_core::random;
use uuid::Uuid;

use crate::cloud::{Cloud, Failure, Means, Service};
use crate::issuers::{Rules, Trusted};
pub(crate) use config::{Config, RawConfig};
use error::Refusal;
use query::{Parameters, short};
use session::Sealer;

/// Others have recorded that `exp`, `nbf` and `iat` may be missed by five minutes; AWS has published no number. `tokensmith doctor`
/// goes by the same.
const LEEWAY: Duration = Duration::from_secs(300);

/// The service.
pub(crate) struct Aws {
    account: Account,
    means: Means,
}

/// What actions work with.
struct Account {
    config: Config,
    trusted: Arc<Trusted>,
    sealer: Sealer,
}

impl Aws {
    pub(crate) fn new(config: Config, means: Means) -> Self {
        let issuers = config.providers.keys().map(|(_, issuer)| issuer.clone());
        let trusted = Trusted::new(issuers, Rules { leeway: LEEWAY, keys: Some(keys::used) }, &means);
        let sealer = Sealer::new(&means.secret);
        Aws { account: Account { config, trusted, sealer }, means }
    }

    async fn act(&self, request: &Request<Bytes>) -> Result<Response<Bytes>, Refusal> {
        let parameters = Parameters::read(request)?;
        let clock = &*self.means.clock;
        match parameters.action()? {
            web_identity::ACTION => web_identity::assume(&self.account, &parameters, clock).await,
            caller::ACTION => caller::identity(request, &self.account.sealer, clock),
            other => Err(Refusal::unknown_action(&short(other), Some(query::VERSION))),
        }
    }
}

#[async_trait]
impl Service for Aws {
    fn cloud(&self) -> Cloud {
        Cloud::Aws
    }

    fn owns(&self, path: &str) -> bool {
        path == "/"
    }

    async fn answer(&self, request: Request<Bytes>) -> Response<Bytes> {
        self.act(&request).await.unwrap_or_else(|refusal| refused(&refusal))
    }

    fn failed(&self, failure: Failure, _: Option<Uuid>) -> Response<Bytes> {
        refused(&Refusal::failed(failure))
    }
}

fn refused(refusal: &Refusal) -> Response<Bytes> {
    let id = random::uuid().to_string();
    tracing::info!(code = refusal.code, request = id, cause = %refusal, "AWS: a request is refused");
    xml::refusal(refusal, &id)
}
