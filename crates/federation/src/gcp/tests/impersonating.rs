//! Who becomes a service account, for how long and for what.

use super::*;

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
