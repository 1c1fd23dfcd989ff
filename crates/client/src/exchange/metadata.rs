//! Where an issuer has its token endpoint, by its metadata (RFC 8414).

use tokensmith_api::json;
use url::Url;

use super::{endpoint_url, is_this_machine};
use crate::target::parse_url;
use crate::{Error, Web};

const WELL_KNOWN: &str = "/.well-known/oauth-authorization-server";
const GRANT: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const LONGEST: usize = 256 << 10;

/// Asks an issuer.
pub(super) async fn token_endpoint(web: &Web, issuer: &str) -> Result<Url, Error> {
    let url = metadata_url(issuer)?;
    let page = web.get(&url, None, None, LONGEST).await?;
    if page.status.as_u16() != 200 {
        return Err(Error::failed(format!(
            "{url} answers {}: the issuer has no metadata of an authorization server (RFC 8414); give its token endpoint with --url",
            page.status.as_u16()
        )));
    }
    let no = |why: &str| Error::failed(format!("{url}: {why}"));
    let metadata = json::parse(&page.body).map_err(|_| no("it is no JSON"))?.value;
    // RFC 8414 §3.3: else another issuer's endpoint would get the token.
    if metadata["issuer"].as_str() != Some(issuer) {
        return Err(no("it is another issuer's metadata: its `issuer` is not the one that was named"));
    }
    if let Some(grants) = metadata["grant_types_supported"].as_array()
        && !grants.iter().any(|grant| grant.as_str() == Some(GRANT))
    {
        return Err(no("the issuer does not exchange tokens: grant_types_supported has no token-exchange"));
    }
    let endpoint = metadata["token_endpoint"].as_str().map(|text| endpoint_url(text, "its token_endpoint"));
    match endpoint {
        Some(endpoint) => endpoint.map_err(|e| no(&e.to_string())),
        None => Err(no("it names no token_endpoint")),
    }
}

/// RFC 8414 §3.1: between the host and the issuer's own path.
fn metadata_url(issuer: &str) -> Result<Url, Error> {
    let mut url = parse_url(issuer, "--issuer")?;
    if url.scheme() != "https" && !is_this_machine(&url) {
        return Err(Error::usage(
            "--issuer is not https: anyone on the way could name another token endpoint",
        ));
    }
    // RFC 8414 §2.
    if url.query().is_some() || url.fragment().is_some() {
        return Err(Error::usage("--issuer has a query or a fragment, which no issuer has"));
    }
    let path = url.path().trim_end_matches('/').to_owned();
    url.set_path(&format!("{WELL_KNOWN}{path}"));
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc_8414_section_3_1_the_well_known_path_goes_before_the_issuers_own() {
        let at = |issuer: &str| metadata_url(issuer).map(|url| url.to_string());
        assert_eq!(at("https://a").unwrap(), "https://a/.well-known/oauth-authorization-server");
        assert_eq!(at("https://a/").unwrap(), "https://a/.well-known/oauth-authorization-server");
        assert_eq!(at("https://a/b/c").unwrap(), "https://a/.well-known/oauth-authorization-server/b/c");
        for bad in ["http://a", "https://a?b", "https://a#b", "a", "ftp://a"] {
            assert!(at(bad).is_err(), "{bad}");
        }
    }
}
