use serde_json::{Value, json};

use super::*;
use crate::kinds::testing::created;
use crate::schema::kind;
use crate::validate::status_update;

/// What is told of a cron job's job: its selector and labels are not asked for.
fn told(spec: Value) -> Vec<String> {
    let mut job = json!({"template": {"spec": {"restartPolicy": "Never", "containers": [
        {"name": "c", "image": "i", "imagePullPolicy": "Always", "terminationMessagePolicy": "File"}],
        "dnsPolicy": "Default"}}});
    job.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    let cron = json!({"spec": {"schedule": "* * * * *", "concurrencyPolicy": "Allow", "jobTemplate": {"spec": job}}});
    let found = created("batch", "cronjobs", cron);
    found.into_iter().map(|text| text.replacen("spec.jobTemplate.", "", 1)).collect()
}

fn failing(rules: Value) -> Vec<String> {
    let found = told(json!({"podFailurePolicy": {"rules": rules}}));
    found.into_iter().map(|text| text.replacen("spec.podFailurePolicy.", "", 1)).collect()
}

fn succeeding(rules: Value) -> Vec<String> {
    let found =
        told(json!({"completionMode": "Indexed", "completions": 10, "successPolicy": {"rules": rules}}));
    found.into_iter().map(|text| text.replacen("spec.successPolicy.", "", 1)).collect()
}

#[test]
fn exit_codes_by_which_a_job_fails() {
    let code = |codes: Value| failing(json!([{"action": "FailJob", "onExitCodes": codes}]));
    let at = "rules[0].onExitCodes.";
    assert!(code(json!({"operator": "In", "containerName": "c", "values": [1, 2, 255]})).is_empty());
    assert_eq!(
        code(json!({"operator": "In", "containerName": "x", "values": [2, 0, 2]})),
        [
            format!(
                "{at}containerName: Invalid value: \"x\": must be one of the container or initContainer names in the pod template"
            ),
            format!("{at}values[1]: Invalid value: 0: must not be 0 for the In operator"),
            format!("{at}values[2]: Duplicate value: 2"),
            format!("{at}values: Invalid value: [2,0,2]: must be ordered"),
        ]
    );
    assert!(code(json!({"operator": "NotIn", "values": [0]})).is_empty());
    assert_eq!(
        code(json!({"operator": "Out", "values": []})),
        [
            format!("{at}operator: Unsupported value: \"Out\": supported values: \"In\", \"NotIn\""),
            format!("{at}values: Invalid value: []: at least one value is required"),
        ]
    );
    let many: Vec<_> = (1..=256).collect();
    assert_eq!(
        code(json!({ "values": many })),
        [
            format!("{at}operator: Required value: valid values: [\"In\" \"NotIn\"]"),
            format!("{at}values: Too many: 256: must have at most 255 items"),
        ]
    );
}

#[test]
fn conditions_by_which_a_job_fails() {
    let patterns = json!([{"type": "a b", "status": "Maybe"}, {"type": "A"}]);
    let both = json!({"operator": "In", "values": [1]});
    let rules = json!([
        {"action": "FailIndex", "onPodConditions": patterns},
        {"action": "Ignore"},
        {"action": "Count", "onExitCodes": both, "onPodConditions": [{"type": "A", "status": "True"}]},
    ]);
    let found = failing(rules);
    let (name, rest) = (&found[1], [&found[0], &found[2], &found[3], &found[4]]);
    assert!(
        name.starts_with("rules[0].onPodConditions[0].type: Invalid value: \"a b\": name part must"),
        "{name}"
    );
    assert_eq!(
        rest,
        [
            "rules[0].action: Invalid value: \"FailIndex\": requires the backoffLimitPerIndex to be set",
            "rules[0].onPodConditions[0].status: Unsupported value: \"Maybe\": supported values: \"False\", \"True\", \"Unknown\"",
            // Its default is filled in where jobs are made.
            "rules[0].onPodConditions[1].status: Required value: valid values: [\"False\" \"True\" \"Unknown\"]",
            "rules[1]: Invalid value: specifying one of OnExitCodes and OnPodConditions is required",
        ]
    );
    assert_eq!(
        found[5..],
        ["rules[2]: Invalid value: specifying both OnExitCodes and OnPodConditions is not supported"]
    );
    let many = vec![json!({"action": "Count", "onPodConditions": [{"type": "A", "status": "True"}]}); 21];
    assert_eq!(failing(many.into()), ["rules: Too many: 21: must have at most 20 items"]);
}

#[test]
fn indexes_by_which_a_job_succeeds() {
    assert!(succeeding(json!([{"succeededIndexes": "0,2-4,9", "succeededCount": 5}])).is_empty());
    for (indexes, problem) in [
        ("0,10", "too large index: \"10\""),
        ("3-1", "non-increasing order, previous: 3, current: 1"),
        ("3,3", "non-increasing order, previous: 3, current: 3"),
        ("0-1,1", "non-increasing order, previous: 1, current: 1"),
        ("x", "cannot convert string to integer for index: \"x\""),
        ("-1", "cannot convert string to integer for index: \"\""),
        (
            "1-2-3",
            "the fragment \"1-2-3\" violates the requirement that an index interval can have at most two parts separated by '-'",
        ),
    ] {
        let want = format!(
            "rules[0].succeededIndexes: Invalid value: \"{indexes}\": error parsing succeededIndexes: {problem}"
        );
        assert_eq!(succeeding(json!([{"succeededIndexes": indexes}])), [want]);
    }
    assert_eq!(
        succeeding(
            json!([{}, {"succeededCount": 11}, {"succeededIndexes": "0-1", "succeededCount": 3}, {"succeededCount": -1}])
        ),
        [
            "rules[0]: Required value: at least one of succeededCount or succeededIndexes must be specified",
            "rules[1].succeededCount: Invalid value: 11: must be less than or equal to 10 (the number of specified completions)",
            "rules[2].succeededCount: Invalid value: 3: must be less than or equal to 2 (the number of indexes in the specified succeededIndexes field)",
            "rules[3].succeededCount: Invalid value: -1: must be greater than or equal to 0",
        ]
    );
    assert_eq!(
        succeeding(json!([])),
        ["rules: Required value: at least one rules must be specified when the successPolicy is specified"]
    );
    assert_eq!(
        told(json!({"successPolicy": {"rules": [{"succeededIndexes": "0"}]}})),
        [
            "spec.successPolicy: Invalid value: {\"Rules\":[{\"SucceededIndexes\":\"0\",\"SucceededCount\":null}]}: requires indexed completion mode"
        ]
    );
}

#[test]
fn what_goes_with_indexes() {
    let found = told(
        json!({"completionMode": "Indexed", "completions": 100_001, "parallelism": 100_001, "backoffLimitPerIndex": 1, "maxFailedIndexes": 100_002}),
    );
    let with_many = "when completions are above 100000 and used with backoff limit per index";
    assert_eq!(
        found,
        [
            "spec.parallelism: Invalid value: 100001: must be less than or equal to 100000 when completion mode is Indexed".into(),
            "spec.maxFailedIndexes: Invalid value: 100002: must be less than or equal to completions".into(),
            "spec.maxFailedIndexes: Invalid value: 100002: must be less than or equal to 100000".into(),
            format!("spec.parallelism: Invalid value: 100001: must be less than or equal to 10000 {with_many}"),
            format!("spec.maxFailedIndexes: Invalid value: 100002: must be less than or equal to 10000 {with_many}"),
        ]
    );
    let found = told(json!({"maxFailedIndexes": 1, "managedBy": "-/x y"}));
    assert_eq!(found[0], "spec.backoffLimitPerIndex: Required value: when maxFailedIndexes is specified");
    assert!(
        found[1].starts_with("spec.managedBy: Invalid value: \"-\": a lowercase RFC 1123 subdomain"),
        "{found:?}"
    );
    assert!(found[2].starts_with("spec.managedBy: Invalid value: \"x y\": Invalid path"), "{found:?}");
    assert_eq!(found[3], "spec.maxFailedIndexes: Invalid value: 1: requires indexed completion mode");
}

fn says(spec: Value, new: Value, old: Value) -> Vec<String> {
    let job = |status: Value| {
        Object::from_value(
            json!({"metadata": {"name": "j", "namespace": "n"}, "spec": spec, "status": status}),
        )
        .unwrap()
    };
    let found = status_update(kind("batch", "jobs").unwrap(), &job(new), &job(old));
    found.told().iter().map(ToString::to_string).collect()
}

fn holding(kinds: &[&str]) -> Value {
    kinds.iter().map(|kind| json!({"type": kind, "status": "True"})).collect()
}

#[test]
fn a_job_that_is_complete_says_so_whole() {
    let done = json!({"startTime": "2026-01-01T00:00:00Z", "completionTime": "2026-01-01T00:01:00Z",
        "conditions": holding(&["SuccessCriteriaMet", "Complete"])});
    assert!(says(json!({}), done.clone(), json!({})).is_empty());
    assert_eq!(
        says(
            json!({}),
            json!({"conditions": holding(&["Complete"]), "active": 1, "terminating": 2, "uncountedTerminatedPods": {"failed": ["u"]}}),
            json!({})
        ),
        [
            "status.completionTime: Required value: completionTime is required for Complete jobs",
            "status.conditions: Invalid value: cannot set Complete=True condition without the SuccessCriteriaMet=true condition",
            "status.active: Invalid value: 1: active>0 is invalid for finished job",
            "status.startTime: Required value: startTime is required for finished job",
            "status.uncountedTerminatedPods: Invalid value: {\"Succeeded\":null,\"Failed\":[\"u\"]}: uncountedTerminatedPods needs to be empty for finished job",
            "status.terminating: Invalid value: 2: terminating>0 is invalid for finished job",
        ]
    );
    let mut late = done.clone();
    late["completionTime"] = "2025-12-31T23:59:59Z".into();
    assert_eq!(
        says(json!({}), late, done.clone()),
        [
            "status.completionTime: Invalid value: \"2025-12-31T23:59:59Z\": completionTime cannot be set before startTime",
            "status.completionTime: Invalid value: \"2025-12-31T23:59:59Z\": completionTime cannot be mutated",
        ]
    );
    assert_eq!(
        says(json!({}), json!({"startTime": "2026-01-01T00:00:00Z"}), done),
        [
            "status.conditions: Invalid value: cannot disable the terminal Complete=True condition",
            "status.conditions: Invalid value: cannot disable the SuccessCriteriaMet=True condition",
        ]
    );
    let both = json!({"startTime": "2026-01-01T00:00:00Z", "conditions": holding(&["Failed", "SuccessCriteriaMet", "FailureTarget"])});
    assert_eq!(
        says(json!({}), both, json!({})),
        [
            "status.conditions: Invalid value: cannot set SuccessCriteriaMet=True and Failed=true conditions",
            "status.conditions: Invalid value: cannot set SuccessCriteriaMet=True and FailureTarget=true conditions",
        ]
    );
}

#[test]
fn what_a_job_has_counted_is_not_taken_back() {
    let counts = |failed: i64, succeeded: i64| json!({"failed": failed, "succeeded": succeeded});
    let (failed, succeeded) = (
        "status.failed: Invalid value: 1: cannot decrease the failed counter",
        "status.succeeded: Invalid value: 1: cannot decrease the succeeded counter",
    );
    assert_eq!(says(json!({}), counts(1, 1), counts(2, 2)), [failed, succeeded]);
    let elastic = json!({"completionMode": "Indexed", "completions": 2, "parallelism": 2});
    assert_eq!(says(elastic, counts(1, 1), counts(2, 2)), [failed]);
    assert_eq!(
        says(
            json!({}),
            json!({"active": -1, "ready": 1, "uncountedTerminatedPods": {"succeeded": ["", "u"], "failed": ["u"]}}),
            json!({})
        ),
        [
            "status.active: Invalid value: -1: must be greater than or equal to 0",
            "status.uncountedTerminatedPods.succeeded[0]: Invalid value: \"\": must not be empty",
            "status.uncountedTerminatedPods.failed[0]: Duplicate value: \"u\"",
            "status.ready: Invalid value: 1: cannot set more ready pods than active",
        ]
    );
}

#[test]
fn an_index_fails_or_is_complete() {
    let spec = json!({"completionMode": "Indexed", "completions": 10, "backoffLimitPerIndex": 1});
    let of = |completed: &str, failed: &str| json!({"completedIndexes": completed, "failedIndexes": failed});
    assert!(says(spec.clone(), of("0-2,5", "3-4,9"), json!({})).is_empty());
    assert_eq!(
        says(spec.clone(), of("0-2,5-7", "3,6-8"), json!({})),
        [
            "status.failedIndexes: Invalid value: \"3,6-8\": failedIndexes and completedIndexes overlap at index: 6"
        ]
    );
    assert!(says(spec.clone(), of("0", "0"), of("0", "0")).is_empty(), "nobody has changed it");
    assert_eq!(
        says(spec, of("x", "99"), json!({})),
        [
            "status.completedIndexes: Invalid value: \"x\": error parsing completedIndexes: cannot convert string to integer for index: \"x\"",
            "status.failedIndexes: Invalid value: \"99\": error parsing failedIndexes: too large index: \"99\"",
        ]
    );
    assert_eq!(
        says(json!({"completionMode": "NonIndexed"}), of("1", ""), json!({})),
        [
            "status.completedIndexes: Invalid value: \"1\": cannot set non-empty completedIndexes when non-indexed completion mode",
            "status.failedIndexes: Invalid value: \"\": cannot set non-null failedIndexes when backoffLimitPerIndex is null",
        ]
    );
}
