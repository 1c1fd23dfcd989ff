//! Which token endpoint, and the way there.

use std::path::Path;
use std::sync::Arc;

use tokensmith_agent::exchange::{Exchanger, PATIENCE};
use tokensmith_client::Web;
use tokensmith_client::exchange::{TokenEndpoint, endpoint_url};
use tokensmith_core::Clock;

use crate::client::flags::ClientFlags;
use crate::failure::Failure;

/// tokensmith's own, below a server's URL.
const PATH: &str = "/oauth2/token";

/// The endpoint that is named, the one that an issuer names, or that of the kubeconfig's server.
///
/// # Errors
/// There is none, or no safe way there.
pub async fn of(
    client: &ClientFlags,
    url: Option<&str>,
    issuer: Option<&str>,
    authority: Option<&Path>,
) -> Result<TokenEndpoint, Failure> {
    if let Some(url) = url {
        let url = endpoint_url(url, "--url")?;
        return Ok(TokenEndpoint::new(client.endpoint("--endpoint-ca-file", authority)?, url));
    }
    if let Some(issuer) = issuer {
        let web = client.endpoint("--endpoint-ca-file", authority)?;
        return Ok(TokenEndpoint::of_issuer(web, issuer).await?);
    }
    let target = client.target()?;
    let mut url = endpoint_url(target.server.as_str(), "the server")?;
    url.set_path(&format!("{}{PATH}", target.server.path().trim_end_matches('/')));
    url.set_query(None);
    Ok(TokenEndpoint::new(Web::to(&target)?, url))
}

/// What exchanges tokens for those that stay: `--exchange` and `--exchange-ca-file`.
///
/// # Errors
/// The URL is none that a token may be sent to, or a certificate cannot be used.
pub fn exchanger(
    client: &ClientFlags,
    url: &str,
    authority: Option<&Path>,
    clock: &Arc<dyn Clock>,
) -> Result<Exchanger, Failure> {
    let url = endpoint_url(url, "--exchange")?;
    let web = client.endpoint("--exchange-ca-file", authority)?.within(PATIENCE);
    Ok(Exchanger::new(Arc::new(TokenEndpoint::new(web, url)), clock.clone()))
}
