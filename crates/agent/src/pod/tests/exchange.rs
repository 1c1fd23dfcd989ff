//! `tokensmith.dev/exchange`.

use serde_json::{Value, json};
use tokensmith_objects::Object;

use super::super::exchange::ANNOTATION;
use super::super::{Exchange, PodPlan, Source};
use crate::exchange::ExchangeSpec;

fn pod(annotation: &Value) -> Object {
    let text = annotation.as_str().map_or_else(|| annotation.to_string(), str::to_owned);
    Object::from_value(json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"namespace": "n", "name": "p", "uid": "u", "annotations": {ANNOTATION: text}},
        "spec": {
            "containers": [{"name": "c", "image": "i"}],
            "volumes": [
                {"name": "tokens", "projected": {"sources": [
                    {"serviceAccountToken": {"path": "token", "audience": "sts", "expirationSeconds": 600}},
                    {"configMap": {"name": "c", "items": [{"key": "k", "path": "ca/crt"}]}},
                    {"downwardAPI": {"items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]}},
                ]}},
                {"name": "other", "configMap": {"name": "c"}},
            ],
        },
    }))
    .unwrap()
}

#[test]
fn a_pod_says_which_tokens_are_exchanged_for_what() {
    let plan = PodPlan::new(&pod(&json!([
        {"volume": "tokens", "from": "token", "path": "a", "audience": "x", "scope": "read write"},
        {"volume": "tokens", "from": "token", "path": "b/c", "audience": ["x", "y"], "resource": "https://r",
         "scope": ["read"]},
        {"volume": "tokens", "from": "token", "path": "d"},
    ])))
    .unwrap();
    let sources = &plan.volume("tokens").unwrap().sources;
    let token = |at: usize| match &sources[at] {
        Source::ServiceAccountToken(token) => token.clone(),
        other => panic!("{other:?}"),
    };
    assert_eq!((sources.len(), token(0).exchange), (6, None));
    let list = |all: &[&str]| all.iter().map(|one| (*one).to_owned()).collect::<Vec<_>>();
    let one = token(3);
    let spec = ExchangeSpec { audience: list(&["x"]), resource: vec![], scope: list(&["read", "write"]) };
    assert_eq!(one.exchange, Some(Exchange { from: "token".try_into().unwrap(), spec }));
    assert_eq!((one.path.as_str(), one.audience.as_deref(), one.expiration_seconds), ("a", Some("x"), 600));
    let spec =
        ExchangeSpec { audience: list(&["x", "y"]), resource: list(&["https://r"]), scope: list(&["read"]) };
    assert_eq!(token(4).exchange.unwrap().spec, spec);
    assert_eq!((token(5).audience, token(5).exchange.unwrap().spec), (None, ExchangeSpec::default()));
}

#[test]
fn what_a_pod_says_is_judged_as_all_that_it_says() {
    let good = json!({"volume": "tokens", "from": "token", "path": "a"});
    let with = |field: &str, value: Value| {
        let mut entry = good.clone();
        entry[field] = value;
        json!([entry])
    };
    for (annotation, field, why) in [
        (json!(""), "", "must be a JSON list"),
        (json!("{"), "", "must be a JSON list"),
        (json!({}), "", "must be a JSON list"),
        (json!("[{\"path\":\"a\",\"path\":\"b\"}]"), "", "stands in it twice"),
        (json!([7]), "[0]", "must be an object"),
        (json!(vec![good.clone(); 17]), "", "Too many"),
        (json!([good, good]), "[1].path", "another source of the volume has this path"),
        // Where tokens are sent is not for a pod to say.
        (with("url", json!("https://evil.example")), "[0].url", "is no field"),
        (with("exchange", json!("https://evil.example")), "[0].exchange", "is no field"),
        (with("volume", json!("")), "[0].volume", "Required"),
        (with("volume", json!("../tokens")), "[0].volume", "no volume of files"),
        (with("volume", json!("other")), "[0].from", "no serviceAccountToken"),
        (with("from", json!("labels")), "[0].from", "no serviceAccountToken"),
        (with("from", json!("../token")), "[0].from", "must not"),
        (with("path", json!("")), "[0].path", "Required"),
        (with("path", json!("../a")), "[0].path", "must not"),
        (with("path", json!("/a")), "[0].path", "must be a relative path"),
        (with("path", json!("a/../../b")), "[0].path", "must not contain"),
        (with("path", json!("..data")), "[0].path", "must not start with"),
        (with("path", json!("a\u{0}")), "[0].path", "NUL"),
        (with("path", json!("token")), "[0].path", "another source"),
        (with("path", json!("ca/crt")), "[0].path", "another source"),
        (with("path", json!("labels")), "[0].path", "another source"),
        (with("audience", json!("")), "[0].audience", "must not be empty"),
        (with("audience", json!("a\nb")), "[0].audience", "control characters"),
        (with("audience", json!(7)), "[0].audience", "must be a text"),
        (with("audience", json!(["a", 7])), "[0].audience", "must be a text"),
        (with("audience", json!(vec!["a"; 17])), "[0].audience", "Too many"),
        (with("resource", json!("a")), "[0].resource", "absolute URI"),
        (with("scope", json!(["a b"])), "[0].scope", "printable ASCII"),
    ] {
        let error = PodPlan::new(&pod(&annotation)).unwrap_err().to_string();
        let place = format!("metadata.annotations[tokensmith.dev/exchange]{field}: ");
        assert!(
            error.contains(&place) && error.contains(why) && !error.contains('\n'),
            "{annotation}: {error}"
        );
    }
}
