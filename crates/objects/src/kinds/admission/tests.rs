use serde_json::{Value, json};

use crate::Object;
use crate::kinds::testing::{defaulted, texts};
use crate::schema::kind;
use crate::validate::{Limits, create, update};

const GROUP: &str = "admissionregistration.k8s.io";

fn object(plural: &str, mut body: Value) -> Object {
    body["metadata"] = json!({"name": "p"});
    Object::from_value(defaulted(GROUP, plural, body)).unwrap()
}

fn found(plural: &str, body: Value) -> Vec<String> {
    texts(create(kind(GROUP, plural).unwrap(), &object(plural, body), &Limits::default()))
}

/// A webhook with another value at one place.
fn hook(field: &str, value: Value) -> Value {
    let mut hook = json!({
        "name": "one.hooks.example", "sideEffects": "None", "admissionReviewVersions": ["v1"],
        "clientConfig": {"url": "https://hooks.example/one"},
        "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}],
    });
    hook[field] = value;
    json!({ "webhooks": [hook] })
}

#[test]
fn a_webhook_has_its_defaults() {
    let body = hook("clientConfig", json!({"service": {"name": "s", "namespace": "n"}}));
    let made = defaulted(GROUP, "mutatingwebhookconfigurations", body.clone());
    let made = &made["webhooks"][0];
    assert_eq!(made["rules"][0]["scope"], "*");
    assert_eq!(made["clientConfig"]["service"]["port"], 443);
    let rest = ["failurePolicy", "matchPolicy", "timeoutSeconds", "reinvocationPolicy", "objectSelector"];
    assert_eq!(
        rest.map(|f| made[f].clone()),
        ["Fail".into(), "Equivalent".into(), 10.into(), "Never".into(), json!({})]
    );
    let other = defaulted(GROUP, "validatingwebhookconfigurations", body);
    assert!(other["webhooks"][0].get("reinvocationPolicy").is_none(), "it changes nothing");
}

#[test]
fn webhooks_are_refused_in_upstreams_words() {
    for (field, value, want) in [
        ("name", json!(""), "webhooks[0].name: Required value"),
        (
            "failurePolicy",
            json!("Maybe"),
            "webhooks[0].failurePolicy: Unsupported value: \"Maybe\": supported values: \"Fail\", \"Ignore\"",
        ),
        (
            "timeoutSeconds",
            json!(31),
            "webhooks[0].timeoutSeconds: Invalid value: 31: the timeout value must be between 1 and 30 seconds",
        ),
        (
            "sideEffects",
            Value::Null,
            "webhooks[0].sideEffects: Required value: must specify one of None, NoneOnDryRun",
        ),
        (
            "admissionReviewVersions",
            json!(["v2"]),
            "webhooks[0].admissionReviewVersions: Invalid value: [\"v2\"]: must include at least one of v1, v1beta1",
        ),
        (
            "admissionReviewVersions",
            json!(["v1", "v1"]),
            "webhooks[0].admissionReviewVersions[1]: Invalid value: \"v1\": duplicate version",
        ),
        (
            "clientConfig",
            json!({"url": "http://a.example"}),
            "webhooks[0].clientConfig.url: Invalid value: \"http\": 'https' is the only allowed URL scheme; desired format: https://host[/path]",
        ),
        (
            "clientConfig",
            json!({"url": "https://a.example/?q=1"}),
            "webhooks[0].clientConfig.url: Invalid value: \"q=1\": query parameters are not permitted in the URL",
        ),
        (
            "clientConfig",
            json!({"service": {"name": "s", "namespace": "n", "path": "xy"}}),
            "webhooks[0].clientConfig.service.path: Invalid value: \"xy\": must start with a '/'",
        ),
        (
            "matchConditions",
            json!([{"name": "a"}]),
            "webhooks[0].matchConditions[0].expression: Required value",
        ),
    ] {
        assert_eq!(found("validatingwebhookconfigurations", hook(field, value)), [want]);
    }
    let mut twice = hook("name", json!("one.hooks.example"));
    let again = twice["webhooks"][0].clone();
    twice["webhooks"].as_array_mut().unwrap().push(again);
    assert_eq!(
        found("mutatingwebhookconfigurations", twice),
        ["webhooks[1].name: Duplicate value: \"one.hooks.example\""]
    );
}

#[test]
fn a_rule_names_nothing_twice() {
    let rule = |resources: Value| {
        let rule = json!({"apiGroups": ["*", "a"], "apiVersions": [""], "operations": ["WRITE"], "resources": resources});
        found("validatingwebhookconfigurations", hook("rules", json!([rule])))
    };
    assert_eq!(
        rule(json!(["*", "pods", "pods/*", "pods/log"])),
        [
            "webhooks[0].rules[0].operations[0]: Unsupported value: \"WRITE\": supported values: \"*\", \"CONNECT\", \"CREATE\", \"DELETE\", \"UPDATE\"",
            "webhooks[0].rules[0].apiGroups: Invalid value: [\"*\",\"a\"]: if '*' is present, must not specify other API groups",
            "webhooks[0].rules[0].apiVersions[0]: Required value",
            "webhooks[0].rules[0].resources[3]: Invalid value: \"pods/log\": if 'pods/*' is present, must not specify pods/log",
            "webhooks[0].rules[0].resources: Invalid value: [\"*\",\"pods\",\"pods/*\",\"pods/log\"]: if '*' is present, must not specify other resources without subresources",
        ]
    );
}

#[test]
fn what_is_stored_already_may_stay() {
    let (of, plural) = (hook("sideEffects", json!("Some")), "validatingwebhookconfigurations");
    let (new, kind) = (object(plural, of), kind(GROUP, plural).unwrap());
    assert!(update(kind, &new, &new, &Limits::default()).is_empty());
    let old = object(plural, hook("sideEffects", json!("None")));
    assert_eq!(update(kind, &new, &old, &Limits::default()).len(), 1);
}

#[test]
fn policies_say_what_they_match_and_do() {
    let rules = json!({"resourceRules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["*"], "resources": ["pods"]}]});
    let made = defaulted(GROUP, "validatingadmissionpolicies", json!({"spec": {"matchConstraints": rules}}));
    assert_eq!(made["spec"]["failurePolicy"], "Fail");
    assert_eq!(made["spec"]["matchConstraints"]["resourceRules"][0]["scope"], "*");
    for (plural, spec, want) in [
        (
            "validatingadmissionpolicies",
            json!({"validations": [{"expression": "true"}]}),
            vec!["spec.matchConstraints: Required value"],
        ),
        (
            "validatingadmissionpolicies",
            json!({"matchConstraints": {}, "validations": [{"expression": " ", "message": "a\nb", "reason": "Gone"}]}),
            vec![
                "spec.matchConstraints.resourceRules: Required value",
                "spec.validations[0].expression: Required value: expression is not specified",
                "spec.validations[0].message: Invalid value: \"a\\nb\": message must not contain line breaks",
                "spec.validations[0].reason: Unsupported value: \"Gone\": supported values: \"Forbidden\", \"Invalid\", \"RequestEntityTooLarge\"",
            ],
        ),
        (
            "validatingadmissionpolicies",
            json!({"matchConstraints": rules, "paramKind": {"apiVersion": "a/b/c"}, "variables": [{"name": "in", "expression": "1"}], "auditAnnotations": [{"key": "k", "valueExpression": "'v'"}]}),
            vec![
                "spec.paramKind.apiVersion: Invalid value: \"a/b/c\": unexpected GroupVersion string: a/b/c",
                "spec.paramKind.kind: Required value",
                "spec.variables[0].name: Invalid value: \"in\": name is not a valid CEL identifier",
            ],
        ),
        (
            "mutatingadmissionpolicies",
            json!({"matchConstraints": rules, "reinvocationPolicy": "Often"}),
            vec![
                "spec.mutations: Required value: mutations must contain at least one item",
                "spec.reinvocationPolicy: Unsupported value: \"Often\": supported values: \"IfNeeded\", \"Never\"",
            ],
        ),
    ] {
        assert_eq!(found(plural, json!({ "spec": spec })), want);
    }
}

#[test]
fn a_binding_names_its_policy_and_what_follows() {
    for (plural, spec, want) in [
        ("mutatingadmissionpolicybindings", json!({}), vec!["spec.policyName: Required value"]),
        (
            "validatingadmissionpolicybindings",
            json!({"policyName": "p", "paramRef": {"name": "a", "selector": {}}, "validationActions": ["Log", "Log"]}),
            vec![
                "spec.paramRef.name: Forbidden: name and selector are mutually exclusive",
                "spec.paramRef.selector: Forbidden: name and selector are mutually exclusive",
                "spec.validationActions[0]: Unsupported value: \"Log\": supported values: \"Audit\", \"Deny\", \"Warn\"",
                "spec.validationActions[1]: Unsupported value: \"Log\": supported values: \"Audit\", \"Deny\", \"Warn\"",
                "spec.validationActions[1]: Duplicate value: \"Log\"",
            ],
        ),
    ] {
        assert_eq!(found(plural, json!({ "spec": spec })), want);
    }
}
