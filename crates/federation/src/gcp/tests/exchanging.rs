//! What becomes of a token at `POST /v1/token`: each rule, by the error that its breach has.

use super::*;

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
