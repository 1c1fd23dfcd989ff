//! Kinds of a group of their own that are called like built-in ones: they are none of those.

use std::sync::Arc;

use http::Method;
use serde_json::{Value, json};
use tokensmith::{CallError, Server};

use super::widget;

/// Serves such a kind; gives the server.
async fn serving(facts: Value) -> Server {
    let server = Server::ephemeral().start().await.unwrap();
    let kind = Arc::new(widget(facts));
    server.schema().change(|now| now.with(kind.clone()));
    server
}

fn refusal(answer: Result<Value, CallError>) -> u16 {
    match answer {
        Err(CallError::Refused { code, .. }) => code,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_pod_of_another_group_needs_no_containers_and_no_time_to_stop() {
    let server = serving(json!({"kind": "Pod", "plural": "pods", "singular": "pod"})).await;
    let all = "/apis/example.com/v1/namespaces/default/pods";
    let pod = json!({"metadata": {"name": "a"}, "spec": {"size": 1}});
    let made = server.call(Method::POST, all, Some(&pod)).await.unwrap();
    assert_eq!((&made["spec"], &made["status"]), (&json!({"size": 1}), &json!({})), "nothing was filled in");
    assert_eq!(made["metadata"].get("generation"), None);
    let mut larger = made.clone();
    larger["spec"]["size"] = 2.into();
    let larger = server.call(Method::PUT, &format!("{all}/a"), Some(&larger)).await.unwrap();
    assert_eq!(larger["spec"]["size"], 2);
    let gone = server.call(Method::DELETE, &format!("{all}/a?gracePeriodSeconds=60"), None).await.unwrap();
    assert_eq!((&gone["kind"], &gone["details"]["kind"]), (&json!("Status"), &json!("pods")));
    let selected = server.call(Method::GET, &format!("{all}?fieldSelector=spec.nodeName%3Dn"), None).await;
    assert_eq!(refusal(selected), 400);
    assert_eq!(
        refusal(
            server.call(Method::PUT, &format!("{all}/b"), Some(&json!({"metadata": {"name": "b"}}))).await
        ),
        404
    );
}

#[tokio::test]
async fn a_namespace_of_another_group_holds_nothing_and_waits_for_nothing() {
    let facts =
        json!({"kind": "Namespace", "plural": "namespaces", "singular": "namespace", "namespaced": false});
    let server = serving(facts).await;
    let all = "/apis/example.com/v1/namespaces";
    // No namespace could be called so.
    let made = server.call(Method::POST, all, Some(&json!({"metadata": {"name": "a.b"}}))).await.unwrap();
    assert_eq!((&made["status"], made["metadata"].get("labels")), (&json!({}), None));
    assert_eq!(server.call(Method::DELETE, &format!("{all}/a.b"), None).await.unwrap()["kind"], "Status");
    assert_eq!(refusal(server.call(Method::GET, &format!("{all}/a.b"), None).await), 404);
}

/// Whoever may serve a kind could otherwise have tokens of the accounts of the same name.
#[tokio::test]
async fn an_account_or_a_review_of_another_group_is_not_answered_as_the_built_in_one() {
    let token = json!({"name": "token", "kind": "TokenRequest", "group": "authentication.k8s.io", "version": "v1", "verbs": ["create"]});
    let facts = json!({"kind": "ServiceAccount", "plural": "serviceaccounts", "subresources": [token]});
    let server = serving(facts).await;
    let request = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}});
    let ask = async |path: &str| server.call(Method::POST, path, Some(&request)).await;
    assert!(ask("/api/v1/namespaces/default/serviceaccounts/default/token").await.is_ok());
    assert_eq!(
        refusal(ask("/apis/example.com/v1/namespaces/default/serviceaccounts/default/token").await),
        404
    );

    for (kind, plural) in [("TokenReview", "tokenreviews"), ("SubjectAccessReview", "subjectaccessreviews")] {
        let facts =
            json!({"kind": kind, "plural": plural, "namespaced": false, "stored": false, "subresources": []});
        let review = Arc::new(widget(facts));
        server.schema().change(|now| now.with(review.clone()));
        let sent = json!({"spec": {"size": 1}});
        let answer = server.call(Method::POST, &format!("/apis/example.com/v1/{plural}"), Some(&sent)).await;
        assert_eq!(refusal(answer), 404, "{kind}");
    }
}
