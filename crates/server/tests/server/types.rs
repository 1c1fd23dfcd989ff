//! What a token says it is (`typ`): whatever else it says, only what is a JWT and nothing more counts as an account's
//! (RFC 8725 §3.11, RFC 9068 §4).

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::json;
use tokensmith_core::keys::signature;

use crate::world::{World, claims, token};

/// The same payload, signed by the ring under a header with this `typ`.
async fn typed(world: &World, token: &str, typ: Option<&str>) -> String {
    let exp = claims(token)["exp"].as_i64().unwrap();
    let signer = world.keys.reserve(None, exp).await.unwrap();
    let mut header = json!({"alg": signer.algorithm().to_string(), "kid": signer.key_id()});
    if let Some(typ) = typ {
        header["typ"] = typ.into();
    }
    let payload = token.split('.').nth(1).unwrap();
    let signed = format!("{}.{payload}", BASE64_URL_SAFE_NO_PAD.encode(header.to_string()));
    let signature = signature(&*signer, signed.as_bytes()).await.unwrap();
    format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature))
}

#[tokio::test]
async fn rfc8725_3_11_a_token_of_another_type_is_no_accounts() {
    let world = World::new().await;
    let minted = token(&world.mint(json!({})).await.ok());
    for typ in [None, Some("JWT"), Some("jwt"), Some("application/JWT")] {
        let token = typed(&world, &minted, typ).await;
        assert_eq!(world.review(&token).await["authenticated"], true, "{typ:?}");
        let bearer = world.get("/apis/authentication.k8s.io/", Some(&token)).await;
        assert_eq!(bearer.status, 200, "{typ:?}");
    }
    for typ in ["at+jwt", "AT+JWT", "application/at+jwt", "secevent+jwt", "", "JWT ", "JWT;a=b", "text/jwt"] {
        let token = typed(&world, &minted, Some(typ)).await;
        let status = world.review(&token).await;
        let text =
            "[invalid bearer token, service account tokens have no type or JWT, and this token has another]";
        assert_eq!((status.get("authenticated"), &status["error"]), (None, &json!(text)), "{typ}");
        assert_eq!(world.get("/version", Some(&token)).await.status, 401, "{typ}");
    }
}
