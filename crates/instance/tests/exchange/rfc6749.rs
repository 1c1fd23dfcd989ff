//! RFC 6749, The OAuth 2.0 Authorization Framework, as far as the token endpoint goes; and bodies of those who mean no good.

use http::Method;

use crate::world::{JWT, TOKEN_EXCHANGE, World, answer, escaped};

const TOKEN: &str = "/oauth2/token";
const FORM: &str = "application/x-www-form-urlencoded";

#[tokio::test]
async fn s3_2_the_endpoint_takes_post_alone() {
    let world = World::new().await;
    for path in [TOKEN, "/oauth2/introspect", "/oauth2/revoke"] {
        for method in [Method::GET, Method::PUT, Method::DELETE, Method::PATCH, Method::OPTIONS] {
            let asked = world.http.request(method, format!("{}{path}?grant_type=x", world.server.url()));
            let answer = answer(asked.send().await.unwrap()).await;
            assert_eq!(answer.error(), (405, "invalid_request"), "{}", answer.text);
            assert_eq!((answer.header("allow"), answer.header("cache-control")), ("POST", "no-store"));
        }
    }
}

/// What is refused before the endpoint itself sees it is told as the endpoint tells it.
#[tokio::test]
async fn s5_2_whoever_refuses_a_request_the_words_are_the_rfcs() {
    let world = World::new().await;
    let form: &[(&str, &str)] = &[("token", "x")];
    let as_jane: &[(&str, &str)] = &[("impersonate-user", "jane")];
    let twice: &[(&str, &str)] = &[("impersonate-user", "jane"), ("impersonate-user", "bob")];
    let (bearer, forbidden) = ("Bearer wrong", format!("Bearer {}", world.account("pay/api").await));
    let wrong: &[(&str, &str)] = &[("authorization", bearer)];
    let forbidden: &[(&str, &str)] = &[("authorization", &forbidden)];
    for (path, headers, error) in [
        ("/oauth2/token?timeout=abc", &[][..], (400, "invalid_request")),
        ("/oauth2/token?timeout=\"\\\u{e4}", &[], (400, "invalid_request")),
        ("/oauth2/introspect?timeout=1", &[], (400, "invalid_request")),
        ("/oauth2/revoke?timeout=abc", &[], (400, "invalid_request")),
        (TOKEN, as_jane, (400, "invalid_request")),
        (TOKEN, twice, (400, "invalid_request")),
        ("/oauth2/introspect", as_jane, (400, "invalid_request")),
        ("/oauth2/introspect", wrong, (401, "invalid_client")),
        ("/oauth2/revoke", wrong, (401, "invalid_client")),
        ("/oauth2/introspect", forbidden, (403, "unauthorized_client")),
        ("/oauth2/revoke", forbidden, (403, "unauthorized_client")),
    ] {
        let answer = world.send(path, form, headers).await;
        assert_eq!(answer.error(), error, "{path} {headers:?} {}", answer.text);
        assert_eq!(answer.header("content-type"), "application/json");
        assert_eq!((answer.header("cache-control"), answer.header("pragma")), ("no-store", "no-cache"));
        let described = answer.body["error_description"].as_str().unwrap();
        let fits = |b: u8| matches!(b, 0x20 | 0x21 | 0x23..=0x5B | 0x5D..=0x7E);
        assert!(!described.is_empty() && described.bytes().all(fits), "{described}");
    }
    let (large, media) = (vec![b'x'; 1 << 20], "text/plain");
    for path in [TOKEN, "/oauth2/introspect", "/oauth2/revoke"] {
        assert_eq!(world.raw(path, FORM, large.clone(), &[]).await.error(), (413, "invalid_request"));
        assert_eq!(world.raw(path, media, b"token=x".to_vec(), &[]).await.error(), (400, "invalid_request"));
    }
}

#[tokio::test]
async fn s3_2_unknown_parameters_are_ignored_and_repeated_ones_refused() {
    let world = World::new().await;
    let subject = world.account("pay/api").await;
    world.exchange(&subject, &[("audience", "vault"), ("foo", "bar"), ("client_id", "")]).await.ok();
    for twice in ["scope", "subject_token", "grant_type", "foo"] {
        let answer = world.exchange(&subject, &[(twice, "read"), (twice, "read")]).await;
        assert_eq!(answer.error(), (400, "invalid_request"), "{twice}");
    }
}

#[tokio::test]
async fn s3_1_a_parameter_without_a_value_is_left_out() {
    let world = World::new().await;
    let subject = world.account("pay/api").await;
    let answer = world.exchange(&subject, &[("audience", ""), ("scope", ""), ("actor_token", "")]).await.ok();
    assert_eq!(answer["scope"], "read write");
    assert_eq!(world.exchange("", &[]).await.error(), (400, "invalid_request"));
}

#[tokio::test]
async fn s3_3_a_scope_is_a_list_of_scopes() {
    let world = World::new().await;
    let subject = world.account("pay/api").await;
    for scope in ["read  write", " read", "re\"ad", "read\\", "é", "admin", "read admin"] {
        let answer = world.exchange(&subject, &[("scope", scope)]).await;
        assert_eq!(answer.error(), (400, "invalid_scope"), "{scope:?}");
    }
}

#[tokio::test]
async fn s5_2_codes_and_statuses() {
    let world = World::new().await;
    assert_eq!(world.post(TOKEN, &[]).await.error(), (400, "invalid_request"));
    for grant in ["password", "authorization_code", "refresh_token", "token-exchange"] {
        assert_eq!(
            world.post(TOKEN, &[("grant_type", grant)]).await.error(),
            (400, "unsupported_grant_type")
        );
    }
    let credentials = world.post(TOKEN, &[("grant_type", "client_credentials")]).await;
    assert_eq!(credentials.error(), (401, "invalid_client"));
    assert_eq!((credentials.header("cache-control"), credentials.header("pragma")), ("no-store", "no-cache"));
    let secret = [("grant_type", "client_credentials"), ("client_id", "a"), ("client_secret", "b")];
    assert_eq!(world.post(TOKEN, &secret).await.error(), (401, "invalid_client"));
}

/// No client has a credential for a header, and none is passed over: whatever it is, readable or not, the answer is the RFC's.
#[tokio::test]
async fn s5_2_a_credential_in_a_header_is_refused_with_its_scheme() {
    let world = World::new().await;
    let subject = world.account("pay/api").await;
    let form = [("grant_type", TOKEN_EXCHANGE), ("subject_token", &subject), ("subject_token_type", JWT)];
    for (header, scheme) in [
        ("Basic YTpi", "Basic realm=\"tokensmith\""),
        ("Bearer not-a-token", "Bearer"),
        ("Bearer", "Bearer"),
        ("Digest x", "Digest"),
        ("\"", "Bearer"),
    ] {
        let answer = world.send(TOKEN, &form, &[("authorization", header)]).await;
        assert_eq!(
            (answer.error(), answer.header("www-authenticate")),
            ((401, "invalid_client"), scheme),
            "{header}"
        );
    }
    let as_somebody = world.send(TOKEN, &form, &[("impersonate-user", "jane")]).await;
    assert_eq!(as_somebody.status, 400, "{}", as_somebody.text);
}

#[tokio::test]
async fn appendix_b_bodies_are_forms_of_a_bounded_size() {
    let world = World::new().await;
    let subject = world.account("pay/api").await;
    let good = format!(
        "grant_type={}&subject_token={subject}&subject_token_type={}&audience=vault",
        escaped(TOKEN_EXCHANGE),
        escaped(JWT)
    );
    assert_eq!(world.raw(TOKEN, FORM, good.clone().into_bytes(), &[]).await.status, 200);
    for media in [
        "application/json",
        "multipart/form-data; boundary=x",
        "text/plain",
        "application/x-www-form-urlencoded; charset=latin1",
    ] {
        assert_eq!(
            world.raw(TOKEN, media, good.clone().into_bytes(), &[]).await.error(),
            (400, "invalid_request"),
            "{media}"
        );
    }
    for (body, status) in [
        (format!("{good}&x=%zz").into_bytes(), 400),
        ([good.as_bytes(), b"&x=\xff"].concat(), 400),
        (format!("{good}&x=%00").into_bytes(), 200),
        (vec![b'&'; 100_000], 400),
        (vec![b'='; 100_000], 400),
        ("a=b&".repeat(50_000).into_bytes(), 400),
        (vec![b'x'; 1 << 20], 413),
        (format!("{good}&audience={}", "x".repeat(200_000)).into_bytes(), 400),
        (format!("{good}&scope={}", "x".repeat(200_000)).into_bytes(), 400),
        (b"{\"grant_type\":\"client_credentials\"}".to_vec(), 400),
    ] {
        let answer = world.raw(TOKEN, FORM, body, &[]).await;
        assert_eq!(answer.status, status, "{}", answer.text);
    }
}
