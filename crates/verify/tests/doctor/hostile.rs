//! An issuer that means harm costs a bounded amount, and gets a clear line.

use std::time::Duration;

use serde_json::json;
use tokensmith_core::clock::{Clock, SystemClock};

use super::failing;
use super::site::Site;

/// The one rule of the issuer's that says what was met, and for how long it took.
async fn said(site: Site, rule: &str) -> (String, Duration) {
    let clock = SystemClock::new();
    let all = site.examined().await;
    let took = clock.monotonic();
    let issuer = all.iter().find(|diagnosis| diagnosis.name == "issuer").unwrap();
    let rules: Vec<_> = issuer.failing().collect();
    assert!(rules.iter().all(|finding| finding.rule == rule), "{rules:?}");
    assert!(!rules.is_empty(), "nothing fails; {:?}", failing(&all));
    (rules[0].detail.clone(), took)
}

#[tokio::test]
async fn a_body_without_end_is_read_up_to_a_limit() {
    let mut site = Site::whole();
    site.discovery.endless = true;
    let (detail, took) = said(site, "discovery-document").await;
    assert_eq!(detail, "it is far too long, and was not read to its end");
    assert!(took < Duration::from_secs(20));

    let mut site = Site::whole();
    site.key_set.endless = true;
    let (detail, _) = said(site, "key-count").await;
    assert_eq!(detail, "it is longer than 1048576 bytes, and was not read to its end");
}

#[tokio::test]
async fn a_key_set_of_many_small_keys_is_counted_and_no_more() {
    let mut site = Site::whole();
    site.keys = json!({ "keys": vec![json!({}); 300_000] });
    let (detail, took) = said(site, "key-count").await;
    assert_eq!(detail, "there are 300000");
    assert!(took < Duration::from_secs(20));
}

#[tokio::test]
async fn slow_bytes_are_waited_for_once() {
    let mut site = Site::whole();
    site.discovery.slow = true;
    site.patience = Duration::from_secs(1);
    let clock = SystemClock::new();
    let all = site.examined().await;
    assert!(clock.monotonic() < Duration::from_secs(8));
    let issuer = all.iter().find(|diagnosis| diagnosis.name == "issuer").unwrap();
    let failing: Vec<_> = issuer.failing().map(|f| (f.rule.as_str(), f.detail.as_str())).collect();
    assert_eq!(
        failing,
        [
            (
                "reachable",
                "the discovery document: https://tokens.example.com/.well-known/openid-configuration has not answered in full within 1s"
            ),
            ("answers-within", "it has not answered at all in that time")
        ]
    );
}

#[tokio::test]
async fn nobody_is_led_inside() {
    for (to, where_) in [
        ("http://127.0.0.1:1/x", "127.0.0.1, which is loopback"),
        ("http://169.254.169.254/latest/meta-data/", "169.254.169.254, which is a cloud's metadata"),
        ("http://[::ffff:10.0.0.1]/", "::ffff:10.0.0.1, which is private"),
        ("http://0x7f000001/", "127.0.0.1, which is loopback"),
        ("https://inside.example.com/", "10.0.0.7, which is private"),
    ] {
        let mut site = Site::whole();
        site.discovery.status = 302;
        site.discovery.set("location", to);
        let (detail, _) = said(site, "reachable").await;
        assert!(detail.contains(&format!("leads to {where_} to us")), "{detail}");
    }
    let mut site = Site::whole();
    site.discovery.status = 302;
    site.discovery.set("location", "file:///etc/passwd");
    let (detail, _) = said(site, "reachable").await;
    assert_eq!(detail, "the discovery document: \"file:///etc/passwd\" is no http or https URL");
}

#[tokio::test]
async fn circles_are_left() {
    let mut site = Site::whole();
    site.discovery.status = 307;
    site.discovery.set("location", "/.well-known/openid-configuration");
    let (detail, _) = said(site, "reachable").await;
    assert!(detail.ends_with("redirects more than 10 times"), "{detail}");
}

#[tokio::test]
async fn a_jwks_uri_that_is_none_is_told() {
    for (uri, words) in [
        ("file:///etc/passwd", "is no http or https URL"),
        ("not a url", "is no http or https URL"),
        ("http://127.0.0.1:6443/openid/v1/jwks", "which is loopback"),
    ] {
        let mut site = Site::whole();
        site.document["jwks_uri"] = uri.into();
        let all = site.examined().await;
        let issuer = all.iter().find(|diagnosis| diagnosis.name == "issuer").unwrap();
        let failing: Vec<_> = issuer.failing().collect();
        assert_eq!(
            failing.iter().map(|f| f.rule.as_str()).collect::<Vec<_>>(),
            ["reachable", "keys-https"],
            "{uri}"
        );
        assert!(failing[0].detail.contains(words), "{}", failing[0].detail);
    }
}

#[tokio::test]
async fn what_is_no_tls_is_told() {
    let mut site = Site::whole();
    site.issuer = "https://plain.example.com".into();
    site.claims["iss"] = site.issuer.clone().into();
    let (detail, _) = said(site, "reachable").await;
    assert!(
        detail.starts_with("the discovery document: https://plain.example.com/.well-known/openid-configuration cannot be reached: "),
        "{detail}"
    );
    assert!(!detail.contains('\n'), "{detail}");
}
