//! RFC 6749, The OAuth 2.0 Authorization Framework, as far as the token endpoint goes; and bodies of those who mean no good.

use crate::world::{JWT, TOKEN_EXCHANGE, World, escaped};

const TOKEN: &str = "/oauth2/token";
const FORM: &str = "application/x-www-form-urlencoded";

#[tokio::test]
async fn s3_2_the_endpoint_takes_post_alone() {
    let world = World::new().await;
    assert_eq!(world.get("/oauth2/token?grant_type=client_credentials").await.status, 405);
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
