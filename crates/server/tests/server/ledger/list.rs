//! Which tokens there are.

use serde_json::json;

use super::{TOKENS, to_pod};
use crate::world::{ADMIN, World, claims};

#[tokio::test]
async fn tokens_are_listed_by_what_is_known_of_them() {
    let world = World::new().await;
    world.pod("web").await;
    let bound = world.minted(to_pod("web")).await;
    let vault = world.minted(json!({"audiences": ["vault", "api"], "expirationSeconds": 7200})).await;
    let kid = world.keys.current().active_id().to_owned();
    let jti = |t: &str| claims(t)["jti"].as_str().unwrap().to_owned();
    let listed = world.tokens("pod=default/web").await;
    let pod_uid = &claims(&bound)["kubernetes.io"]["pod"]["uid"];
    let uid = &claims(&bound)["kubernetes.io"]["serviceaccount"]["uid"];
    assert_eq!(
        listed,
        [json!({
            "jti": jti(&bound), "account": "default/default", "uid": uid,
            "boundObject": {"kind": "Pod", "name": "web", "uid": pod_uid},
            "audiences": ["api", "https://kubernetes.default.svc"], "kid": kid,
            "issuedAt": "2026-01-01T10:00:07Z", "expiresAt": "2026-01-01T11:00:07Z", "requester": "admin",
        })]
    );
    for (query, want) in [
        ("audience=vault".to_owned(), vec![&vault]),
        ("audience=api&continue=&limit=0".into(), vec![&bound, &vault]),
        (format!("jti={}", jti(&vault)), vec![&vault]),
        (format!("key={kid}&account=default/default"), vec![&bound, &vault]),
        ("key=other".into(), vec![]),
        ("account=default%2Fother".into(), vec![]),
    ] {
        let found: Vec<_> =
            world.tokens(&query).await.iter().map(|t| t["jti"].as_str().unwrap().to_owned()).collect();
        assert_eq!(found, want.into_iter().map(|t| jti(t)).collect::<Vec<_>>(), "{query}");
    }
    let all = world.get(TOKENS, Some(ADMIN)).await.bytes;
    let text = String::from_utf8(all).unwrap();
    assert!(!text.contains(&bound) && !text.contains("eyJ"), "never the token");
    for query in [
        "account=",
        "audience=",
        "pod=",
        "key=",
        "jti=",
        "audience=a&audience=b",
        "limit=1&limit=1",
        "account=x",
        "pod=a/b/c",
        "limit=-1",
        "limit=x",
        "continue=x",
        "acount=a/b",
    ] {
        let refused = world.get(&format!("{TOKENS}?{query}"), Some(ADMIN)).await;
        assert_eq!(
            (refused.status.as_u16(), refused.json()["kind"].as_str()),
            (400, Some("Status")),
            "{query}"
        );
    }
}

#[tokio::test]
async fn long_audiences_cost_no_room() {
    let world = World::new().await;
    let large = world.minted(json!({"audiences": ["x".repeat(2 << 20), "api"]})).await;
    let jti = claims(&large)["jti"].clone();
    let listed = world.tokens("audience=api").await;
    assert_eq!((&listed[0]["jti"], &listed[0]["audiences"]), (&jti, &json!(["api"])));
    assert_eq!(listed[0]["audiencesCut"], true);
    assert_eq!(world.revoke(json!({"account": "default/default"})).await.ok()["covered"]["tokens"], 1);
}

#[tokio::test]
async fn a_long_list_comes_in_pages() {
    let world = World::new().await;
    let mut minted = Vec::new();
    for n in 0..7 {
        let spec = json!({"expirationSeconds": 600 + n / 3});
        minted.push(claims(&world.minted(spec).await)["jti"].as_str().unwrap().to_owned());
    }
    let (mut seen, mut query, mut pages) = (Vec::new(), "limit=3".to_owned(), 0);
    loop {
        let page = world.get(&format!("{TOKENS}?{query}"), Some(ADMIN)).await.ok();
        pages += 1;
        seen.extend(page["tokens"].as_array().unwrap().iter().map(|t| t["jti"].as_str().unwrap().to_owned()));
        match page["continue"].as_str() {
            Some(more) => query = format!("limit=3&continue={more}"),
            None => break,
        }
    }
    seen.sort();
    minted.sort();
    assert_eq!((pages, seen), (3, minted));
}
