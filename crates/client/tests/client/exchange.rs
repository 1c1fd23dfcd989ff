//! Token exchange with an endpoint over TLS.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::StatusCode;
use http::header::{AUTHORIZATION, LOCATION};
use tokensmith_client::exchange::{ExchangeError, ExchangeRequest, Exchanged, TokenEndpoint, endpoint_url};
use tokensmith_client::{Trust, Web};

use crate::world::{World, read, told};

const SECRET: &str = "opaque-subject-token";

fn web(world: &World) -> Web {
    Web::new(&Trust::Authority(read(&world.path("ca.crt")).into_bytes()), None).unwrap()
}

async fn exchange(world: &World) -> Result<Exchanged, ExchangeError> {
    let url = endpoint_url(&format!("{}/oauth2/token", world.server()), "--url").unwrap();
    let request = ExchangeRequest { subject_token: SECRET.into(), ..ExchangeRequest::default() };
    let answer = TokenEndpoint::new(web(world), url).exchange(&request).await;
    if let Err(error) = &answer {
        let text = error.to_string();
        assert!(!text.contains(SECRET) && !text.contains('\n'), "{text}");
    }
    answer
}

fn issued() -> http::Response<http_body_util::Full<bytes::Bytes>> {
    let body = r#"{"access_token":"a.b.c","issued_token_type":"urn:ietf:params:oauth:token-type:access_token","token_type":"Bearer","expires_in":600}"#;
    let mut response = told(StatusCode::OK, "");
    *response.body_mut() = body.into();
    response
}

#[tokio::test]
async fn a_token_goes_into_the_body_of_a_form_and_no_credentials_go_with_it() {
    let world = World::answering(|_| issued()).await;
    assert_eq!(exchange(&world).await.unwrap().access_token, "a.b.c");
    let seen = world.last();
    assert_eq!(seen.path, "/oauth2/token");
    assert_eq!(seen.headers["content-type"], "application/x-www-form-urlencoded");
    assert!(seen.headers.get(AUTHORIZATION).is_none());
    let body = String::from_utf8(seen.body.to_vec()).unwrap();
    assert!(body.contains(&format!("subject_token={SECRET}")), "{body}");
}

#[tokio::test]
async fn the_kubeconfigs_certificates_lead_there_and_its_credentials_stay() {
    let world = World::answering(|_| issued()).await;
    let target = world.target(", tls-server-name: api.example", "token: s3cret");
    let url = endpoint_url(&format!("{}/oauth2/token", world.server()), "--url").unwrap();
    let request = ExchangeRequest { subject_token: SECRET.into(), ..ExchangeRequest::default() };
    let endpoint = TokenEndpoint::new(Web::to(&target).unwrap(), url);
    assert_eq!(endpoint.exchange(&request).await.unwrap().access_token, "a.b.c");
    let seen = world.last();
    assert!(seen.headers.get(AUTHORIZATION).is_none() && seen.name.as_deref() == Some("api.example"));
}

/// Asks an endpoint that is busy for so many requests; tells how often it was asked.
async fn asked(
    patient: bool,
    times: usize,
    code: StatusCode,
    after: &'static str,
) -> (Option<String>, usize) {
    let seen = AtomicUsize::new(0);
    let world = World::answering(move |_| {
        if seen.fetch_add(1, Ordering::Relaxed) >= times {
            return issued();
        }
        let mut response = told(code, "busy");
        response.headers_mut().insert("retry-after", after.parse().unwrap());
        response
    })
    .await;
    let url = endpoint_url(&format!("{}/oauth2/token", world.server()), "--url").unwrap();
    let request = ExchangeRequest { subject_token: SECRET.into(), ..ExchangeRequest::default() };
    let endpoint = TokenEndpoint::new(web(&world), url);
    let endpoint = if patient { endpoint.patient() } else { endpoint };
    let error = endpoint.exchange(&request).await.err().map(|error| error.to_string());
    let times = world.seen.lock().unwrap().len();
    (error, times)
}

#[tokio::test]
async fn who_is_patient_asks_again_ten_times() {
    for (times, code, after, want) in [
        (3, StatusCode::TOO_MANY_REQUESTS, "0", (None, 4)),
        (10, StatusCode::SERVICE_UNAVAILABLE, "0", (None, 11)),
        (11, StatusCode::TOO_MANY_REQUESTS, "0", (Some("it is asked too often: try again later"), 11)),
        (1, StatusCode::BAD_REQUEST, "0", (Some("(400)"), 1)),
        // Longer than an answer may take: that is told at once.
        (1, StatusCode::TOO_MANY_REQUESTS, "3600", (Some("it asks for a wait of 3600s"), 1)),
    ] {
        let (error, asked) = asked(true, times, code, after).await;
        let error = error.as_deref();
        assert_eq!((error.is_some(), asked), (want.0.is_some(), want.1), "{code} {after}: {error:?}");
        assert!(want.0.is_none_or(|want| error.unwrap().contains(want)), "{error:?}");
    }
    let (error, asked) = asked(false, 1, StatusCode::TOO_MANY_REQUESTS, "0").await;
    assert!(error.is_some() && asked == 1, "who has a schedule is told at once");
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    for code in [301, 302, 303, 307, 308] {
        let world = World::answering(move |seen| {
            if seen.path == "/elsewhere" {
                return issued();
            }
            let mut response = told(StatusCode::from_u16(code).unwrap(), "");
            response.headers_mut().insert(LOCATION, "/elsewhere".parse().unwrap());
            response
        })
        .await;
        let error = exchange(&world).await.unwrap_err().to_string();
        assert!(error.contains("it leads elsewhere, which is not followed"), "{error}");
        assert_eq!(world.seen.lock().unwrap().len(), 1);
    }
}

#[tokio::test]
async fn an_answer_is_bounded() {
    for code in [StatusCode::OK, StatusCode::BAD_REQUEST] {
        let world = World::answering(move |_| told(code, &"a".repeat(1 << 20))).await;
        let error = exchange(&world).await.unwrap_err().to_string();
        assert_eq!(error, "the server's answer is far too long");
    }
}

#[tokio::test]
async fn rfc_8414_section_3_3_another_issuers_metadata_leads_nowhere() {
    for (issuer, extra, why) in [
        ("", "", None),
        ("/tenant", "", None),
        ("", r#","grant_types_supported":["urn:ietf:params:oauth:grant-type:token-exchange"]"#, None),
        ("", r#","grant_types_supported":["authorization_code"]"#, Some("does not exchange tokens")),
        ("", r#","issuer":"https://evil.example""#, Some("another issuer's metadata")),
        ("", r#","token_endpoint":"http://sts.example.com/t""#, Some("its token_endpoint is not https")),
        ("", r#","token_endpoint":7"#, Some("it names no token_endpoint")),
    ] {
        // The port is known once it listens.
        let server = std::sync::Arc::new(OnceLock::<String>::new());
        let known = server.clone();
        let extra = extra.to_owned();
        let issuer_path = issuer.to_owned();
        let world = World::answering(move |seen| {
            let want = format!("/.well-known/oauth-authorization-server{issuer_path}");
            if seen.path != want {
                return told(StatusCode::NOT_FOUND, "");
            }
            let server = known.get().unwrap();
            let base = format!(
                r#"{{"issuer":"{server}{issuer_path}","token_endpoint":"{server}/oauth2/token"{extra}}}"#
            );
            let mut response = told(StatusCode::OK, "");
            *response.body_mut() = base.into();
            response
        })
        .await;
        server.set(world.server()).unwrap();
        let found = TokenEndpoint::of_issuer(web(&world), &format!("{}{issuer}", world.server())).await;
        match (found, why) {
            (Ok(endpoint), None) => {
                assert_eq!(endpoint.url().as_str(), format!("{}/oauth2/token", world.server()));
            }
            (Err(error), Some(why)) => assert!(error.to_string().contains(why), "{error}"),
            (found, why) => panic!("{:?}: {why:?}", found.map(|endpoint| endpoint.url().clone())),
        }
    }
    let world = World::answering(|_| told(StatusCode::NOT_FOUND, "")).await;
    let error = TokenEndpoint::of_issuer(web(&world), &world.server()).await.map(drop).unwrap_err();
    assert!(error.to_string().contains("give its token endpoint with --url"), "{error}");
}
