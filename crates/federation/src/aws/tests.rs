//! The service through its door: what an SDK sends, and what comes back. tests/federation has the SDK itself.

use std::collections::HashSet;

use futures::FutureExt;
use serde_json::{Value, json};
use tokensmith_api::yaml;
use tokensmith_core::keys::LocalSigner;

use super::*;
use crate::fixtures::{ISSUER, NOW, changed, key, means, token, with_header};
use crate::issuers::Issuers;

const ROLE: &str = "arn:aws:iam::123456789012:role/app";
const SUBJECT: &str = "system:serviceaccount:default:app";

fn service(keys: &Value) -> Aws {
    let config = format!(
        r#"
oidcProviders:
- {{account: "123456789012", url: "{ISSUER}", clientIdList: [sts.amazonaws.com]}}
roles:
- arn: {ROLE}
  assumeRolePolicyDocument:
    Version: "2012-10-17"
    Statement:
    - Effect: Allow
      Principal: {{Federated: "arn:aws:iam::123456789012:oidc-provider/tokens.example.com"}}
      Action: sts:AssumeRoleWithWebIdentity
      Condition: {{StringEquals: {{"tokens.example.com:sub": "{SUBJECT}"}}}}
"#
    );
    let raw: RawConfig = yaml::config(config.as_bytes()).unwrap();
    let config = Config::new(raw, &HashSet::from([ISSUER])).unwrap();
    Aws::new(config, Means { issuers: Arc::new(Issuers::fixed(ISSUER, keys)), ..means().0 })
}

fn keys(signer: &LocalSigner) -> Value {
    json!({"keys": [serde_json::from_str::<Value>(&signer.public().jwk()).unwrap()]})
}

fn claims() -> Value {
    let now = NOW.unix_timestamp();
    json!({"iss": ISSUER, "sub": SUBJECT, "aud": ["sts.amazonaws.com"], "iat": now, "nbf": now, "exp": now + 3600})
}

fn request(role: &str, token: &str) -> Request<Bytes> {
    let form = form_urlencoded::Serializer::new(String::new())
        .append_pair("Action", "AssumeRoleWithWebIdentity")
        .append_pair("Version", "2011-06-15")
        .append_pair("RoleArn", role)
        .append_pair("RoleSessionName", "session")
        .append_pair("WebIdentityToken", token)
        .finish();
    let request =
        Request::post("/").header("content-type", "application/x-www-form-urlencoded; charset=utf-8");
    request.body(form.into()).unwrap()
}

async fn assume(aws: &Aws, role: &str, token: &str) -> (u16, String) {
    let response = aws.answer(request(role, token)).await;
    (response.status().as_u16(), String::from_utf8(response.into_body().to_vec()).unwrap())
}

/// What stands in an element.
fn element<'a>(body: &'a str, name: &str) -> &'a str {
    let begun = body.split_once(&format!("<{name}>")).map_or("", |(_, rest)| rest);
    begun.split_once(&format!("</{name}>")).map_or("", |(text, _)| text)
}

#[tokio::test]
async fn a_token_of_each_algorithm_is_a_session() {
    for name in ["rsa2048.pem", "p256.pem", "p384.pem", "p521.pem"] {
        let signer = key(name);
        let (status, body) = assume(&service(&keys(&signer)), ROLE, &token(&signer, &claims())).await;
        assert_eq!(status, 200, "{name} {body}");
        assert_eq!(element(&body, "Arn"), "arn:aws:sts::123456789012:assumed-role/app/session");
        assert_eq!(element(&body, "SubjectFromWebIdentityToken"), SUBJECT);
        assert_eq!(element(&body, "Expiration"), "2026-06-01T13:00:00Z");
        let (id, token) = (element(&body, "AccessKeyId"), element(&body, "SessionToken"));
        let sealer = Sealer::new(&means().0.secret);
        assert_eq!(sealer.open(id, token).unwrap().arn, element(&body, "Arn"));
        assert_eq!(sealer.secret(id, token), element(&body, "SecretAccessKey"));
    }
}

#[tokio::test]
async fn each_broken_rule_has_awss_code() {
    let signer = key("p256.pem");
    let aws = service(&keys(&signer));
    let other = with_header(&signer, &json!({"alg": "ES256", "kid": "other"}), &claims());
    let made = |changes: Value| token(&signer, &changed(&claims(), &changes));
    let now = NOW.unix_timestamp();
    let none = "No OpenIDConnect provider found in your account for https://";
    let identity = "InvalidIdentityToken";
    for (role, token, status, code, words) in [
        (ROLE, made(json!({"sub": "other"})), 403, "AccessDenied", "Not authorized to perform"),
        (
            "arn:aws:iam::123456789012:role/other",
            made(json!({})),
            403,
            "AccessDenied",
            "Not authorized to perform",
        ),
        ("arn:aws:iam::999999999999:role/app", made(json!({})), 400, identity, none),
        ("arn:aws:s3:::123456789012:role", made(json!({})), 400, "ValidationError", "Request ARN is invalid"),
        (ROLE, made(json!({"aud": ["other"]})), 400, identity, "Incorrect token audience"),
        (ROLE, made(json!({"aud": 7})), 400, identity, "Incorrect token audience"),
        (ROLE, made(json!({"exp": now - 301})), 400, "ExpiredTokenException", "Token expired: current"),
        (ROLE, made(json!({"nbf": now + 301})), 400, identity, "Token is not valid yet"),
        (ROLE, made(json!({"iss": "https://other.example.com"})), 400, identity, none),
        (ROLE, other, 400, identity, "Couldn&#39;t retrieve verification key"),
        (ROLE, "a.b.c".into(), 400, identity, "The ID Token provided is not a valid JWT."),
        (ROLE, String::new(), 400, "ValidationError", "1 validation error detected"),
    ] {
        let (found, body) = assume(&aws, role, &token).await;
        assert_eq!((found, element(&body, "Code")), (status, code), "{body}");
        assert!(element(&body, "Message").starts_with(words), "{words}: {body}");
        assert!(!element(&body, "RequestId").is_empty());
    }
}

#[tokio::test]
async fn the_log_says_why_and_has_no_token() {
    let signer = key("p256.pem");
    let aws = service(&keys(&signer));
    let made = |changes: Value| token(&signer, &changed(&claims(), &changes));
    let good = made(json!({}));
    let of = format!("the token of {ISSUER} and \"{SUBJECT}\" for {ROLE}: ");
    let why = async |request: Request<Bytes>| aws.act(&request).await.map(drop).unwrap_err().to_string();
    for (role, token, reason) in [
        (
            ROLE,
            made(json!({"aud": ["other"]})),
            format!(
                "{of}it is for \"other\", and the client ids of the provider tokens.example.com are [\"sts.amazonaws.com\"]"
            ),
        ),
        (
            ROLE,
            made(json!({"aud": ["a", "b"]})),
            format!("{of}aud has [\"a\", \"b\"], and no azp says which counts"),
        ),
        (ROLE, made(json!({"iat": null})), format!("{of}Missing a required claim: iat")),
        (ROLE, made(json!({"exp": 1})), format!("the token of {ISSUER} for {ROLE}: it has expired")),
        (
            ROLE,
            with_header(&signer, &json!({"alg": "ES256", "kid": "x"}), &claims()),
            format!("the token of {ISSUER} for {ROLE}: the issuer has no key of the header's kid"),
        ),
        (
            ROLE,
            made(json!({"iss": "https://other.example.com"})),
            "the account 123456789012 has no provider https://other.example.com".into(),
        ),
        (
            "arn:aws:iam::123456789012:role/no",
            good.clone(),
            "there is no role arn:aws:iam::123456789012:role/no".into(),
        ),
        (
            ROLE,
            made(json!({"sub": "other"})),
            format!(
                "the trust policy of {ROLE} refuses sts:AssumeRoleWithWebIdentity to \"other\" of {ISSUER} and \"sts.amazonaws.com\": the condition StringEquals tokens.example.com:sub of the statement 1 does not hold"
            ),
        ),
        // A token where an ARN belongs.
        (&good, good.clone(), "RoleArn is no role's ARN".into()),
        (&good[..19], good.clone(), "RoleArn: Member must have length greater than or equal to 20".into()),
    ] {
        assert_eq!(why(request(role, &token)).await, reason);
    }
    let get = |query: String| Request::get(format!("/?{query}")).body(Bytes::new()).unwrap();
    let signed = |header: String| {
        let request = Request::get("/?Action=GetCallerIdentity&Version=2011-06-15");
        request
            .header("authorization", header)
            .header("x-amz-date", "20260601T120000Z")
            .body(Bytes::new())
            .unwrap()
    };
    let scope = "20260601/us-east-1/sts/aws4_request";
    for (request, reason) in [
        (get(format!("Action={good}&Version={good}")), "there is no action … of version …"),
        (get(format!("{good}=1&{good}=1")), "the parameter … is there more than once"),
        (
            get("Action=AssumeRole&Version=2011-06-15".into()),
            "there is no action AssumeRole of version 2011-06-15",
        ),
        (signed(good.clone()), "the request is not signed with AWS4-HMAC-SHA256"),
        (
            signed(format!(
                "AWS4-HMAC-SHA256 Credential=ASIAX/{scope}, SignedHeaders=host;x-amz-date, Signature=00"
            )),
            "the access key ASIAX comes without a session token, and all keys here are a session's",
        ),
        (
            signed(format!(
                "AWS4-HMAC-SHA256 Credential=ASIAX/{good}/{good}/x/{good}, SignedHeaders=host;x-amz-date, Signature=00"
            )),
            "the scope of the access key ASIAX's credential has another service, another terminator, another region, another day",
        ),
    ] {
        assert_eq!(why(request).await, reason);
    }
}

#[test]
fn what_comes_to_nothing_is_told_in_xml() {
    let aws = service(&json!({"keys": []}));
    for (failure, status, code, kind) in [
        (Failure::BrokeOff, 400, "RequestAbortedException", "Sender"),
        (Failure::Slow, 408, "RequestTimeoutException", "Sender"),
        (Failure::TooLong, 413, "RequestEntityTooLargeException", "Sender"),
        (Failure::TimedOut, 503, "ServiceUnavailable", "Receiver"),
        (Failure::Internal, 500, "InternalFailure", "Receiver"),
    ] {
        let response = aws.failed(failure, None);
        let body = String::from_utf8(response.body().to_vec()).unwrap();
        assert_eq!(
            (response.status().as_u16(), element(&body, "Code"), element(&body, "Type")),
            (status, code, kind)
        );
        assert_eq!(response.headers()["x-amzn-requestid"], element(&body, "RequestId"));
    }
}

#[test]
fn requests_are_read_once_and_whole() {
    let aws = service(&json!({"keys": []}));
    let ask = |request: Request<Bytes>| {
        let response = aws.answer(request).now_or_never().unwrap();
        let body = String::from_utf8(response.body().to_vec()).unwrap();
        (response.status().as_u16(), element(&body, "Code").to_owned())
    };
    let get = |target: &str| ask(Request::get(target).body(Bytes::new()).unwrap());
    for (target, status, code) in [
        ("/", 400, "MissingAction"),
        ("/?Action=GetCallerIdentity", 400, "InvalidAction"),
        ("/?Action=GetCallerIdentity&Version=2011-06-15", 403, "MissingAuthenticationToken"),
        ("/?Action=A&Action=B&Version=2011-06-15", 400, "InvalidQueryParameter"),
        ("/?Action=AssumeRoleWithWebIdentity&Version=2011-06-15", 400, "ValidationError"),
        ("/?Action=%FF&Version=2011-06-15", 400, "InvalidAction"),
    ] {
        assert_eq!(get(target), (status, code.to_owned()), "{target}");
    }
    assert_eq!(ask(Request::delete("/").body(Bytes::new()).unwrap()), (400, "InvalidRequest".to_owned()));
    let json = Request::post("/")
        .header("content-type", "application/x-amz-json-1.1")
        .body(Bytes::from_static(b"{}"));
    assert_eq!(ask(json.unwrap()), (400, "MissingAction".to_owned()));
}
