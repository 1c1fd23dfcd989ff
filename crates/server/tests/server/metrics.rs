//! `/metrics` as scrapers and `promtool check metrics` read it.

use std::collections::BTreeMap;

use serde_json::json;

use crate::world::{ADMIN, Answer, World};

async fn scrape(world: &World, accept: &str) -> Answer {
    world.send("GET", "/metrics", Some(ADMIN), &[("accept", accept)], Vec::new()).await
}

/// The rules of Prometheus' linter (`promlint`), and that every sample has its type.
#[tokio::test]
async fn the_classic_format_passes_promtools_check() {
    let world = World::new().await;
    world.mint(json!({})).await.ok();
    world.get("/api/v1/pods", None).await;
    let answer = scrape(&world, "*/*").await;
    assert_eq!(answer.header("content-type"), "text/plain; version=0.0.4; charset=utf-8");
    let text = String::from_utf8(answer.bytes).unwrap();
    let (mut helps, mut types) = (BTreeMap::new(), BTreeMap::new());
    let mut samples = 0;
    for line in text.lines() {
        if let Some((name, help)) = line.strip_prefix("# HELP ").and_then(|said| said.split_once(' ')) {
            assert!(!help.trim_matches('.').is_empty() && helps.insert(name, help).is_none(), "{line}");
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|said| said.split_once(' '))
        {
            assert!(helps.contains_key(name) && types.insert(name, kind).is_none(), "{line}");
            assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
            let parts = ["_sum", "_count", "_bucket", "_counter", "_gauge", "_histogram", "_milliseconds"];
            assert!(!parts.iter().any(|part| name.ends_with(part)), "{line}");
            assert!(
                name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_'),
                "{line}"
            );
        } else {
            assert!(!line.starts_with('#'), "{line}");
            let name = &line[..line.find(['{', ' ']).unwrap()];
            let family = ["_bucket", "_sum", "_count"]
                .iter()
                .filter_map(|part| name.strip_suffix(part))
                .find(|family| types.get(family) == Some(&"histogram"))
                .unwrap_or(name);
            assert!(types.contains_key(family), "{line}");
            samples += 1;
        }
    }
    assert!(samples > 30 && types.len() > 20, "{text}");
    assert!(
        types.contains_key("apiserver_request_total") && text.contains("\napiserver_request_total{verb=")
    );
}

#[tokio::test]
async fn open_metrics_is_for_who_asks_for_it() {
    let world = World::new().await;
    let open = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    for (accept, want) in [
        ("application/openmetrics-text", open),
        ("application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.1", open),
        ("text/plain", "text/plain; version=0.0.4; charset=utf-8"),
        ("application/json", "text/plain; version=0.0.4; charset=utf-8"),
    ] {
        let answer = scrape(&world, accept).await;
        assert_eq!((answer.status.as_u16(), answer.header("content-type")), (200, want), "{accept}");
        assert_eq!(answer.bytes.ends_with(b"# EOF\n"), want == open, "{accept}");
    }
}
