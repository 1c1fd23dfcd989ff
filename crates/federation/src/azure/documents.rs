//! Documents, as MSAL wants them: a tenant's discovery document and that of instances
//! (<https://learn.microsoft.com/en-us/entra/identity-platform/v2-protocols-oidc>).

use serde_json::{Value, json};
use uuid::Uuid;

/// A tenant's discovery document. `url` is that of this listener.
pub(super) fn tenant(url: &str, id: Uuid) -> Value {
    let of = |path: &str| format!("{url}/{id}/{path}");
    json!({
        "token_endpoint": of("oauth2/v2.0/token"),
        "token_endpoint_auth_methods_supported": ["private_key_jwt"],
        "jwks_uri": of("discovery/v2.0/keys"),
        "response_modes_supported": ["query", "fragment", "form_post"],
        "subject_types_supported": ["pairwise"],
        "id_token_signing_alg_values_supported": ["EdDSA"],
        "response_types_supported": ["code", "id_token", "code id_token", "id_token token"],
        "scopes_supported": ["openid", "profile", "email", "offline_access"],
        "issuer": issuer(url, id),
        "request_uri_parameter_supported": false,
        "authorization_endpoint": of("oauth2/v2.0/authorize"),
        "device_authorization_endpoint": of("oauth2/v2.0/devicecode"),
        "http_logout_supported": true,
        "frontchannel_logout_supported": true,
        "end_session_endpoint": of("oauth2/v2.0/logout"),
        "claims_supported": ["sub", "iss", "aud", "exp", "iat", "azp", "oid", "tid", "ver"],
        "tenant_region_scope": "WW",
    })
}

/// The issuer of a tenant's tokens.
pub(super) fn issuer(url: &str, id: Uuid) -> String {
    format!("{url}/{id}/v2.0")
}

/// The document of instances, for an authority of this listener; `None` for another one's.
pub(super) fn instance(url: &str, authorization_endpoint: &str, version: &str) -> Option<Value> {
    let path = authorization_endpoint.strip_prefix(url)?.strip_prefix('/')?;
    let (tenant, rest) = path.split_once('/')?;
    if tenant.is_empty() || !matches!(rest, "oauth2/v2.0/authorize" | "oauth2/authorize") {
        return None;
    }
    let host = url.split_once("://").map_or(url, |(_, host)| host);
    Some(json!({
        "tenant_discovery_endpoint": format!("{url}/{tenant}/v2.0/.well-known/openid-configuration"),
        "api-version": version,
        "metadata": [{ "preferred_network": host, "preferred_cache": host, "aliases": [host] }],
    }))
}
