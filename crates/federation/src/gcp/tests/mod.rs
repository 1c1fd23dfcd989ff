//! The endpoints, as requests.

mod configuration;
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

#[tokio::test]
async fn each_broken_rule_of_a_token_has_its_error() {
    let local = local();
    let now = NOW.unix_timestamp();
    let stale = |issued: &str| format!("ID Token issued at {issued} is stale to sign-in.");
    let condition = "The given credential is rejected by the attribute condition.";
    let audience =
        |found: &str| format!("The audience in ID Token [{found}] does not match the expected audience.");
    let issuer = |found: &str| {
        format!("The issuer in ID Token {found} does not match the expected one in config: {ISSUER}.")
    };
    let at = now.to_string();
    for (changes, error, description) in [
        (json!({"iss": null}), "invalid_grant", issuer("null")),
        (json!({"iss": format!("{ISSUER}/")}), "invalid_grant", issuer(&format!("{ISSUER}/"))),
        (json!({"iss": [ISSUER]}), "invalid_grant", issuer("null")),
        (json!({"aud": null}), "invalid_grant", audience("")),
        (json!({"aud": ["other", "more"]}), "invalid_grant", audience("other, more")),
        (json!({"aud": {"a": 1}}), "invalid_grant", audience("")),
        (json!({"iat": null}), "invalid_grant", stale("null")),
        (json!({"exp": null}), "invalid_grant", stale(&at)),
        (json!({"exp": "soon"}), "invalid_grant", stale(&at)),
        (json!({"exp": now - 60}), "invalid_grant", stale(&at)),
        (json!({"iat": now + 61}), "invalid_grant", stale(&(now + 61).to_string())),
        (json!({"nbf": now + 61}), "invalid_grant", stale(&at)),
        (json!({"nbf": "x"}), "invalid_grant", stale(&at)),
        (json!({"exp": now + 172_800}), "invalid_grant", stale(&at)),
        (json!({"iat": i64::MIN, "exp": i64::MAX}), "invalid_grant", stale(&i64::MIN.to_string())),
        (json!({"sub": null}), "unauthorized_client", condition.to_owned()),
        (json!({"kubernetes.io": null}), "unauthorized_client", condition.to_owned()),
        (json!({"kubernetes.io": {"namespace": "other"}}), "unauthorized_client", condition.to_owned()),
        (json!({"sub": "x"}), "unauthorized_client", condition.to_owned()),
        (
            json!({"sub": ""}),
            "unauthorized_client",
            "Could not obtain a value for google.subject from the given credential.".to_owned(),
        ),
        (
            json!({"sub": "x".repeat(128)}),
            "invalid_request",
            "The size of mapped attribute google.subject exceeds the 127 bytes limit. Either modify your attribute mapping or \
             the incoming assertion to produce a mapped attribute that is less than 127 bytes."
                .to_owned(),
        ),
        (
            json!({"groups": "admins"}),
            "invalid_request",
            "The mapped attribute google.groups must be a list of strings.".to_owned(),
        ),
        (
            json!({"groups": ["x".repeat(9000)]}),
            "invalid_request",
            "The size of the mapped attributes exceeds the 8 KB limit.".to_owned(),
        ),
    ] {
        assert_eq!(local.of(changes.clone()).await, refusal(error, &description), "{changes}");
    }
    // What clocks may differ by, the longest life, the longest subject.
    for good in [
        json!({"iat": now + 60, "nbf": now + 60}),
        json!({"exp": now + 172_799}),
        json!({"exp": now as f64 + 100.5}),
        json!({"sub": "x".repeat(127), "groups": null}),
    ] {
        assert_eq!(local.of(good.clone()).await.0, 200, "{good}");
    }
    let (_, late) = local.of(json!({"iat": now - 100, "exp": now - 59})).await;
    assert_eq!(late["expires_in"], 1);
}

#[tokio::test]
async fn each_broken_signature_has_its_error() {
    let local = local();
    let claims = Local::claims();
    let good = token(&local.rsa, &claims);
    let (signed, _) = good.rsplit_once('.').unwrap();
    let foreign = key("rsa2048-other.pem");
    let (rsa, ec) = (local.rsa.key_id(), local.ec.key_id());
    let header = |alg: &str, kid: Value| with_header(&local.rsa, &json!({"alg": alg, "kid": kid}), &claims);
    let algorithm = "The ID Token must be signed with RS256 or ES256.";
    let signature = "Unable to verify the ID Token signature.";
    let issuer = "Error connecting to the given credential's issuer.";
    let parse = "Unable to parse the ID Token.";
    for (token, description) in [
        (token(&foreign, &claims), issuer),
        (with_header(&foreign, &json!({"alg": "RS256", "kid": rsa}), &claims), signature),
        (header("RS256", json!("unknown")), issuer),
        (header("RS256", json!(null)), issuer),
        (header("RS256", json!("")), issuer),
        (header("RS256", json!(1)), issuer),
        // A key is tried with its own algorithm alone.
        (header("ES256", json!(rsa)), signature),
        (header("RS256", json!(ec)), signature),
        (header("RS384", json!(rsa)), algorithm),
        (header("HS256", json!(rsa)), algorithm),
        (header("none", json!(rsa)), algorithm),
        (with_header(&local.rsa, &json!({"kid": rsa}), &claims), algorithm),
        (with_header(&local.rsa, &json!({"alg": "RS256", "kid": rsa, "crit": ["x"]}), &claims), signature),
        (format!("{signed}."), signature),
        (format!("{signed}.AAAA"), signature),
        (format!("{signed}.!"), parse),
        (signed.to_owned(), parse),
        ("x".to_owned(), parse),
        ("a.b.c".to_owned(), parse),
        (format!("{good}.x"), parse),
        ("x".repeat(100_000), parse),
    ] {
        let answer = local.exchange_at(&audience("cluster"), &token).await;
        assert_eq!(answer, refusal("invalid_grant", description), "{}", &token[..token.len().min(80)]);
    }
}

#[tokio::test]
async fn each_broken_parameter_has_its_error() {
    let local = local();
    let token = token(&local.rsa, &Local::claims());
    let good = json!({
        "grantType": "urn:ietf:params:oauth:grant-type:token-exchange",
        "audience": audience("cluster"),
        "requestedTokenType": exchange::ACCESS_TOKEN,
        "subjectTokenType": "urn:ietf:params:oauth:token-type:id_token",
        "scope": CLOUD,
        "subjectToken": token,
        "options": "{\"userProject\":\"1\"}",
    });
    let ask = async |changes: Value| {
        local.ask(post(TOKEN, "application/json", changed(&good, &changes).to_string())).await
    };
    for taken in [
        json!({}),
        json!({"options": "%7B%22userProject%22%3A%201%7D"}),
        json!({"resource": "https://ignored"}),
    ] {
        assert_eq!(ask(taken.clone()).await.0, 200, "{taken}");
    }
    let full = "Invalid value for \"audience\". This value should be the full resource name of the Identity Provider. See \
                https://cloud.google.com/iam/docs/reference/sts/rest/v1/TopLevel/token for the list of possible formats.";
    let target = "The target service indicated by the \"audience\" parameters is invalid. This might either be because the \
                  pool or provider is disabled or deleted or because it doesn't exist.";
    let closed = format!("//iam.googleapis.com/{POOL}-closed/providers/cluster");
    for (changes, error, description) in [
        (json!({"grantType": null}), "invalid_request", "Invalid value for \"grant_type\"."),
        (
            json!({"grantType": "client_credentials"}),
            "unsupported_grant_type",
            "The grant type must be urn:ietf:params:oauth:grant-type:token-exchange.",
        ),
        (json!({"audience": null}), "invalid_request", full),
        (json!({"audience": format!("https:{}", audience("cluster"))}), "invalid_request", full),
        (json!({"audience": audience("missing")}), "invalid_target", target),
        (json!({"audience": audience("disabled")}), "invalid_target", target),
        (json!({"audience": closed}), "invalid_target", target),
        (
            json!({"requestedTokenType": null}),
            "invalid_request",
            "Invalid value for \"requested_token_type\".",
        ),
        (
            json!({"subjectTokenType": exchange::ACCESS_TOKEN}),
            "invalid_request",
            "Invalid value for \"subject_token_type\".",
        ),
        (json!({"scope": ""}), "invalid_request", "Invalid value for \"scope\"."),
        (json!({"subjectToken": null}), "invalid_request", "Invalid value for \"subject_token\"."),
        (json!({"options": "x"}), "invalid_request", "Invalid value for \"options\"."),
        (json!({"options": "[]"}), "invalid_request", "Invalid value for \"options\"."),
        (
            json!({"subject_token": "x"}),
            "invalid_request",
            "The parameter \"subject_token\" must not be given more than once.",
        ),
    ] {
        assert_eq!(ask(changes.clone()).await, refusal(error, description), "{changes}");
    }
    let (status, answer) = ask(json!({"scope": [CLOUD]})).await;
    assert_eq!((status, &answer["error"]["status"]), (400, &json!("INVALID_ARGUMENT")));
    for (client, status) in [
        (json!({"clientId": "32555940559.apps.googleusercontent.com", "client_secret": "x"}), 200),
        (json!({"client_id": "other"}), 401),
        (json!({"clientSecret": "x"}), 401),
    ] {
        assert_eq!(ask(client.clone()).await.0, status, "{client}");
    }
    // gcloud's id, and another one.
    for (header, status) in [
        ("Basic MzI1NTU5NDA1NTkuYXBwcy5nb29nbGV1c2VyY29udGVudC5jb206eA==", 200),
        ("Bearer x", 401),
        ("Basic eDp5", 401),
    ] {
        let mut request = post(TOKEN, "application/json", good.to_string());
        request.headers_mut().insert(AUTHORIZATION, header.parse().unwrap());
        assert_eq!(local.ask(request).await.0, status, "{header}");
    }
    assert_eq!(local.ask(Request::get(TOKEN).body(Bytes::new()).unwrap()).await.0, 404);
}

#[tokio::test]
async fn audiences_are_the_providers_own_or_those_that_are_given() {
    let local = local();
    let of = async |provider: &str, aud: Value| {
        let token = token(&local.rsa, &changed(&Local::claims(), &json!({ "aud": aud })));
        local.exchange_at(&audience(provider), &token).await.0
    };
    let own = [format!("https:{}", audience("cluster")), audience("cluster")];
    for aud in [json!(own[0]), json!(own[1]), json!([own[1]]), json!(["x", own[0]])] {
        assert_eq!(of("cluster", aud.clone()).await, 200, "{aud}");
    }
    assert_eq!(of("given", json!("two")).await, 200);
    assert_eq!(of("given", json!(audience("given"))).await, 400, "with a list, the default counts no more");
}

#[tokio::test]
async fn only_whom_a_binding_names_is_let_in() {
    let local = local();
    let federated = local.federated().await;
    let body = || json!({ "scope": [CLOUD] });
    let denied = json!({"error": {
        "code": 403,
        "message": "Permission 'iam.serviceAccounts.getAccessToken' denied on resource (or it may not exist).",
        "status": "PERMISSION_DENIED",
        "details": [{
            "@type": "type.googleapis.com/google.rpc.ErrorInfo",
            "reason": "IAM_PERMISSION_DENIED",
            "domain": "iam.googleapis.com",
            "metadata": {"permission": "iam.serviceAccounts.getAccessToken"},
        }],
    }});
    for email in ["nobody@shop.iam.gserviceaccount.com", "missing@shop.iam.gserviceaccount.com"] {
        assert_eq!(local.generate(email, &federated, body()).await, (403, denied.clone()), "{email}");
    }
    let next = "next@shop.iam.gserviceaccount.com";
    let (status, answer) = local.generate(next, &federated, body()).await;
    assert_eq!(status, 200, "by an attribute: {answer}");
    // Its own token leads on, and so does its name as a delegate.
    let of_next = answer["accessToken"].as_str().unwrap();
    assert_eq!(local.generate(EMAIL, of_next, body()).await.0, 200);
    let delegated = |delegate: &str| json!({"scope": [CLOUD], "delegates": [delegate]});
    let chain = format!("projects/-/serviceAccounts/{next}");
    assert_eq!(local.generate(EMAIL, &federated, delegated(&chain)).await.0, 200);
    assert_eq!(
        local.generate(next, &federated, delegated(&format!("projects/-/serviceAccounts/{EMAIL}"))).await.0,
        403
    );
    assert_eq!(
        local.generate(EMAIL, &federated, delegated(&format!("projects/x/serviceAccounts/{next}"))).await.0,
        400
    );
    // A token for less, none, one that is over, one that is none.
    let (_, small) = local
        .generate(EMAIL, &federated, json!({"scope": ["https://www.googleapis.com/auth/devstorage"]}))
        .await;
    let (status, answer) = local.generate(EMAIL, small["accessToken"].as_str().unwrap(), body()).await;
    assert_eq!(
        (status, &answer["error"]["details"][0]["reason"]),
        (403, &json!("ACCESS_TOKEN_SCOPE_INSUFFICIENT"))
    );
    let nobody =
        post(&format!("{ACCOUNTS}{EMAIL}:generateAccessToken"), "application/json", body().to_string());
    assert_eq!(local.ask(nobody).await.0, 401);
    assert_eq!(local.generate(EMAIL, "x", body()).await.0, 401);
    local.clock.advance(Duration::from_secs(3600));
    let (status, answer) = local.generate(EMAIL, &federated, body()).await;
    assert_eq!((status, &answer["error"]["status"]), (401, &json!("UNAUTHENTICATED")));
}

#[tokio::test]
async fn lifetimes_and_scopes() {
    let local = local();
    let federated = local.federated().await;
    let next = "next@shop.iam.gserviceaccount.com";
    let hour = "can not have lifetimes of more than 1 hour. Use the Org Policy Constraint \
                constraints/iam.allowServiceAccountCredentialLifetimeExtension to allow up to 12 hours.";
    for (email, lifetime, expected) in [
        (EMAIL, json!("1s"), Ok("2026-06-01T12:00:01Z")),
        (EMAIL, json!("3600s"), Ok("2026-06-01T13:00:00Z")),
        (EMAIL, json!("3.5s"), Ok("2026-06-01T12:00:03Z")),
        (EMAIL, json!(null), Ok("2026-06-01T13:00:00Z")),
        (EMAIL, json!("3601s"), Err(hour)),
        (next, json!("43200s"), Ok("2026-06-02T00:00:00Z")),
        (next, json!("43201s"), Err("can not have lifetimes of more than 12 hours.")),
        (EMAIL, json!("0s"), Err("Lifetime of access token must be larger then zero.")),
        (EMAIL, json!("-1s"), Err("Lifetime of access token must be larger then zero.")),
        (EMAIL, json!(""), Err("Invalid value at 'lifetime'")),
        (EMAIL, json!("3600"), Err("Invalid value at 'lifetime'")),
        (EMAIL, json!("1h"), Err("Invalid value at 'lifetime'")),
        (EMAIL, json!(3600), Err("Invalid value at 'lifetime'")),
        (EMAIL, json!("99999999999999999999s"), Err("Invalid value at 'lifetime'")),
    ] {
        let (status, answer) =
            local.generate(email, &federated, json!({"scope": [CLOUD], "lifetime": lifetime})).await;
        match expected {
            Ok(time) => {
                assert_eq!((status, &answer["expireTime"]), (200, &json!(time)), "{lifetime} {answer}")
            }
            Err(why) => {
                let message = answer["error"]["message"].as_str().unwrap();
                assert!(status == 400 && message.contains(why), "{lifetime} {answer}");
            }
        }
    }
    for scope in [json!([]), json!(null), json!("x"), json!([1]), json!(["a b"])] {
        let (status, answer) = local.generate(EMAIL, &federated, json!({ "scope": scope })).await;
        assert_eq!((status, &answer["error"]["status"]), (400, &json!("INVALID_ARGUMENT")), "{scope}");
    }
    assert_eq!(local.generate(EMAIL, &federated, json!({"scope": [""]})).await.0, 200);
    for hostile in ["", "[]", "{", "null", "\u{0}"] {
        let path = format!("{ACCOUNTS}{EMAIL}:generateAccessToken");
        let mut request = post(&path, "application/json", hostile.into());
        request.headers_mut().insert(AUTHORIZATION, format!("Bearer {federated}").parse().unwrap());
        assert_eq!(local.ask(request).await.0, 400, "{hostile}");
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
