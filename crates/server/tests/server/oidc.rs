//! The documents for relying parties.

use crate::world::{ADMIN, World};

const DISCOVERY: &str = "/.well-known/openid-configuration";
const JWKS: &str = "/openid/v1/jwks";

#[tokio::test]
async fn documents_are_cached_and_checked_again() {
    let world = World::new().await;
    for (path, media) in [(DISCOVERY, "application/json"), (JWKS, "application/jwk-set+json")] {
        let first = world.get(path, Some(ADMIN)).await;
        assert_eq!((first.status.as_u16(), first.header("content-type")), (200, media));
        assert_eq!(first.header("cache-control"), "public, max-age=3600");
        assert_eq!(first.header("access-control-allow-origin"), "*");
        let etag = first.header("etag").to_owned();
        let world_send = |path: &'static str, tag: String| {
            let world = &world;
            async move {
                world.send("GET", path, Some(ADMIN), &[("if-none-match", tag.as_str())], Vec::new()).await
            }
        };
        let same = world_send(path, etag.clone()).await;
        assert_eq!((same.status.as_u16(), same.bytes.len(), same.header("etag")), (304, 0, etag.as_str()));
        assert_eq!(world_send(path, format!("\"x\", W/{etag}")).await.status, 304);
        assert_eq!(world_send(path, "\"x\"".into()).await.status, 200);
        let head = world.send("HEAD", path, Some(ADMIN), &[], Vec::new()).await;
        assert_eq!((head.status.as_u16(), head.bytes.len(), head.header("etag")), (200, 0, etag.as_str()));
        assert_eq!(world.get(&format!("{path}/"), Some(ADMIN)).await.bytes, first.bytes);
        // Whoever looks at a first start knows that its next key may be on its way.
        let modified = if path == JWKS { "Thu, 01 Jan 2026 10:00:07 GMT" } else { "" };
        assert_eq!(first.header("last-modified"), modified);
    }
}

#[tokio::test]
async fn representations() {
    let world = World::new().await;
    let world = &world;
    let ask = |accept: &'static str| async move {
        world.send("GET", JWKS, Some(ADMIN), &[("accept", accept)], Vec::new()).await
    };
    for accept in ["*/*", "application/json", "application/jwk-set+json", "text/html, */*;q=0.1"] {
        assert_eq!(ask(accept).await.status, 200, "{accept}");
    }
    assert_eq!(ask("text/html").await.status, 406);
}

#[tokio::test]
async fn they_can_be_opened_to_everyone_and_nothing_else_with_them() {
    let world = World::with(|config| config.anonymous_oidc = true).await;
    for path in [DISCOVERY, JWKS] {
        assert_eq!(world.get(path, None).await.status, 200);
        assert_eq!(world.send("POST", path, None, &[], Vec::new()).await.status, 403);
    }
    assert_eq!(world.get("/metrics", None).await.status, 403);
}

/// The authorizers compare paths as they are, and are asked before anything is routed: a stranger learns no more of a path
/// that is none of the documents' than of any other, whatever a router would make of it. As kube-apiserver, where
/// `nonResourceURLs` are exact.
#[tokio::test]
async fn what_is_almost_the_path_of_an_open_document_is_closed() {
    let world = World::with(|config| config.anonymous_oidc = true).await;
    for path in [DISCOVERY, JWKS] {
        assert_eq!(world.get(&format!("{path}/"), None).await.status, 200);
        for other in
            [format!("{path}//"), format!("/{path}"), format!("{path}/x"), path.replace("/op", "//op")]
        {
            let answer = world.get(&other, None).await;
            let text = format!(r#"forbidden: User "system:anonymous" cannot get path "{other}""#);
            assert_eq!(
                (answer.status.as_u16(), answer.json()["message"].as_str()),
                (403, Some(text.as_str())),
                "{other}"
            );
            // Whoever has the right finds it whatever the slashes at its end.
            let found = if other.ends_with("//") { 200 } else { 404 };
            assert_eq!(world.get(&other, Some(ADMIN)).await.status, found, "{other}");
        }
    }
}
