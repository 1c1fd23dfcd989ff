//! OpenAPI documents as clients ask for them (kube-openapi's `handler3`).

use crate::world::{ADMIN, Answer, World};

async fn get(world: &World, path: &str, headers: &[(&str, &str)]) -> Answer {
    world.send("GET", path, Some(ADMIN), headers, Vec::new()).await
}

/// The document's address with its hash, as the list has it.
async fn address(world: &World, document: &str) -> String {
    let index = get(world, "/openapi/v3", &[]).await;
    assert_eq!((index.status.as_u16(), index.header("content-type")), (200, "text/plain; charset=utf-8"));
    let index: serde_json::Value = serde_json::from_slice(&index.bytes).unwrap();
    index["paths"][document]["serverRelativeURL"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_document_asked_for_by_its_hash_may_be_kept_for_ever() {
    let world = World::new().await;
    let address = address(&world, "apis/apps/v1").await;
    let kept = get(&world, &address, &[]).await;
    assert_eq!((kept.status.as_u16(), kept.header("cache-control")), (200, "public, immutable"));
    assert!(kept.header("expires").ends_with(" UTC") && kept.header("vary") == "Accept");
    assert_eq!(kept.json()["openapi"], "3.0.0");
    let tag = kept.header("etag").to_owned();
    assert!(address.ends_with(tag.trim_matches('"')));
    let path = "/openapi/v3/apis/apps/v1";
    let plain = get(&world, path, &[]).await;
    assert_eq!((plain.status.as_u16(), plain.header("cache-control")), (200, "no-cache, private"));
    assert_eq!(get(&world, path, &[("if-none-match", &tag)]).await.status, 304);
    let moved = get(&world, &format!("{path}?hash=OLD"), &[]).await;
    assert_eq!((moved.status.as_u16(), moved.header("location")), (301, address.as_str()));
    // As kube-apiserver 1.36 has it: the document's headers, and nothing of it.
    let told = (moved.header("content-type"), moved.header("etag"), moved.header("vary"), moved.bytes.len());
    assert_eq!(told, ("application/json", tag.as_str(), "Accept", 0));
}

#[tokio::test]
async fn documents_are_json_or_protobuf_and_else_nothing() {
    let world = World::new().await;
    let v2 = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";
    let v3 = "application/com.github.proto-openapi.spec.v3.v1.0+protobuf";
    for (path, accept, want) in [
        ("/openapi/v2", "", "application/json"),
        ("/openapi/v2", "application/com.github.proto-openapi.spec.v2@v1.0+protobuf", v2),
        ("/openapi/v3/api/v1", "*/*", "application/json"),
        ("/openapi/v3/api/v1", v3, v3),
        ("/openapi/v3/version", "application/com.github.proto-openapi.spec.v3@v1.0+protobuf, */*;q=0.1", v3),
    ] {
        let answer = get(&world, path, &[("accept", accept)]).await;
        assert_eq!((answer.status.as_u16(), answer.header("content-type")), (200, want), "{path} {accept}");
        assert_eq!(answer.bytes.starts_with(b"{"), want == "application/json");
    }
    let nothing = get(&world, "/openapi/v3/apis/nothing/v1", &[]).await;
    assert_eq!((nothing.status.as_u16(), nothing.bytes.len()), (404, 0));
    let other = get(&world, "/openapi/v2", &[("accept", "text/html")]).await;
    assert_eq!((other.status.as_u16(), other.bytes.len(), other.header("vary")), (406, 0, "Accept"));
}
