//! RFC 8414, OAuth 2.0 Authorization Server Metadata.

use serde_json::json;
use tokensmith::{ExchangePolicies, Server};

use crate::world::{ISSUER, POLICY, World};

const WELL_KNOWN: &str = "/.well-known/oauth-authorization-server";

#[tokio::test]
async fn s2_and_3_2_the_document_says_what_there_is() {
    let world = World::new().await;
    let answer = world.get(WELL_KNOWN).await;
    assert_eq!(answer.header("content-type"), "application/json");
    let shown = answer.ok();
    for (name, want) in [
        ("issuer", json!(ISSUER)),
        ("token_endpoint", json!("https://tokens.example.com/oauth2/token")),
        ("introspection_endpoint", json!("https://tokens.example.com/oauth2/introspect")),
        ("revocation_endpoint", json!("https://tokens.example.com/oauth2/revoke")),
        ("jwks_uri", json!("https://tokens.example.com/openid/v1/jwks")),
        ("token_endpoint_auth_methods_supported", json!(["none", "private_key_jwt"])),
    ] {
        assert_eq!(shown[name], want, "{name}");
    }
    assert!(shown["grant_types_supported"].as_array().unwrap().contains(&json!("client_credentials")));
    // §2: with private_key_jwt the algorithms must be there, and none of them is `none`.
    let algorithms = shown["token_endpoint_auth_signing_alg_values_supported"].as_array().unwrap();
    assert!(algorithms.contains(&json!("RS256")) && !algorithms.contains(&json!("none")));
    // §3.2: what has nothing in it is left out, and response_types_supported is required.
    assert!(
        shown.as_object().unwrap().values().all(|value| value.as_array().is_none_or(|list| !list.is_empty()))
    );
    assert!(shown["response_types_supported"].is_array());
}

#[tokio::test]
async fn s3_1_an_issuers_path_comes_after_the_well_known_one() {
    let folder = tempfile::tempdir().unwrap();
    let policy = POLICY.replace("keysFile: jwks.json", "discovery: https://ci.example.com");
    let policies = ExchangePolicies::open(policy.as_bytes(), folder.path()).unwrap();
    let server = Server::ephemeral().issuer("https://example.com/tenants/a");
    let server = server.with(|options| options.exchange = Some(policies)).start().await.unwrap();
    let http = reqwest::Client::builder().tls_backend_preconfigured(server.client_tls().unwrap());
    let http = http.no_proxy().build().unwrap();
    let ask =
        async |path: &str| http.get(format!("{}{WELL_KNOWN}{path}", server.url())).send().await.unwrap();
    let shown: serde_json::Value = ask("/tenants/a").await.json().await.unwrap();
    assert_eq!(shown["issuer"], "https://example.com/tenants/a", "§3.3: as in the tokens");
    assert_eq!(shown["token_endpoint"], "https://example.com/tenants/a/oauth2/token");
    assert_eq!(ask("").await.status(), 200);
    for other in ["/tenants/b", "/tenants", "/tenants/a/b"] {
        assert_eq!(ask(other).await.status(), 404, "{other}");
    }
}
