//! What the log says of a refusal: why, and no token.

use super::*;

impl Local {
    async fn why(&self, request: Request<Bytes>) -> String {
        self.gcp.answered(request).await.map(drop).unwrap_err().to_string()
    }

    async fn why_not(&self, provider: &str, token: &str) -> String {
        self.why(exchange_of(&audience(provider), token)).await
    }
}

#[tokio::test]
async fn a_token_that_is_not_taken() {
    let local = local();
    let now = NOW.unix_timestamp();
    let provider = |name: &str| format!("{POOL}/providers/{name}");
    let of = format!("a token for {}: of {ISSUER} and \"{SUBJECT}\": ", provider("cluster"));
    for (changes, reason) in [
        (
            json!({"aud": "other"}),
            format!("aud is [\"other\"], and none of [\"https:{0}\", \"{0}\"]", audience("cluster")),
        ),
        (
            json!({"exp": now - 60}),
            format!("it has expired: iat {now}, nbf None, exp {}, and it is {now}", now - 60),
        ),
        (
            json!({"iat": now + 61}),
            format!(
                "it is issued in the future: iat {}, nbf None, exp {}, and it is {now}",
                now + 61,
                now + 7200
            ),
        ),
        (
            json!({"nbf": now + 61}),
            format!(
                "it is not valid yet: iat {now}, nbf Some({}), exp {}, and it is {now}",
                now + 61,
                now + 7200
            ),
        ),
        (
            json!({"nbf": "x"}),
            format!("nbf is no number: iat {now}, nbf None, exp {}, and it is {now}", now + 7200),
        ),
        (
            json!({"exp": now + 172_800}),
            format!(
                "it lives for 48 hours or more: iat {now}, nbf None, exp {}, and it is {now}",
                now + 172_800
            ),
        ),
        (json!({"iat": null}), "iat or exp is missing, or no number".into()),
        (json!({"kubernetes.io": {"namespace": "other"}}), "the attribute condition does not hold".into()),
    ] {
        let token = token(&local.rsa, &changed(&Local::claims(), &changes));
        assert_eq!(local.why_not("cluster", &token).await, format!("{of}{reason}"), "{changes}");
    }
    let missing = token(&local.rsa, &changed(&Local::claims(), &json!({"kubernetes.io": null})));
    let why = local.why_not("cluster", &missing).await;
    assert!(why.starts_with(&format!("{of}the attribute condition cannot be judged: ")), "{why}");
    let bare = token(&local.rsa, &changed(&Local::claims(), &json!({"sub": null, "aud": "one"})));
    let why = local.why_not("given", &bare).await;
    assert!(why.contains("google.subject cannot be worked out: "), "{why}");
    let good = token(&local.rsa, &Local::claims());
    let header = |header: Value| with_header(&local.rsa, &header, &Local::claims());
    let cluster = format!("a token for {}: ", provider("cluster"));
    for (name, token, reason) in [
        ("missing", good.clone(), format!("{} is none of the providers", provider("missing"))),
        ("disabled", good.clone(), format!("{} is disabled or deleted", provider("disabled"))),
        (
            "cluster",
            header(json!({"alg": "RS256", "kid": "x"})),
            format!("{cluster}jwksJson has no key of the header's kid"),
        ),
        ("cluster", header(json!({"alg": "RS256"})), format!("{cluster}the header has no kid")),
        (
            "cluster",
            header(json!({"alg": "HS256", "kid": "x"})),
            format!("{cluster}alg is HS256, neither RS256 nor ES256"),
        ),
    ] {
        assert_eq!(local.why_not(name, &token).await, reason);
    }
    let closed = format!("//iam.googleapis.com/{POOL}-closed/providers/cluster");
    let why = local.why(exchange_of(&closed, &good)).await;
    assert_eq!(why, format!("{POOL}-closed/providers/cluster is of a pool that is disabled or deleted"));
}

#[tokio::test]
async fn an_account_that_nobody_may_be() {
    let local = local();
    let federated = local.federated().await;
    let principal = format!("principal://iam.googleapis.com/{POOL}/subject/{SUBJECT}");
    let why =
        async |email: &str, bearer: &str, body: Value| local.why(generate_of(email, bearer, &body)).await;
    let body = json!({ "scope": [CLOUD] });
    let told = why("nobody@shop.iam.gserviceaccount.com", &federated, body.clone()).await;
    let begin = format!(
        "{principal} wants to be nobody@shop.iam.gserviceaccount.com: no binding of nobody@shop.iam.gserviceaccount.com with \
         roles/iam.workloadIdentityUser or roles/iam.serviceAccountTokenCreator has one of [\"{principal}\""
    );
    assert!(told.starts_with(&begin), "{told}");
    let next = "next@shop.iam.gserviceaccount.com";
    let delegated = json!({"scope": [CLOUD], "delegates": [format!("projects/-/serviceAccounts/{EMAIL}")]});
    assert_eq!(
        why(next, &federated, delegated).await,
        format!(
            "{principal} wants to be {next}: no binding of {next} with roles/iam.serviceAccountTokenCreator has serviceAccount:{EMAIL}"
        )
    );
    // A name that is none may be a token.
    assert_eq!(why(&federated, &federated, body.clone()).await, "there is no such service account");
    let unknown = "the bearer's token is none of this process, or it is over";
    assert_eq!(why(EMAIL, "x", body.clone()).await, unknown);
    let small = json!({"scope": ["https://www.googleapis.com/auth/devstorage"]});
    let (_, small) = local.generate(next, &federated, small).await;
    let told = why(EMAIL, small["accessToken"].as_str().unwrap(), body.clone()).await;
    assert!(
        told.starts_with(&format!("the token of serviceAccount:{next} has none of the scopes [")),
        "{told}"
    );
    local.clock.advance(Duration::from_secs(3600));
    assert_eq!(why(EMAIL, &federated, body).await, unknown);
}

#[test]
fn what_comes_to_nothing_is_told_as_googles_apis_do() {
    let local = local();
    for (failure, status, name) in [
        (Failure::BrokeOff, 400, "INVALID_ARGUMENT"),
        (Failure::TooLong, 400, "INVALID_ARGUMENT"),
        (Failure::Slow, 504, "DEADLINE_EXCEEDED"),
        (Failure::TimedOut, 504, "DEADLINE_EXCEEDED"),
        (Failure::Internal, 500, "INTERNAL"),
    ] {
        let response = local.gcp.failed(failure, None);
        let body: Value = serde_json::from_slice(response.body()).unwrap();
        assert_eq!((response.status().as_u16(), &body["error"]["code"]), (status, &json!(status)));
        assert_eq!(body["error"]["status"], name);
    }
}
