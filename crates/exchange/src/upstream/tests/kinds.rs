//! What each kind asks, field by field, and what its answer comes to.

use super::*;
use crate::upstream::kinds::{AWS_CREDENTIALS, VAULT_TOKEN};

fn names(question: &Question) -> Vec<&str> {
    question.fields.iter().map(|(name, _)| name.as_str()).collect()
}

const AWS: &str = r#"<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
  <AssumeRoleWithWebIdentityResult>
    <SubjectFromWebIdentityToken>system:serviceaccount:pay:api</SubjectFromWebIdentityToken>
    <Credentials><SessionToken>AQoD/+=</SessionToken><SecretAccessKey>wJalr/+</SecretAccessKey>
      <Expiration>2026-01-01T01:00:00Z</Expiration><AccessKeyId>ASIAEXAMPLE</AccessKeyId></Credentials>
  </AssumeRoleWithWebIdentityResult>
</AssumeRoleWithWebIdentityResponse>"#;

#[tokio::test]
async fn aws_gives_credentials_as_sdks_take_them_from_a_process() {
    let service = Service::new(|_| AWS.into_response()).await;
    let world = world(
        json!({"kind": "aws", "endpoint": service.url, "roleArn": "arn:aws:iam::1:role/x", "durationSeconds": 900}),
    );
    let issued = world.exchange("jwt", &account("p", "1")).await.unwrap();
    let credentials: Value = serde_json::from_str(&issued.access_token).unwrap();
    assert_eq!(
        credentials,
        json!({"Version": 1, "AccessKeyId": "ASIAEXAMPLE", "SecretAccessKey": "wJalr/+", "SessionToken": "AQoD/+=", "Expiration": "2026-01-01T01:00:00Z"})
    );
    assert_eq!((issued.issued_token_type.as_str(), issued.token_type.as_str()), (AWS_CREDENTIALS, "N_A"));
    assert_eq!(issued.expires_in, Some(3600));
    let asked = &service.asked()[0];
    for (name, value) in [
        ("Action", "AssumeRoleWithWebIdentity"),
        ("Version", "2011-06-15"),
        ("RoleArn", "arn:aws:iam::1:role/x"),
        ("RoleSessionName", "system-serviceaccount-pay-api"),
        ("WebIdentityToken", "jwt"),
        ("DurationSeconds", "900"),
    ] {
        assert_eq!(asked.field(name), Some(value), "{name}");
    }
    assert_eq!(asked.fields.len(), 6);
}

#[tokio::test]
async fn aws_names_its_code_when_it_refuses() {
    let refusal = "<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code><Message>Not &lt;you&gt;</Message></Error></ErrorResponse>";
    let service = Service::new(move |_| (StatusCode::FORBIDDEN, refusal).into_response()).await;
    let world = world(json!({"kind": "aws", "endpoint": service.url, "roleArn": "r"}));
    let refused = UpstreamError::Refused("403 AccessDenied".into());
    assert_eq!(world.exchange("jwt", &account("p", "1")).await, Err(refused));
}

#[tokio::test]
async fn google_gives_a_federated_token_or_an_accounts() {
    let service = Service::new(|q| match q.path.as_str() {
        "/v1/token" => oauth_answer("federated", json!(3600)),
        _ => json_answer(json!({"accessToken": "account", "expireTime": "2026-01-01T00:30:00Z"})),
    })
    .await;
    let token = format!("{}/v1/token", service.url);
    let audience = "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/k";
    let alone = world(json!({"kind": "gcp", "endpoint": token, "audience": audience}));
    let issued = alone.exchange("jwt", &account("p", "1")).await.unwrap();
    assert_eq!((issued.access_token.as_str(), issued.expires_in), ("federated", Some(3600)));
    let asked = &service.asked()[0];
    assert_eq!(
        names(asked),
        ["grant_type", "audience", "scope", "requested_token_type", "subject_token", "subject_token_type"]
    );
    assert_eq!((asked.field("audience"), asked.field("scope")), (Some(audience), Some("read write")));
    assert_eq!(asked.field("subject_token_type"), Some("urn:ietf:params:oauth:token-type:jwt"));

    let account_url = format!(
        "{}/v1/projects/-/serviceAccounts/x@y.iam.gserviceaccount.com:generateAccessToken",
        service.url
    );
    let through = world(json!({
        "kind": "gcp", "endpoint": token, "audience": audience, "scopes": ["https://www.googleapis.com/auth/cloud-platform"],
        "impersonate": {"endpoint": account_url, "scopes": ["s"], "lifetimeSeconds": 1800},
    }));
    let issued = through.exchange("jwt", &account("p", "1")).await.unwrap();
    assert_eq!((issued.access_token.as_str(), issued.expires_in), ("account", Some(1800)));
    let asked = service.asked();
    assert_eq!(asked[1].field("scope"), Some("https://www.googleapis.com/auth/cloud-platform"));
    assert_eq!(asked[2].bearer.as_deref(), Some("Bearer federated"));
    assert_eq!(
        serde_json::from_str::<Value>(&asked[2].body).unwrap(),
        json!({"scope": ["s"], "lifetime": "1800s"})
    );
}

#[tokio::test]
async fn azure_takes_it_as_a_client_assertion() {
    let service = Service::new(|_| {
        json_answer(
            json!({"token_type": "Bearer", "expires_in": 3599, "ext_expires_in": 3599, "access_token": "ey"}),
        )
    })
    .await;
    let block = json!({"kind": "azure", "endpoint": format!("{}/tenant/oauth2/v2.0/token", service.url), "clientId": "c", "scope": "https://vault.azure.net/.default"});
    let issued = world(block).exchange("jwt", &account("p", "1")).await.unwrap();
    assert_eq!((issued.access_token.as_str(), issued.expires_in), ("ey", Some(3599)));
    assert_eq!(issued.issued_token_type, "urn:ietf:params:oauth:token-type:access_token");
    let asked = &service.asked()[0];
    assert_eq!(
        names(asked),
        ["grant_type", "client_id", "client_assertion_type", "client_assertion", "scope"]
    );
    assert_eq!(asked.field("scope"), Some("https://vault.azure.net/.default"));
}

#[tokio::test]
async fn vault_logs_in() {
    let service = Service::new(|_| json_answer(json!({"auth": {"client_token": "hvs.x", "lease_duration": 900, "renewable": true}, "data": null}))).await;
    let block = json!({"kind": "vault", "endpoint": format!("{}/v1/auth/kubernetes/login", service.url), "role": "app"});
    let issued = world(block).exchange("jwt", &account("p", "1")).await.unwrap();
    assert_eq!((issued.access_token.as_str(), issued.expires_in), ("hvs.x", Some(900)));
    assert_eq!((issued.issued_token_type.as_str(), issued.token_type.as_str()), (VAULT_TOKEN, "N_A"));
    let asked = &service.asked()[0];
    assert_eq!(serde_json::from_str::<Value>(&asked.body).unwrap(), json!({"role": "app", "jwt": "jwt"}));
    assert_eq!(asked.path, "/v1/auth/kubernetes/login");
}

#[tokio::test]
async fn any_token_exchange_is_asked_by_rfc_8693_section_2_1() {
    let service = Service::new(|_| json_answer(json!({"access_token": "t", "issued_token_type": "urn:x", "token_type": "N_A", "expires_in": 60, "scope": "read"}))).await;
    let world = world(
        json!({"kind": "oauth", "endpoint": service.url, "clientId": "me", "requestedTokenType": "urn:x"}),
    );
    let issued = world.exchange("jwt", &account("p", "1")).await.unwrap();
    assert_eq!((issued.token_type.as_str(), issued.scope.as_deref()), ("N_A", Some("read")));
    let asked = &service.asked()[0];
    assert_eq!(
        names(asked),
        [
            "grant_type",
            "subject_token",
            "subject_token_type",
            "audience",
            "scope",
            "client_id",
            "requested_token_type"
        ]
    );
    assert_eq!((asked.field("audience"), asked.field("scope")), (Some("db"), Some("read write")));
}
