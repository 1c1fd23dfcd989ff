//! Authorization server metadata (RFC 8414).

use axum::response::Response;
use http::header::{ACCESS_CONTROL_ALLOW_ORIGIN, CACHE_CONTROL};
use http::{HeaderValue, StatusCode};
use serde_json::{Value, json};
use tokensmith_core::keys::Algorithm;
use tokensmith_core::tokens::LedgerMode;
use url::Url;

use crate::endpoint::{Endpoint, INTROSPECT, REVOKE, TOKEN};
use crate::oauth;

/// The document of this issuer. `path` is what comes after the well-known one: the issuer's own (§3.1).
pub(crate) fn show(here: &Endpoint, path: &str) -> Response {
    let issuer = here.access.issuer();
    let own =
        Url::parse(issuer).map_or_else(|_| String::new(), |url| url.path().trim_matches('/').to_owned());
    // Without a path it is shown as well: an issuer's URL need not be this server's.
    if !path.trim_matches('/').is_empty() && path.trim_matches('/') != own {
        return oauth::json(StatusCode::NOT_FOUND, &json!({"error": "not_found"}));
    }
    let policy = here.policies.current();
    let (keys, url) = (here.keys.current(), &policy.url);
    let documents = keys.documents();
    let discovery: Value = documents
        .discovery
        .as_ref()
        .and_then(|document| serde_json::from_slice(&document.bytes).ok())
        .unwrap_or_default();
    // What signatures of assertions may be of: whatever a key can be here, and never `none` (§2).
    let signing: Vec<&str> = Algorithm::ALL.iter().map(|algorithm| algorithm.as_str()).collect();
    let mut shown = json!({
        "issuer": issuer,
        "token_endpoint": format!("{url}{TOKEN}"),
        "introspection_endpoint": format!("{url}{INTROSPECT}"),
        // Required, and never empty (§3.2): nothing comes from an authorization endpoint, which there is none of.
        "response_types_supported": ["none"],
        "grant_types_supported": [
            "urn:ietf:params:oauth:grant-type:token-exchange",
            "client_credentials",
            "urn:ietf:params:oauth:grant-type:jwt-bearer",
        ],
        "token_endpoint_auth_methods_supported": ["none", "private_key_jwt"],
        "token_endpoint_auth_signing_alg_values_supported": signing,
        "introspection_endpoint_auth_methods_supported": ["private_key_jwt", "Bearer"],
        "introspection_endpoint_auth_signing_alg_values_supported": signing,
    });
    if let Some(uri) = discovery.get("jwks_uri") {
        shown["jwks_uri"] = uri.clone();
    }
    if here.ledger.mode() != LedgerMode::Off {
        shown["revocation_endpoint"] = format!("{url}{REVOKE}").into();
        shown["revocation_endpoint_auth_methods_supported"] = json!(["private_key_jwt", "Bearer"]);
        shown["revocation_endpoint_auth_signing_alg_values_supported"] = json!(signing);
    }
    let mut response = oauth::json(StatusCode::OK, &shown);
    let headers = response.headers_mut();
    headers.remove(http::header::PRAGMA);
    let cache = format!("public, max-age={}", documents.max_age.as_secs());
    if let Ok(cache) = HeaderValue::from_str(&cache) {
        headers.insert(CACHE_CONTROL, cache);
    }
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    response
}
