//! The endpoints, as requests.

mod configuration;
mod exchanging;
mod impersonating;
mod reasons;

use std::collections::HashSet;
use std::time::Duration;

use futures::FutureExt;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};
use tokensmith_api::yaml;
use tokensmith_core::clock::ManualClock;
use tokensmith_core::keys::{LocalSigner, PublicKey, Signer, jwks_gcp};

use super::*;
use crate::fixtures::{ISSUER, NOW, changed, key, means, token, with_header};

const POOL: &str = "projects/123456789012/locations/global/workloadIdentityPools/laptop";
const SUBJECT: &str = "system:serviceaccount:default:app";
const EMAIL: &str = "app@shop.iam.gserviceaccount.com";
const CLOUD: &str = "https://www.googleapis.com/auth/cloud-platform";

fn audience(provider: &str) -> String {
    format!("//iam.googleapis.com/{POOL}/providers/{provider}")
}

fn config(jwks: &str) -> String {
    format!(
        "pools:
- {{name: {POOL}, state: ACTIVE, displayName: Laptop}}
- {{name: {POOL}-closed, disabled: true}}
providers:
- name: {POOL}/providers/cluster
  attributeMapping:
    google.subject: assertion.sub
    google.groups: assertion.groups
    attribute.namespace: \"assertion['kubernetes.io'].namespace\"
  attributeCondition: attribute.namespace == 'default' && google.subject != 'x'
  oidc: {{issuerUri: '{ISSUER}', jwksJson: '{jwks}'}}
- name: {POOL}/providers/given
  attributeMapping: {{google.subject: assertion.sub}}
  oidc: {{issuerUri: '{ISSUER}', allowedAudiences: [one, two], jwksJson: '{jwks}'}}
- name: {POOL}/providers/disabled
  disabled: true
  attributeMapping: {{google.subject: assertion.sub}}
  oidc: {{issuerUri: '{ISSUER}', jwksJson: '{jwks}'}}
- name: {POOL}-closed/providers/cluster
  attributeMapping: {{google.subject: assertion.sub}}
  oidc: {{issuerUri: '{ISSUER}', jwksJson: '{jwks}'}}
serviceAccounts:
- email: {EMAIL}
  policy:
    etag: BwX
    version: 1
    bindings:
    - role: roles/iam.workloadIdentityUser
      members: ['principal://iam.googleapis.com/{POOL}/subject/{SUBJECT}']
    - role: roles/iam.serviceAccountTokenCreator
      members: ['user:me@example.com', 'serviceAccount:next@shop.iam.gserviceaccount.com']
- email: next@shop.iam.gserviceaccount.com
  lifetimeExtension: true
  policy:
    bindings:
    - {{role: roles/iam.workloadIdentityUser, members: ['principalSet://iam.googleapis.com/{POOL}/attribute.namespace/default']}}
- email: nobody@shop.iam.gserviceaccount.com
"
    )
}

fn uploaded<'a>(keys: impl IntoIterator<Item = &'a PublicKey>) -> String {
    String::from_utf8(jwks_gcp(keys).unwrap().json).unwrap()
}

struct Local {
    gcp: Gcp,
    clock: Arc<ManualClock>,
    rsa: LocalSigner,
    ec: LocalSigner,
}

fn local() -> Local {
    let (rsa, ec) = (key("rsa2048.pem"), key("p256.pem"));
    let jwks = uploaded([rsa.public(), ec.public()]);
    let raw: RawConfig = yaml::config(config(&jwks).as_bytes()).unwrap();
    let (means, clock) = means();
    Local { gcp: Gcp::new(Config::new(raw, &HashSet::new()).unwrap(), means), clock, rsa, ec }
}

impl Local {
    fn claims() -> Value {
        json!({
            "iss": ISSUER,
            "sub": SUBJECT,
            "aud": [format!("https:{}", audience("cluster"))],
            "iat": NOW.unix_timestamp(),
            "exp": NOW.unix_timestamp() + 7200,
            "groups": ["admins"],
            "kubernetes.io": {"namespace": "default"},
        })
    }

    async fn ask(&self, request: Request<Bytes>) -> (u16, Value) {
        assert!(self.gcp.owns(request.uri().path()));
        let response = self.gcp.answer(request).await;
        (response.status().as_u16(), serde_json::from_slice(response.body()).unwrap())
    }

    async fn exchange_at(&self, audience: &str, token: &str) -> (u16, Value) {
        self.ask(exchange_of(audience, token)).await
    }

    /// What a token of these claims comes to.
    async fn of(&self, changes: Value) -> (u16, Value) {
        let token = token(&self.rsa, &changed(&Self::claims(), &changes));
        self.exchange_at(&audience("cluster"), &token).await
    }

    async fn federated(&self) -> String {
        let (status, answer) = self.of(json!({})).await;
        assert_eq!(status, 200, "{answer}");
        answer["access_token"].as_str().unwrap().to_owned()
    }

    async fn generate(&self, email: &str, bearer: &str, body: Value) -> (u16, Value) {
        self.ask(generate_of(email, bearer, &body)).await
    }
}

fn exchange_of(audience: &str, token: &str) -> Request<Bytes> {
    let form = form_urlencoded::Serializer::new(String::new())
        .extend_pairs([
            ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
            ("audience", audience),
            ("requested_token_type", exchange::ACCESS_TOKEN),
            ("subject_token_type", "urn:ietf:params:oauth:token-type:jwt"),
            ("scope", CLOUD),
            ("subject_token", token),
        ])
        .finish();
    post(TOKEN, "application/x-www-form-urlencoded", form)
}

fn generate_of(email: &str, bearer: &str, body: &Value) -> Request<Bytes> {
    let path = format!("{ACCOUNTS}{email}:generateAccessToken");
    let mut request = post(&path, "application/json", body.to_string());
    request.headers_mut().insert(AUTHORIZATION, format!("Bearer {bearer}").parse().unwrap());
    request
}

fn post(path: &str, media: &str, body: String) -> Request<Bytes> {
    Request::post(path).header(CONTENT_TYPE, media).body(body.into()).unwrap()
}

fn refusal(error: &str, description: &str) -> (u16, Value) {
    (400, json!({ "error": error, "error_description": description }))
}

#[tokio::test]
async fn a_token_becomes_a_federated_one_and_that_an_accounts() {
    let local = local();
    for token in [token(&local.rsa, &Local::claims()), token(&local.ec, &Local::claims())] {
        let (status, mut answer) = local.exchange_at(&audience("cluster"), &token).await;
        assert_eq!(status, 200, "{answer}");
        let federated = answer["access_token"].take();
        let rest = json!({
            "access_token": null,
            "issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
            "token_type": "Bearer",
            "expires_in": 3600,
        });
        assert_eq!(answer, rest);
        let federated = federated.as_str().unwrap();
        let (_, told) =
            local.ask(post(INTROSPECT, "application/json", json!({"token": federated}).to_string())).await;
        assert_eq!(told["username"], format!("principal://iam.googleapis.com/{POOL}/subject/{SUBJECT}"));
        let body =
            json!({"scope": [CLOUD, "https://www.googleapis.com/auth/userinfo.email"], "lifetime": "600s"});
        let (status, answer) = local.generate("app%40shop.iam.gserviceaccount.com", federated, body).await;
        assert_eq!((status, &answer["expireTime"]), (200, &json!("2026-06-01T12:10:00Z")), "{answer}");
        let query = format!("{TOKEN_INFO}?access_token={}", answer["accessToken"].as_str().unwrap());
        let (status, told) = local.ask(Request::get(query).body(Bytes::new()).unwrap()).await;
        assert_eq!(
            (status, &told["email"], &told["expires_in"]),
            (200, &json!(EMAIL), &json!("600")),
            "{told}"
        );
    }
}

#[test]
fn what_a_stranger_sends_is_refused_and_never_more() {
    const MEDIA: &[&str] = &["application/json", "application/x-www-form-urlencoded", "text/plain"];
    let local = local();
    let good = token(&local.rsa, &Local::claims());
    let exchange = |token: &str| {
        local.exchange_at(&audience("cluster"), token).now_or_never().expect("uploaded keys are there")
    };
    assert_eq!(exchange(&good).0, 200);
    let path = format!("{ACCOUNTS}{EMAIL}:generateAccessToken");
    proptest!(|(at in 0..good.len(), with in any::<char>(), body in vec(any::<u8>(), 0..600), media in select(MEDIA))| {
        let mut spoilt = good.clone();
        spoilt.replace_range(at..=at, &with.to_string());
        // The last characters of a part may stand for bits that nobody reads.
        prop_assert!(spoilt == good || exchange(&spoilt).0 == 400 || at + 1 == good.len());
        for path in [TOKEN, INTROSPECT, &path] {
            let request = Request::post(path).header(CONTENT_TYPE, media).body(body.clone().into()).unwrap();
            let (status, _) = local.ask(request).now_or_never().expect("nothing is asked for");
            prop_assert!((400..500).contains(&status), "{} {}", path, status);
        }
    });
}
