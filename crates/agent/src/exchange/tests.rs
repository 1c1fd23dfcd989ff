use std::sync::Mutex;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use time::macros::datetime;
use tokensmith_client::exchange::{OAuthRefusal, TokenType};
use tokensmith_core::clock::ManualClock;

use super::*;
use crate::refresh::{Retry, Trouble};

const NOW: OffsetDateTime = datetime!(2026-01-01 10:00 UTC);

struct Endpoint(Mutex<Option<Result<Exchanged, ExchangeError>>>);

#[async_trait]
impl TokenExchange for Endpoint {
    async fn exchange(&self, _: &ExchangeRequest) -> Result<Exchanged, ExchangeError> {
        self.0.lock().unwrap().take().expect("nobody is to be asked")
    }
}

fn exchanged(token: &str, seconds: Option<u64>) -> Exchanged {
    Exchanged {
        access_token: token.into(),
        issued_token_type: TokenType::AccessToken,
        token_type: "Bearer",
        expires_in: seconds.map(Duration::from_secs),
        scope: None,
    }
}

fn exchanger(answer: Option<Result<Exchanged, ExchangeError>>) -> Exchanger {
    Exchanger::new(Arc::new(Endpoint(Mutex::new(answer))), Arc::new(ManualClock::new(NOW)))
}

fn subject(seconds: Option<u64>) -> Subject {
    let ends = seconds.map(|seconds| NOW + Duration::from_secs(seconds));
    Subject { token: Secret::new("s.s.s"), ends }
}

#[tokio::test]
async fn a_token_counts_for_no_longer_than_the_one_that_it_was_given_for() {
    let jwt = format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(r#"{"exp":1767261900}"#)); // five minutes
    for (token, told, given, want) in [
        ("t", Some(600), Some(3600), 600),
        ("t", Some(3600), Some(600), 600),
        ("t", None, Some(900), 900),
        ("t", None, None, 600),
        (jwt.as_str(), None, Some(3600), 300),
        (jwt.as_str(), None, Some(60), 60),
        (jwt.as_str(), Some(30), Some(3600), 30),
    ] {
        let answer = exchanger(Some(Ok(exchanged(token, told))));
        let issued = answer.exchange(&subject(given), &ExchangeSpec::default()).await.unwrap();
        assert_eq!(
            (issued.expiration_seconds, issued.expires_at),
            (want, NOW + Duration::from_secs(want as u64))
        );
    }
}

#[tokio::test]
async fn a_token_that_has_ended_is_sent_to_nobody() {
    let error = exchanger(None).exchange(&subject(Some(0)), &ExchangeSpec::default()).await.unwrap_err();
    assert_eq!(error.to_string(), "the token that is to be exchanged has expired");
}

#[tokio::test]
async fn what_is_no_bearer_token_is_not_shown_as_one() {
    let aws = r#"{"Version":1,"AccessKeyId":"A"}"#;
    let other = Exchanged { token_type: "N_A", ..exchanged(aws, None) };
    let to_a_file = exchanger(Some(Ok(other.clone())));
    let written = to_a_file.exchange(&subject(None), &ExchangeSpec::default()).await.unwrap();
    assert_eq!(written.token.expose_str(), Some(aws));
    let to_a_header = exchanger(Some(Ok(other))).for_bearers();
    let error = to_a_header.exchange(&subject(None), &ExchangeSpec::default()).await.unwrap_err().to_string();
    assert!(error.contains("no bearer token (token_type N_A)") && !error.contains("AccessKeyId"), "{error}");
}

#[test]
fn refusals_that_pass_are_told_from_those_that_need_someone() {
    let of = |status, code: &str| {
        let retry_after = Some(Duration::from_secs(7));
        let refusal = OAuthRefusal { status, code: code.into(), description: None, retry_after };
        let error = refused(refusal.into());
        assert_eq!(Retry::after(&error, 1, None).retry_after, retry_after);
        Trouble::of(&error)
    };
    for (status, code) in [(400, "invalid_grant"), (401, "invalid_client"), (403, ""), (404, "")] {
        assert_eq!(of(status, code), Trouble::Refused, "{status}");
    }
    for (status, code) in [(429, ""), (500, ""), (503, ""), (400, "temporarily_unavailable")] {
        assert_eq!(of(status, code), Trouble::Passing, "{status}");
    }
    assert_eq!(Trouble::of(&refused(ExchangeError::Answer("it is no JSON"))), Trouble::Passing);
}
