//! What does not go together is said before anything is made.

use std::time::Duration;

use axum::routing::get;
use http::Method;
use tokensmith::{
    Access, Builder, RangesError, RotationPolicy, Route, RouteError, SealKey, Server, StartError,
};
use tokensmith_core::keys::PolicyError;
use tokensmith_core::keys::issuer::IssuerError;
use tokensmith_core::tokens::TokenProfiles;
use tokensmith_core::tokens::profile::ServerLimits;

/// Why a server does not start, of which nothing is left.
async fn refused(change: impl FnOnce(Builder) -> Builder) -> StartError {
    let temp = tempfile::tempdir().unwrap();
    let folder = temp.path().join("data");
    let refused = change(Server::on_disk(&folder, SealKey::generate())).start().await;
    assert!(!folder.exists(), "{:?}", refused.err());
    refused.err().unwrap()
}

#[tokio::test]
async fn options_that_contradict_each_other_start_nothing() {
    let open = refused(|server| server.public_discovery().with(|o| o.http.anonymous_auth = false)).await;
    assert!(matches!(open, StartError::AnonymousOidc));
    for (issuers, why) in [
        (vec![""], IssuerError::Empty),
        (vec!["https://a", "https://b", "https://a"], IssuerError::Duplicate("https://a".into())),
    ] {
        let issuers = issuers.into_iter().map(str::to_owned).collect();
        match refused(|server| server.with(|o| o.issuers = issuers)).await {
            StartError::Issuer(cause) => assert_eq!(cause, why),
            other => panic!("{other:?}"),
        }
    }
    let url = refused(|server| server.issuer("https://[bad")).await;
    assert!(matches!(url, StartError::Issuer(IssuerError::Url { .. })), "{url:?}");
    let two = "profiles: [{name: a, audiences: [a]}, {name: b, audiences: [b]}]";
    let profiles = TokenProfiles::parse(two.as_bytes(), &ServerLimits::default()).unwrap();
    let mixed = refused(|server| {
        server.with(|o| (o.profiles, o.api_audiences) = (profiles, vec!["a".into(), "b".into()]))
    });
    assert!(matches!(mixed.await, StartError::Audiences(_)));
}

#[tokio::test]
async fn services_have_ranges_and_a_server_an_address() {
    let ranges = |all: &[&str]| all.iter().map(|range| range.parse().unwrap()).collect::<Vec<_>>();
    for wrong in [&[][..], &["10.0.0.0/24", "10.1.0.0/24"], &["10.0.0.0/24", "fd00::/112", "10.1.0.0/24"]] {
        let addresses = ranges(wrong);
        match refused(|server| server.with(|o| o.services.addresses = addresses)).await {
            StartError::Services(RangesError::Addresses(said)) => assert_eq!(said, wrong),
            other => panic!("{other:?}"),
        }
    }
    #[expect(clippy::reversed_empty_ranges, reason = "that is what is refused")]
    for wrong in [0..=80, 30_001..=30_000] {
        let ports = wrong.clone();
        let refused = refused(|server| server.with(|o| o.services.node_ports = ports)).await;
        let why = RangesError::NodePorts(*wrong.start(), *wrong.end());
        assert!(matches!(&refused, StartError::Services(said) if *said == why), "{refused:?}");
    }
    for wrong in ["127.0.0.1:6443", "0.0.0.0:6443", "[fe80::1]:6443", "192.0.2.1:0"] {
        let at = wrong.parse().unwrap();
        let refused = refused(|server| server.with(|o| o.advertised = Some(at))).await;
        assert!(matches!(refused, StartError::Advertised(said) if said == at), "{refused:?}");
    }
}

#[tokio::test]
async fn lifetimes_have_the_bounds_of_the_flags() {
    for wrong in [i64::MIN, -600, 0, 3599, (1 << 32) + 1] {
        let max = refused(|server| server.with(|o| o.max_token_seconds = Some(wrong))).await;
        assert!(matches!(max, StartError::MaxTokenSeconds(said) if said == wrong), "{max:?}");
    }
    for wrong in [-1, 0, (1 << 32) + 1] {
        let min = refused(|server| server.with(|o| o.limits.min_token_expiration_seconds = wrong)).await;
        assert!(matches!(min, StartError::MinTokenSeconds(said) if said == wrong), "{min:?}");
    }
}

#[tokio::test]
async fn a_rotation_under_which_keys_sign_that_nobody_knows_is_refused() {
    const MINUTE: Duration = Duration::from_secs(60);
    let usual = RotationPolicy::default();
    for (policy, why) in [
        (RotationPolicy { lag: usual.max_age, ..usual }, PolicyError::Lag),
        (
            RotationPolicy { publish_before: usual.max_age, ..usual },
            PolicyError::PublishBefore { least: usual.max_age + 2 * usual.lag },
        ),
        (RotationPolicy { signs_for: usual.publish_before - MINUTE, ..usual }, PolicyError::SignsFor),
        (
            RotationPolicy { leeway: MINUTE / 2, ..usual },
            PolicyError::Span { field: "leeway", least: MINUTE },
        ),
        (
            RotationPolicy { max_age: Duration::from_millis(1500), ..usual },
            PolicyError::Span { field: "max_age", least: Duration::from_secs(1) },
        ),
        (
            RotationPolicy { signs_for: Duration::MAX, ..usual },
            PolicyError::Span { field: "signs_for", least: Duration::from_secs(1) },
        ),
    ] {
        match refused(|server| server.rotation(policy)).await {
            StartError::Rotation(cause) => assert_eq!(cause, why),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn keys_are_told_the_longest_life_of_tokens() {
    let server = Server::ephemeral().with(|o| o.max_token_seconds = Some(7200)).start().await.unwrap();
    let policy = server.call(Method::GET, "/admin/v1/keys/policy", None).await.unwrap();
    assert_eq!(policy["maxTokenLifetimeSeconds"], 7200);
}

#[tokio::test]
async fn routes_that_overlap_or_are_none_are_refused_and_no_panic() {
    let start = |paths: &[&'static str]| {
        let route = |path| Route::new(path, &["GET"], Access::Authorized, get(|| async { "" }));
        let routes = paths.iter().copied().map(route).collect();
        refused(|server| server.with(|o| o.routes = routes))
    };
    for (paths, earlier) in [
        (&["/hello", "/hello"][..], "/hello"),
        (&["/hello/{name}", "/hello/{other}"], "/hello/{name}"),
        (&["/version"], "/version"),
        (&["/admin/v1/keys/{kid}"], "/admin/v1/keys/{id}"),
        (&["/testing/v1/clock"], "/testing/v1/clock"),
    ] {
        match start(paths).await {
            StartError::Route(RouteError::Overlap { with, .. }) => assert_eq!(with, earlier),
            other => panic!("{paths:?}: {other:?}"),
        }
    }
    for malformed in ["", "hello", "/{", "/{a}{b}", "/{*all}/more", "/:old", "/*old"] {
        let refused = start(&[malformed]).await;
        assert!(matches!(refused, StartError::Route(RouteError::Path { .. })), "{malformed:?}: {refused:?}");
    }
}
