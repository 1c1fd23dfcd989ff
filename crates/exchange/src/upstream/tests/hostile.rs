//! Blocks that say too much or too little, and services that mean harm.

use std::convert::Infallible;

use axum::body::Body;
use tokensmith_core::clock::SystemClock;

use super::*;

fn error(block: Value) -> String {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    Upstream::new(&block, Path::new("/"), &[], &clock).unwrap_err().to_string()
}

#[test]
fn a_block_is_read_strictly() {
    for (block, why) in [
        (json!("aws"), "must be an object with `kind` and `endpoint`"),
        (json!({}), "missing field `kind`"),
        (
            json!({"kind": "ldap"}),
            "unknown variant `ldap`, expected one of `aws`, `azure`, `gcp`, `oauth`, `vault`",
        ),
        (json!({"kind": "oauth"}), "missing field `endpoint`"),
        (
            json!({"kind": "oauth", "endpoint": "https://a.example", "endpiont": "x"}),
            "unknown field `endpiont`, expected one of `endpoint`, `clientId`, `requestedTokenType`",
        ),
        (json!({"kind": "aws", "endpoint": "https://a.example"}), "missing field `roleArn`"),
        (json!({"kind": "aws", "endpoint": "https://a.example", "roleArn": ""}), "roleArn is empty"),
        (
            json!({"kind": "vault", "endpoint": "https://a.example", "role": "r", "caFile": "/nowhere"}),
            "caFile: No such file or directory (os error 2)",
        ),
        (
            json!({"kind": "vault", "endpoint": "https://a.example", "role": "r", "allowLoopbackHttp": "yes"}),
            "invalid type: string \"yes\", expected a boolean",
        ),
        (json!({"kind": "oauth", "endpoint": "a.example"}), "endpoint is no URL"),
        (json!({"kind": "oauth", "endpoint": "ftp://a.example"}), "endpoint must be an https URL"),
        (
            json!({"kind": "oauth", "endpoint": "http://a.example", "allowLoopbackHttp": true}),
            "endpoint must be an https URL",
        ),
        (
            json!({"kind": "oauth", "endpoint": "http://127.0.0.1.a.example", "allowLoopbackHttp": true}),
            "endpoint must be an https URL",
        ),
        (
            json!({"kind": "oauth", "endpoint": "http://127.0.0.1:1"}),
            "endpoint must be an https URL; allowLoopbackHttp: true lets this one be",
        ),
        (
            json!({"kind": "oauth", "endpoint": "https://u:p@a.example"}),
            "endpoint must have no user and no fragment",
        ),
        (
            json!({"kind": "gcp", "endpoint": "https://a.example", "audience": "a", "impersonate": {"endpoint": "http://b.example", "scopes": []}}),
            "impersonate.endpoint must be an https URL",
        ),
    ] {
        assert_eq!(error(block.clone()), why, "{block}");
    }
}

/// What comes of it, of each of two kinds that read JSON.
async fn said(answer: impl Fn(&Question) -> Response + Clone + Send + Sync + 'static) -> Vec<UpstreamError> {
    let mut all = Vec::new();
    for block in [
        json!({"kind": "oauth"}),
        json!({"kind": "azure", "clientId": "c"}),
        json!({"kind": "vault", "role": "r"}),
        json!({"kind": "aws", "roleArn": "r"}),
    ] {
        let service = Service::new(answer.clone()).await;
        let mut block = block;
        block["endpoint"] = json!(service.url);
        let error = world(block).exchange("se.cr.et", &account("p", "1")).await.unwrap_err();
        assert!(!error.to_string().contains("se.cr.et") && !error.to_string().contains('\n'), "{error}");
        assert_eq!(service.asked().len(), 1, "nothing is followed, and nothing asked twice");
        all.push(error);
    }
    all
}

fn all_unavailable(errors: &[UpstreamError]) -> bool {
    errors.iter().all(|error| matches!(error, UpstreamError::Unavailable(_)))
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let errors =
        said(|_| (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, "/elsewhere")]).into_response()).await;
    assert!(
        errors.iter().all(|e| e.to_string() == "it does not answer: 307: a redirect is not followed"),
        "{errors:?}"
    );
}

#[tokio::test]
async fn answers_of_other_types_are_not_believed() {
    for body in [
        "",
        "null",
        "[]",
        "\"t\"",
        "{}",
        "<html>",
        "{\"access_token\":1,\"token_type\":\"Bearer\"}",
        "[\"t\",\"urn:x\",\"Bearer\",1,null]",
        "{\"access_token\":\"t\",\"token_type\":\"\",\"issued_token_type\":\"x\"}",
        "{\"access_token\":\"\",\"token_type\":\"Bearer\",\"issued_token_type\":\"x\"}",
        "{\"access_token\":\"a\\nb\",\"token_type\":\"Bearer\",\"issued_token_type\":\"x\"}",
        "{\"access_token\":\"t\",\"token_type\":\"Bearer\",\"issued_token_type\":\"x\",\"expires_in\":-1}",
        "{\"access_token\":\"t\",\"token_type\":\"Bearer\",\"issued_token_type\":\"x\",\"expires_in\":\"soon\"}",
        "{\"access_token\":\"t\",\"token_type\":\"Bearer\",\"issued_token_type\":\"x\",\"expires_in\":1e300}",
        "{\"access_token\":\"t\",\"access_token\":\"u\",\"token_type\":\"Bearer\",\"issued_token_type\":\"x\"}",
        "<AccessKeyId>a</AccessKeyId><SecretAccessKey>b</SecretAccessKey><SessionToken>c</SessionToken>",
        "<AccessKeyId>a</AccessKeyId><AccessKeyId>b</AccessKeyId><SecretAccessKey>b</SecretAccessKey><SessionToken>c</SessionToken><Expiration>2027-01-01T00:00:00Z</Expiration>",
        "<AccessKeyId>a</AccessKeyId><SecretAccessKey>b</SecretAccessKey><SessionToken>c</SessionToken><Expiration>tomorrow</Expiration>",
        "<AccessKeyId>a</AccessKeyId><SecretAccessKey>b</SecretAccessKey><SessionToken>c</SessionToken><Expiration>2020-01-01T00:00:00Z</Expiration>",
    ] {
        let errors = said(move |_| body.into_response()).await;
        assert!(all_unavailable(&errors), "{body}: {errors:?}");
    }
    // A token exchange says what it has issued (RFC 8693 §2.2.1).
    let service = Service::new(|_| json_answer(json!({"access_token": "t", "token_type": "Bearer"}))).await;
    let error =
        world(json!({"kind": "oauth", "endpoint": service.url})).exchange("t", &account("p", "1")).await;
    assert_eq!(error, Err(UpstreamError::Unavailable("its answer does not say what it has issued".into())));
}

#[tokio::test]
async fn a_body_without_end_is_cut() {
    let errors = said(|_| {
        let spaces = futures::stream::repeat_with(|| Ok::<_, Infallible>(Bytes::from_static(&[b' '; 4096])));
        Body::from_stream(spaces).into_response()
    })
    .await;
    assert!(all_unavailable(&errors), "{errors:?}");
}

#[tokio::test]
async fn refusals_name_their_code_and_nothing_else() {
    let echo = |q: &Question| {
        let token = q.field("subject_token").unwrap_or(&q.body).to_owned();
        let body = json!({"error": token, "error_description": q.body});
        (StatusCode::BAD_REQUEST, body.to_string()).into_response()
    };
    for error in said(echo).await {
        assert!(matches!(&error, UpstreamError::Refused(said) if said == "400"), "{error:?}");
    }
    let errors =
        said(|_| (StatusCode::BAD_REQUEST, json!({"error": "invalid_grant"}).to_string()).into_response())
            .await;
    assert_eq!(errors[0], UpstreamError::Refused("400 invalid_grant".into()));
    let errors = said(|_| StatusCode::SERVICE_UNAVAILABLE.into_response()).await;
    assert!(errors.iter().all(|e| *e == UpstreamError::Unavailable("503".into())), "{errors:?}");
    // A failure counts for a second, and then is asked for again.
    let service = Service::new(|_| StatusCode::FORBIDDEN.into_response()).await;
    let world = world(json!({"kind": "oauth", "endpoint": service.url}));
    for asked in [1, 1, 2] {
        world.exchange("t", &account("p", "1")).await.unwrap_err();
        assert_eq!(service.asked().len(), asked);
        world.clock.advance(std::time::Duration::from_millis(600));
    }
}

#[tokio::test]
async fn nobody_there_is_told() {
    let error = world(json!({"kind": "oauth", "endpoint": "http://127.0.0.1:1"}))
        .exchange("t", &account("p", "1"))
        .await;
    assert!(matches!(error, Err(UpstreamError::Unavailable(_))), "{error:?}");
}
