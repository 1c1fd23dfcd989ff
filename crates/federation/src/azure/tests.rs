//! The rules on an assertion, the endpoints, and the configuration. Signatures need an issuer's documents: tests/federation.

use std::collections::{HashMap, HashSet};

use futures::FutureExt;
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Value, json};
use tokensmith_api::moment;
use tokensmith_api::yaml;

use super::assertion::{in_time, matching, read};
use super::config::{Application, Credential};
use super::*;
use crate::config::tests::is_placed;
use crate::fixtures::{ISSUER, NOW, changed, means};
use crate::token::tests::unsigned;

const TENANT: &str = "11111111-1111-1111-1111-111111111111";
const CLIENT: &str = "22222222-2222-2222-2222-222222222222";
const BARE: &str = "33333333-3333-3333-3333-333333333333";
const SUBJECT: &str = "system:serviceaccount:default:app";
const AUDIENCE: &str = "api://AzureADTokenExchange";

fn config() -> String {
    format!(
        "tenants:
- tenantId: {TENANT}
  displayName: Contoso
  domains: [contoso.onmicrosoft.com]
  applications:
  - appId: {CLIENT}
    displayName: app
    federatedIdentityCredentials:
    - {{name: cluster, issuer: '{ISSUER}', subject: '{SUBJECT}', audiences: ['{AUDIENCE}'], id: x, description: y}}
    - {{name: other, issuer: '{ISSUER}', subject: other, audiences: [second], resourceGroup: g, systemData: null, type: Microsoft.ManagedIdentity/x,
       claimsMatchingExpression: null}}
  - {{appId: {BARE}, displayName: bare}}
"
    )
}

fn local() -> Azure {
    let raw: RawConfig = yaml::config(config().as_bytes()).unwrap();
    Azure::new(Config::new(raw, &[ISSUER].into()).unwrap(), means().0)
}

fn claims() -> Value {
    let now = NOW.unix_timestamp();
    json!({"iss": ISSUER, "sub": SUBJECT, "aud": [AUDIENCE], "iat": now, "nbf": now, "exp": now + 3600})
}

fn header() -> Value {
    json!({"alg": "RS256", "kid": "k"})
}

async fn ask(azure: &Azure, request: Request<Bytes>) -> (u16, Value) {
    assert!(azure.owns(request.uri().path()), "{}", request.uri());
    let response = azure.answer(request).await;
    (response.status().as_u16(), serde_json::from_slice(response.body()).unwrap())
}

async fn get(azure: &Azure, path: &str) -> (u16, Value) {
    ask(azure, Request::get(path).body(Bytes::new()).unwrap()).await
}

#[test]
fn each_broken_form_of_an_assertion_has_its_code() {
    let code = |header: Value, claims: Value| match read(&unsigned(&header.to_string(), &claims.to_string()))
    {
        Ok(_) => (0, ""),
        Err(refusal) => (refusal.code, refusal.error),
    };
    let of_header = |changes: Value| code(changed(&header(), &changes), claims());
    let of_claims = |changes: Value| code(header(), changed(&claims(), &changes));
    for taken in [
        json!({}),
        json!({"typ": "JWT"}),
        json!({"typ": "jwt"}),
        json!({"typ": "http://openid.net/specs/jwt/1.0"}),
    ] {
        assert_eq!(of_header(taken.clone()), (0, ""), "{taken}");
    }
    for (changes, code, error) in [
        (json!({"typ": "at+jwt"}), 5_002_727, "invalid_request"),
        (json!({"typ": 1}), 5_002_727, "invalid_request"),
        (json!({"alg": "ES256"}), 5_002_738, "invalid_client"),
        (json!({"alg": "RS512"}), 5_002_738, "invalid_client"),
        (json!({"alg": "none"}), 5_002_738, "invalid_client"),
        (json!({"alg": null}), 5_002_738, "invalid_client"),
        (json!({"kid": null}), 5_002_723, "invalid_client"),
        (json!({"kid": 7}), 5_002_723, "invalid_client"),
    ] {
        assert_eq!(of_header(changes.clone()), (code, error), "{changes}");
    }
    for (changes, code, error) in [
        (json!({"iss": null}), 90_014, "invalid_request"),
        (json!({"aud": null}), 90_014, "invalid_request"),
        (json!({"sub": null}), 50_027, "invalid_request"),
        (json!({"exp": null}), 50_027, "invalid_request"),
        (json!({"exp": "later"}), 50_027, "invalid_request"),
        (json!({"nbf": []}), 50_027, "invalid_request"),
        (json!({"iss": 1}), 50_027, "invalid_request"),
        (json!({"sub": [SUBJECT]}), 50_027, "invalid_request"),
        (json!({"aud": []}), 50_027, "invalid_request"),
        (json!({"aud": [1]}), 50_027, "invalid_request"),
    ] {
        assert_eq!(of_claims(changes.clone()), (code, error), "{changes}");
    }
    for hostile in ["", "x", "a.b.c", "....", "e30.e30", &"x".repeat(200_000)] {
        assert_eq!(read(hostile).unwrap_err().code, 50_027);
    }
}

#[test]
fn issuer_subject_and_audience_are_compared_letter_by_letter() {
    let credential = |issuer: &str, subject: &str, audience: &str| Credential {
        issuer: issuer.into(),
        subject: subject.into(),
        audience: audience.into(),
    };
    let credentials =
        vec![credential(ISSUER, SUBJECT, AUDIENCE), credential("https://b.example", "other", "second")];
    let application = Application { id: Uuid::nil(), name: "app".into(), credentials };
    let of = |changes: Value| match matching(
        &application,
        CLIENT,
        changed(&claims(), &changes).as_object().unwrap(),
    ) {
        Ok(_) => (0, String::new()),
        Err(refusal) => (refusal.code, refusal.text),
    };
    for good in [
        json!({}),
        json!({"aud": AUDIENCE}),
        json!({"aud": ["more", AUDIENCE]}),
        json!({"iss": "https://b.example", "sub": "other", "aud": "second"}),
    ] {
        assert_eq!(of(good.clone()).0, 0, "{good}");
    }
    let upper = SUBJECT.to_uppercase();
    for (changes, code, found) in [
        (json!({"iss": format!("{ISSUER}/")}), 700_211, format!("issuer '{ISSUER}/'")),
        (json!({"iss": ISSUER.to_uppercase()}), 700_211, format!("issuer '{}'", ISSUER.to_uppercase())),
        (json!({"sub": "other"}), 700_213, "subject 'other'".to_owned()),
        (
            json!({"sub": upper.as_str()}),
            7_002_138,
            format!("subject '{upper}'. The subject matches with case-insensitive"),
        ),
        (json!({"aud": "second"}), 700_212, "audience 'second'".to_owned()),
        (
            json!({"aud": "API://AzureADTokenExchange"}),
            700_212,
            "audience 'API://AzureADTokenExchange'".to_owned(),
        ),
        (json!({"iss": "https://b.example"}), 700_213, format!("subject '{SUBJECT}'")),
    ] {
        let (told, text) = of(changes.clone());
        assert!(told == code && text.contains(&found), "{changes}: {told} {text}");
    }
}

#[test]
fn times_hold_within_five_minutes() {
    let now = NOW.unix_timestamp();
    let of = |changes: Value| {
        let claims = changed(&claims(), &changes);
        in_time(claims.as_object().unwrap(), NOW).map_err(|refusal| refusal.code)
    };
    for good in [
        json!({}),
        json!({"exp": now - 299}),
        json!({"nbf": now + 300, "iat": now + 300}),
        json!({"nbf": null, "iat": null}),
        json!({"exp": i64::MAX}),
    ] {
        assert_eq!(of(good.clone()), Ok(()), "{good}");
    }
    for late in [
        json!({"exp": now - 300}),
        json!({"nbf": now + 301}),
        json!({"iat": now + 301}),
        json!({"nbf": null, "iat": now + 301}),
        json!({"exp": i64::MIN}),
    ] {
        assert_eq!(of(late.clone()), Err(700_024), "{late}");
    }
    let refusal = in_time(
        changed(&claims(), &json!({"exp": 0})).as_object().unwrap(),
        moment::from_unix(1_800_000_000),
    );
    let text = refusal.unwrap_err().text;
    assert!(text.contains("expiry time of assertion 1970-01-01T00:00:00.0000000Z."), "{text}");
}

#[tokio::test]
async fn each_broken_request_has_its_code() {
    let azure = local();
    let token = unsigned(&header().to_string(), &claims().to_string());
    let good = json!({
        "grant_type": "client_credentials",
        "client_id": CLIENT,
        "scope": "https://vault.azure.net/.default",
        "client_assertion_type": ASSERTION_TYPE,
        "client_assertion": token,
    });
    let post = async |tenant: &str, changes: Value| {
        let form = changed(&good, &changes);
        let pairs = form.as_object().unwrap().iter().map(|(name, value)| (name, value.as_str().unwrap()));
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
        ask(&azure, Request::post(format!("/{tenant}/oauth2/v2.0/token")).body(body.into()).unwrap()).await
    };
    for (tenant, changes, status, error, code) in [
        (TENANT, json!({"grant_type": null}), 400, "invalid_request", 900_144),
        (TENANT, json!({"grant_type": "password"}), 400, "unsupported_grant_type", 70_003),
        (TENANT, json!({"client_id": null}), 400, "invalid_request", 900_144),
        (TENANT, json!({"scope": ""}), 400, "invalid_request", 900_144),
        (TENANT, json!({"scope": "https://vault.azure.net"}), 400, "invalid_scope", 1_002_012),
        (TENANT, json!({"scope": "openid"}), 400, "invalid_scope", 1_002_012),
        (TENANT, json!({"scope": "a/.default b/.default"}), 400, "invalid_scope", 1_002_012),
        (TENANT, json!({"scope": "a/.default a/.default"}), 400, "invalid_scope", 1_002_012),
        (TENANT, json!({"scope": "a/.default User.Read"}), 400, "invalid_scope", 1_002_012),
        (TENANT, json!({"scope": "a\tb/.default"}), 400, "invalid_scope", 1_002_012),
        // Those of OpenID Connect, as MSAL for Go and for Java send them: the next rule is judged.
        (
            TENANT,
            json!({"scope": "a/.default openid offline_access profile", "client_assertion": "x"}),
            400,
            "invalid_request",
            50_027,
        ),
        (TENANT, json!({"scope": "/.default"}), 400, "invalid_scope", 1_002_012),
        ("44444444-4444-4444-4444-444444444444", json!({}), 400, "invalid_request", 90_002),
        ("other.onmicrosoft.com", json!({}), 400, "invalid_request", 90_002),
        ("invalid_tenant", json!({}), 400, "invalid_request", 900_023),
        (TENANT, json!({"client_id": TENANT}), 400, "unauthorized_client", 700_016),
        (TENANT, json!({"client_id": "app"}), 400, "unauthorized_client", 700_016),
        (TENANT, json!({"client_assertion": null}), 401, "invalid_client", 7_000_216),
        (TENANT, json!({"client_assertion": null, "client_secret": "x"}), 401, "invalid_client", 7_000_215),
        (TENANT, json!({"client_assertion_type": null}), 400, "invalid_request", 900_144),
        (TENANT, json!({"client_assertion_type": "jwt"}), 400, "invalid_request", 90_013),
        (TENANT, json!({"client_assertion": "x"}), 400, "invalid_request", 50_027),
        (TENANT, json!({"client_id": BARE}), 401, "invalid_client", 70_025),
        ("Contoso.OnMicrosoft.com", json!({"client_id": BARE}), 401, "invalid_client", 70_025),
    ] {
        let (told, answer) = post(tenant, changes.clone()).await;
        assert_eq!(
            (told, &answer["error"], &answer["error_codes"]),
            (status, &json!(error), &json!([code])),
            "{changes}"
        );
        let description = answer["error_description"].as_str().unwrap();
        assert!(description.starts_with(&format!("AADSTS{code}: ")), "{description}");
    }
    let twice = format!("/{TENANT}/oauth2/v2.0/token");
    let twice = Request::post(twice).body("scope=a&scope=b".into()).unwrap();
    assert_eq!(ask(&azure, twice).await.1["error_codes"], json!([90_013]));
    assert_eq!(get(&azure, &format!("/{TENANT}/oauth2/v2.0/token")).await.0, 400);
    // The first version has a resource instead of a scope; the next rule is judged.
    let first = async |body: String| {
        ask(
            &azure,
            Request::post(format!("/{TENANT}/oauth2/token?api-version=1.0")).body(body.into()).unwrap(),
        )
        .await
        .1
    };
    let of = format!("grant_type=client_credentials&client_id={CLIENT}&");
    let told = first(format!("{of}scope=x/.default")).await;
    assert!(told["error_description"].as_str().unwrap().contains("parameter: 'resource'"), "{told}");
    assert_eq!(
        first(format!("{of}resource=https://vault.azure.net")).await["error_codes"],
        json!([7_000_216])
    );
    let slashes = Request::post(format!("//{TENANT}/oauth2/v2.0/token")).body(Bytes::new()).unwrap();
    assert_eq!(ask(&azure, slashes).await.1["error_codes"], json!([900_144]));
}

#[test]
fn openid_connect_core_section_5_4_scopes_give_nothing() {
    for scope in [
        "https://vault.azure.net/.default",
        // MSAL for Go and for Java.
        "https://vault.azure.net/.default openid offline_access profile",
        "openid profile email offline_access https://vault.azure.net/.default",
        " openid  https://vault.azure.net/.default  openid ",
    ] {
        assert_eq!(resource(scope), Ok("https://vault.azure.net"), "{scope}");
    }
    // The resource of such a name ends with a stroke.
    assert_eq!(resource("https://vault.azure.net//.default"), Ok("https://vault.azure.net/"));
}

#[tokio::test]
async fn documents_are_those_that_msal_wants() {
    let azure = local();
    let url = "https://127.0.0.1:6444";
    for tenant in [TENANT, "contoso.onmicrosoft.com"] {
        let (status, document) =
            get(&azure, &format!("/{tenant}/v2.0/.well-known/openid-configuration")).await;
        for same in [
            format!("/{tenant}/.well-known/openid-configuration"),
            format!("//{tenant}//v2.0/.well-known//openid-configuration"),
        ] {
            assert_eq!(get(&azure, &same).await, (status, document.clone()), "{same}");
        }
        assert_eq!((status, &document["issuer"]), (200, &json!(format!("{url}/{TENANT}/v2.0"))));
        assert_eq!(document["token_endpoint"], format!("{url}/{TENANT}/oauth2/v2.0/token"));
        assert!(document["authorization_endpoint"].is_string());
        let keys = document["jwks_uri"].as_str().unwrap().strip_prefix(url).unwrap();
        assert_eq!(get(&azure, keys).await.1["keys"].as_array().unwrap().len(), 1);
    }
    let (status, answer) = get(&azure, "/other.example/v2.0/.well-known/openid-configuration").await;
    assert_eq!(
        (status, &answer["error"], &answer["error_codes"]),
        (400, &json!("invalid_tenant"), &json!([90_002]))
    );
    let instance = |endpoint: String| {
        format!("/common/discovery/instance?api-version=1.1&authorization_endpoint={endpoint}")
    };
    let (status, answer) = get(&azure, &instance(format!("{url}/{TENANT}/oauth2/v2.0/authorize"))).await;
    assert_eq!((status, &answer["metadata"][0]["aliases"]), (200, &json!(["127.0.0.1:6444"])));
    let there = format!("{url}/{TENANT}/v2.0/.well-known/openid-configuration");
    assert_eq!(
        (&answer["tenant_discovery_endpoint"], &answer["api-version"]),
        (&json!(there), &json!("1.1"))
    );
    for elsewhere in [
        "https://evil.example/x/oauth2/v2.0/authorize".into(),
        format!("{url}.evil/x/oauth2/v2.0/authorize"),
        String::new(),
    ] {
        let (status, answer) = get(&azure, &instance(elsewhere)).await;
        assert_eq!(
            (status, &answer["error"], &answer["error_codes"]),
            (400, &json!("invalid_instance"), &json!([50_049]))
        );
    }
    for other in [
        "/",
        "/x",
        "/common/oauth2/authorize",
        "//oauth2/v2.0/token",
        "//",
        "//common//oauth2/authorize",
        &format!("/{TENANT}/oauth2/v2.0/tokens"),
        &format!("/{TENANT}/oauth2/v2.0/token/"),
        &format!("/{TENANT}/oauth2/v2.0/token/x"),
        &format!("/{TENANT}/oauth2/v2.0"),
        &format!("/{TENANT}/x/oauth2/v2.0/token"),
    ] {
        assert!(!azure.owns(other), "{other}");
    }
}

#[tokio::test]
async fn a_request_id_comes_back_where_it_is_wanted() {
    let azure = local();
    let id = "5b3a4c1e-8f0d-4c59-9b52-0d7a3fd2f6a1";
    let request = |back: &str| {
        let request = Request::post(format!("/{TENANT}/oauth2/v2.0/token")).header("client-request-id", id);
        request.header("return-client-request-id", back).body(Bytes::new()).unwrap()
    };
    let response = azure.answer(request("true")).await;
    assert_eq!(response.headers()["client-request-id"], id);
    let body: Value = serde_json::from_slice(response.body()).unwrap();
    assert_eq!(body["correlation_id"], id);
    assert!(!azure.answer(request("false")).await.headers().contains_key("client-request-id"));
}

#[test]
fn what_comes_to_nothing_is_told_with_the_requests_id() {
    let azure = local();
    let id = Uuid::from_u128(7);
    for (failure, status, error, code) in [
        (Failure::BrokeOff, 400, "invalid_request", 90_013),
        (Failure::Slow, 408, "invalid_request", 90_013),
        (Failure::TooLong, 413, "invalid_request", 90_013),
        (Failure::TimedOut, 504, "temporarily_unavailable", 90_006),
        (Failure::Internal, 500, "server_error", 50_000),
    ] {
        let response = azure.failed(failure, Some(id));
        let body: Value = serde_json::from_slice(response.body()).unwrap();
        assert_eq!(
            (response.status().as_u16(), &body["error"], &body["error_codes"]),
            (status, &json!(error), &json!([code]))
        );
        assert_eq!(body["correlation_id"], id.to_string());
    }
}

#[tokio::test]
async fn the_log_says_why_and_for_whom() {
    let azure = local();
    let why = async |tenant: &str, client: &str, header: Value, changes: Value| {
        let token = unsigned(&header.to_string(), &changed(&claims(), &changes).to_string());
        let body = form_urlencoded::Serializer::new(String::new())
            .extend_pairs([
                ("grant_type", "client_credentials"),
                ("client_id", client),
                ("scope", "x/.default"),
            ])
            .extend_pairs([("client_assertion_type", ASSERTION_TYPE), ("client_assertion", &token)])
            .finish();
        azure.token(tenant, Version::V2, body.as_bytes()).await.unwrap_err().to_string()
    };
    let of = format!("a token for application {CLIENT} of tenant {TENANT}: ");
    let whose = format!("{of}of {ISSUER} and \"{SUBJECT}\": ");
    for (changes, reason) in [
        (
            json!({"aud": "x"}),
            format!("{whose}aud is [\"x\"], and the credential's audience is \"{AUDIENCE}\""),
        ),
        (json!({"sub": null}), format!("{of}sub is missing, or no text")),
        (json!({"exp": null}), format!("{of}exp is missing, or no number")),
        (json!({"nbf": "x"}), format!("{of}nbf is missing, or no number")),
        (json!({"aud": [1]}), format!("{of}aud is neither a text nor a list of texts")),
        // The fixture's issuers have no documents.
        (json!({}), format!("{whose}the issuer's keys are not available: ")),
    ] {
        let told = why(TENANT, CLIENT, header(), changes.clone()).await;
        assert!(told.starts_with(&reason), "{changes}: {told}");
    }
    let other = "44444444-4444-4444-4444-444444444444";
    assert_eq!(why(other, CLIENT, header(), json!({})).await, format!("there is no tenant {other}"));
    assert_eq!(why(TENANT, other, header(), json!({})).await, format!("there is no application {other}"));
}

#[test]
fn a_log_has_no_values_of_parameters() {
    let value = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ4In0.c2lnbmF0dXJlLXRoYXQtaXMtbG9uZw";
    for refusal in [
        Refusal::unsupported_grant(value),
        Refusal::no_tenant(value),
        Refusal::unknown_tenant(value),
        Refusal::unknown_tenant_document(value),
        Refusal::unknown_application(value, "Contoso"),
        resource(value).unwrap_err(),
        repeated(Repeated(value.to_owned())),
    ] {
        let logged = refusal.to_string();
        assert!(!logged.contains("eyJ") && !logged.is_empty(), "{logged}");
    }
    assert!(repeated(Repeated("scope".into())).to_string().contains("'scope'"));
}

#[test]
fn what_cannot_be_a_configuration_is_refused_with_its_place() {
    let good = config();
    let many = (0..21)
        .map(|i| format!("\n    - {{name: n{i:03}, issuer: '{ISSUER}', subject: s{i}, audiences: [a]}}"))
        .collect::<String>();
    for (from, to, why) in [
        (TENANT, "contoso", "a GUID is needed"),
        ("contoso.onmicrosoft.com", "contoso", "a domain is needed"),
        (CLIENT, "app", "a GUID is needed"),
        (BARE, CLIENT, "the application is there twice in its tenant"),
        ("subject: other", &format!("subject: '{SUBJECT}'"), "issuer and subject are there twice"),
        ("name: other", "name: cluster", "the name is there twice"),
        ("name: other", "name: a/b", "a name has 3 to 120"),
        ("[second]", "[second, third]", "exactly one audience, and not 2"),
        ("[second]", "[]", "exactly one audience, and not 0"),
        ("[second]", &format!("[{}]", "x".repeat(601)), "1 to 600 characters"),
        ("subject: other", "subject: ''", "1 to 600 characters"),
        (
            "claimsMatchingExpression: null",
            "claimsMatchingExpression: {value: x, languageVersion: 1}",
            "claimsMatchingExpression is not judged here",
        ),
        (ISSUER, "https://other.example.com", "this is none of `issuers`"),
        ("displayName: app", "dispalyName: app", "unknown field `dispalyName`"),
        (
            "\n    federatedIdentityCredentials:",
            &format!("\n    federatedIdentityCredentials:{many}"),
            "may have 20 federated",
        ),
    ] {
        assert!(good.contains(from), "{from}");
        let raw = yaml::config(good.replacen(from, to, 1).as_bytes());
        let told = raw.and_then(|raw| Config::new(raw, &[ISSUER].into())).map(drop).unwrap_err().to_string();
        assert!(told.contains(why) && is_placed(&told), "{from} -> {to}: {told}");
    }
    assert!(Config::new(yaml::config(good.as_bytes()).unwrap(), &HashSet::new()).is_err());
}

#[tokio::test]
async fn the_last_of_ten_thousand_applications_is_found_by_its_id() {
    let mut text = format!("tenants:\n- tenantId: {TENANT}\n  applications:");
    for i in 0..10_000 {
        text += &format!(
            "\n  - appId: 22222222-2222-2222-2222-{i:012}\n    federatedIdentityCredentials:\n    - {{name: one, issuer: \
             '{ISSUER}', subject: s{i}, audiences: [a]}}"
        );
    }
    let raw: RawConfig = yaml::config(text.as_bytes()).unwrap();
    let azure = Azure::new(Config::new(raw, &[ISSUER].into()).unwrap(), means().0);
    // That it costs a look-up, and no search, is said by the type.
    let applications: &HashMap<Uuid, Application> = &azure.tenant(TENANT).unwrap().applications;
    assert_eq!(applications.len(), 10_000);
    let token = unsigned(&header().to_string(), &claims().to_string());
    let body = form_urlencoded::Serializer::new(String::new())
        .extend_pairs([
            ("grant_type", "client_credentials"),
            ("client_id", "22222222-2222-2222-2222-000000009999"),
            ("scope", "x/.default"),
            ("client_assertion_type", ASSERTION_TYPE),
            ("client_assertion", &token),
        ])
        .finish();
    let (_, answer) =
        ask(&azure, Request::post(format!("/{TENANT}/oauth2/v2.0/token")).body(body.into()).unwrap()).await;
    assert_eq!(answer["error_codes"], json!([700_213]));
}

#[test]
fn what_a_stranger_sends_is_refused_and_never_more() {
    let azure = local();
    proptest!(|(body in vec(any::<u8>(), 0..600), header in ".{0,40}", claims in ".{0,80}")| {
        let request = Request::post(format!("/{TENANT}/oauth2/v2.0/token")).body(body.into()).unwrap();
        let (status, answer) = ask(&azure, request).now_or_never().expect("nobody is asked for keys");
        prop_assert!(status == 400 && answer["error_codes"].is_array());
        prop_assert!(read(&unsigned(&header, &claims)).is_err());
    });
}
