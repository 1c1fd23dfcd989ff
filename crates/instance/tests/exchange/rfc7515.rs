//! What the header of a token says.

use serde_json::json;

use crate::world::World;

/// RFC 7515 §4.1.9; JWT-SVID §2.3 lets a SPIFFE issuer say so. This server's own never do.
#[tokio::test]
async fn a_token_of_another_issuer_may_be_of_the_type_jose() {
    let world = World::new().await;
    for typ in ["JOSE", "jose", "application/JOSE"] {
        let subject = world.other_with(json!({"typ": typ}), json!({})).await;
        world.exchange(&subject, &[("audience", "registry")]).await.ok();
    }
    let subject = world.other_with(json!({"typ": "JOSE+JSON"}), json!({})).await;
    assert_eq!(world.exchange(&subject, &[("audience", "registry")]).await.error(), (400, "invalid_request"));
}
