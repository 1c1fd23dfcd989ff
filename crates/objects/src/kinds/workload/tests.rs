use serde_json::{Value, json};

use super::cron;
use crate::kinds::testing::{defaulted, texts};
use crate::schema::kind;
use crate::strategy::{prepare_create, prepare_update};
use crate::validate::{Limits, create, update};
use crate::{Object, defaults};

fn of(group: &str, plural: &str, spec: Value) -> Object {
    let body = json!({
        "metadata": {"name": "a", "namespace": "n", "uid": "u", "resourceVersion": "1"}, "spec": spec,
    });
    let mut object = Object::from_value(body).unwrap();
    defaults::apply(kind(group, plural).unwrap(), &mut object);
    object
}

fn refused(group: &str, plural: &str, spec: Value) -> Vec<String> {
    texts(create(kind(group, plural).unwrap(), &of(group, plural, spec), &Limits::default()))
}

/// A spec that is good, and what is different.
fn with(change: Value) -> Value {
    let mut spec = json!({
        "selector": {"matchLabels": {"app": "x"}},
        "template": {"metadata": {"labels": {"app": "x"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}},
    });
    spec.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
    spec
}

#[test]
fn a_template_has_the_defaults_of_pods_but_for_what_pods_get_when_they_are_made() {
    let spec = with(json!({"template": {"spec": {
        "serviceAccount": "s", "hostNetwork": true, "terminationGracePeriodSeconds": -1,
        "containers": [{"name": "c", "image": "i:1", "ports": [{"containerPort": 1}], "resources": {"limits": {"cpu": "1.5m"}}}],
    }}}));
    let made = defaulted("apps", "replicasets", json!({"spec": spec}));
    let spec = &made["spec"]["template"]["spec"];
    assert_eq!(spec["serviceAccountName"], "s");
    assert_eq!(spec["containers"][0]["ports"], json!([{"containerPort": 1, "protocol": "TCP"}]));
    assert_eq!(spec["containers"][0]["resources"], json!({"limits": {"cpu": "2m"}}));
    for field in ["tolerations", "enableServiceLinks"] {
        assert!(spec.get(field).is_none(), "{field}");
    }
    assert_eq!(spec["terminationGracePeriodSeconds"], -1);
}

#[test]
fn an_image_without_a_tag_is_pulled_each_time_and_what_is_no_image_is_not() {
    for (image, always) in [
        ("busybox", true),
        ("a/b", true),
        ("HOST.example:5000/a/b", true),
        ("a:latest", true),
        ("a:1", false),
        ("a@sha256:0", false),
        (" a", false),
        ("A", false),
        ("a/", false),
        ("a:b c", false),
        ("", false),
    ] {
        let spec = with(json!({"template": {"spec": {"containers": [{"name": "c", "image": image}]}}}));
        let made = defaulted("apps", "replicasets", json!({"spec": spec}));
        let policy = &made["spec"]["template"]["spec"]["containers"][0]["imagePullPolicy"];
        assert_eq!(policy == "Always", always, "{image}: {policy}");
    }
}

#[test]
fn defaults_of_defaults_are_the_same() {
    for (group, plural) in [
        ("", "replicationcontrollers"),
        ("", "podtemplates"),
        ("apps", "deployments"),
        ("apps", "replicasets"),
        ("apps", "statefulsets"),
        ("apps", "daemonsets"),
        ("batch", "jobs"),
        ("batch", "cronjobs"),
        ("policy", "poddisruptionbudgets"),
    ] {
        let once = defaulted(group, plural, json!({"spec": with(json!({"volumeClaimTemplates": [{}]}))}));
        assert_eq!(defaulted(group, plural, once.clone()), once, "{plural}");
    }
}

#[test]
fn what_is_refused_of_workloads() {
    let labels = "`selector` does not match template `labels`";
    for (group, plural, change, want) in [
        ("apps", "deployments", json!({}), vec![]),
        ("apps", "deployments", json!({"strategy": {"rollingUpdate": {"maxSurge": "x", "maxUnavailable": "101%"}}}), vec![
            "spec.strategy.rollingUpdate.maxSurge: Invalid value: \"x\": a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')".to_owned(),
            "spec.strategy.rollingUpdate.maxUnavailable: Invalid value: \"101%\": must not be greater than 100%".into(),
        ]),
        ("apps", "replicasets", json!({"minReadySeconds": -2, "selector": {"matchLabels": {"app": "y"}}}), vec![
            "spec.minReadySeconds: Invalid value: -2: must be greater than or equal to 0".into(),
            format!("spec.template.metadata.labels: Invalid value: {{\"app\":\"x\"}}: {labels}"),
        ]),
        ("apps", "daemonsets", json!({"updateStrategy": {"rollingUpdate": {"maxUnavailable": 0}}}), vec![
            "spec.updateStrategy.rollingUpdate.maxUnavailable: Required value: cannot be 0 when maxSurge is 0".into(),
        ]),
        ("apps", "daemonsets", json!({"updateStrategy": {"rollingUpdate": {"maxSurge": "10%"}}}), vec![
            "spec.updateStrategy.rollingUpdate.maxSurge: Invalid value: \"10%\": may not be set when maxUnavailable is non-zero".into(),
        ]),
        ("apps", "statefulsets", json!({"updateStrategy": {"type": "OnDelete", "rollingUpdate": {"partition": 2}}}), vec![
            "spec.updateStrategy.rollingUpdate: Invalid value: {\"Partition\":2,\"MaxUnavailable\":null}: only allowed for updateStrategy 'RollingUpdate'".into(),
        ]),
        ("", "replicationcontrollers", json!({"selector": {"app": "z"}, "replicas": -1}), vec![
            "spec.replicas: Invalid value: -1: must be greater than or equal to 0".into(),
            format!("spec.template.metadata.labels: Invalid value: {{\"app\":\"x\"}}: {labels}"),
        ]),
    ] {
        assert_eq!(refused(group, plural, with(change)), want, "{plural}");
    }
    let deadline = json!({"template": {"metadata": {"labels": {"app": "x"}}, "spec": {
        "activeDeadlineSeconds": 5, "containers": [{"name": "c", "image": "i"}], "ephemeralContainers": [{"name": "e", "image": "i", "terminationMessagePolicy": "File"}],
    }}});
    assert_eq!(
        refused("apps", "replicasets", with(deadline)),
        [
            "spec.template.spec.ephemeralContainers: Forbidden: ephemeral containers not allowed in pod template",
            "spec.template.spec.activeDeadlineSeconds: Forbidden: activeDeadlineSeconds in ReplicaSet is not Supported",
        ]
    );
}

#[test]
fn annotations_of_a_deployment_count_and_a_daemon_set_counts_its_templates() {
    for (plural, annotations, template) in
        [("deployments", 2, 2), ("daemonsets", 1, 2), ("replicasets", 1, 2)]
    {
        let kind = kind("apps", plural).unwrap();
        let mut old = of("apps", plural, with(json!({})));
        prepare_create(kind, &mut old);
        let generation = |change: &dyn Fn(&mut Object)| {
            let mut new = old.clone();
            change(&mut new);
            prepare_update(kind, &mut new, &old);
            let counted = new.annotation("deprecated.daemonset.template.generation").map(str::to_owned);
            (new.at(&["metadata", "generation"]).and_then(Value::as_i64), counted)
        };
        let counted = |n: &str| (plural == "daemonsets").then(|| n.to_owned());
        let said = generation(&|new| new.set(&["metadata", "annotations", "a"], "b"));
        assert_eq!(said, (Some(annotations), counted("1")), "{plural}");
        let said = generation(&|new| new.set(&["spec", "template", "spec", "hostname"], "h"));
        assert_eq!(said, (Some(template), counted("2")), "{plural}");
    }
}

#[test]
fn a_job_selects_by_its_own_uid_and_is_called_by_it() {
    let jobs = kind("batch", "jobs").unwrap();
    let template = json!({"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}});
    let made = |spec: Value, labels: Value| {
        let mut job = of("batch", "jobs", spec);
        if !labels.is_null() {
            job.set(&["metadata", "labels"], labels);
        }
        prepare_create(jobs, &mut job);
        job
    };
    let job = made(json!({"template": template}), json!(null));
    let own = json!({
        "batch.kubernetes.io/controller-uid": "u", "batch.kubernetes.io/job-name": "a", "controller-uid": "u", "job-name": "a",
    });
    assert_eq!(
        job.at(&["spec", "selector"]),
        Some(&json!({"matchLabels": {"batch.kubernetes.io/controller-uid": "u"}}))
    );
    assert_eq!(
        (job.at(&["metadata", "labels"]), job.at(&["spec", "template", "metadata", "labels"])),
        (Some(&own), Some(&own))
    );
    assert!(create(jobs, &job, &Limits::default()).is_empty());
    // One that is called something is called nothing else.
    let job = made(json!({"template": template}), json!({"mine": "1"}));
    assert_eq!(job.at(&["metadata", "labels"]), Some(&json!({"mine": "1"})));
    let manual =
        json!({"template": template, "manualSelector": true, "selector": {"matchLabels": {"a": "b"}}});
    assert_eq!(made(manual, json!(null)).at(&["metadata", "labels"]), None);
}

#[test]
fn of_a_job_only_some_numbers_change() {
    let jobs = kind("batch", "jobs").unwrap();
    let template = json!({"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}});
    let changed = |old: Value, change: &dyn Fn(&mut Object)| {
        let mut old = of("batch", "jobs", old);
        prepare_create(jobs, &mut old);
        let mut new = old.clone();
        change(&mut new);
        texts(update(jobs, &new, &old, &Limits::default()))
    };
    let plain = json!({"template": template});
    let indexed =
        json!({"template": template, "completionMode": "Indexed", "completions": 2, "parallelism": 2});
    let waits = json!({"template": template, "suspend": true});
    assert!(changed(plain.clone(), &|job| job.set(&["spec", "parallelism"], 3)).is_empty());
    assert_eq!(
        changed(plain.clone(), &|job| job.set(&["spec", "completions"], 3)),
        ["spec.completions: Invalid value: 3: field is immutable"]
    );
    assert!(
        changed(indexed.clone(), &|job| {
            job.set(&["spec", "completions"], 3);
            job.set(&["spec", "parallelism"], 3);
        })
        .is_empty()
    );
    assert_eq!(
        changed(indexed, &|job| job.set(&["spec", "completions"], 3)),
        ["spec.completions: Invalid value: 3: can only be modified in tandem with spec.parallelism"]
    );
    let nodes = |job: &mut Object| job.set(&["spec", "template", "spec", "nodeSelector"], json!({"a": "b"}));
    assert!(changed(waits, &nodes).is_empty());
    assert_eq!(changed(plain, &nodes).len(), 1);
}

#[test]
fn schedules_are_read_as_cron_reads_them() {
    for good in
        ["0 3 * * *", "*/5 1-3,7 ? JAN-mar sun", "@every 1h30m", "@midnight", " 1  2 3 4 5 ", "0/7 * * * *"]
    {
        assert_eq!(cron::schedule(good), Ok(()), "{good}");
    }
    for (bad, want) in [
        ("", "empty spec string"),
        ("* * * * * *", "expected exactly 5 fields, found 6: [* * * * * *]"),
        ("* 24 * * *", "end of range (24) above maximum (23): 24"),
        ("* * 0 * *", "beginning of range (0) below minimum (1): 0"),
        ("5-1 * * * *", "beginning of range (5) beyond end of range (1): 5-1"),
        ("*/0 * * * *", "step of range should be a positive number: */0"),
        ("1-2-3 * * * *", "too many hyphens: 1-2-3"),
        ("1/2/3 * * * *", "too many slashes: 1/2/3"),
        ("x * * * *", "failed to parse int from x: strconv.Atoi: parsing \"x\": invalid syntax"),
        ("* * * * 7", "end of range (7) above maximum (6): 7"),
        ("@fortnightly", "unrecognized descriptor: @fortnightly"),
    ] {
        assert_eq!(cron::schedule(bad), Err(want.to_owned()), "{bad}");
    }
    for (zone, good) in
        [("Europe/Berlin", true), ("Etc/UTC", true), ("UTC", true), ("Nowhere", false), ("../etc", false)]
    {
        assert_eq!(cron::zone(zone).is_ok(), good, "{zone}");
    }
}

#[test]
fn who_writes_a_template_is_told_what_a_pods_author_is() {
    let unwise = json!({"metadata": {"labels": {"app": "x"}}, "spec": {
        "containers": [{"name": "c", "image": "i"}], "nodeSelector": {"beta.kubernetes.io/os": "linux"},
    }});
    let text =
        "nodeSelector[beta.kubernetes.io/os]: deprecated since v1.14; use \"kubernetes.io/os\" instead";
    for (group, plural, at) in [
        ("apps", "deployments", "spec.template"),
        ("apps", "replicasets", "spec.template"),
        ("apps", "daemonsets", "spec.template"),
        ("apps", "statefulsets", "spec.template"),
        ("batch", "jobs", "spec.template"),
        ("batch", "cronjobs", "spec.jobTemplate.spec.template"),
        ("", "replicationcontrollers", "spec.template"),
        ("", "podtemplates", "template"),
    ] {
        let rules = kind(group, plural).unwrap().rules();
        let mut object = of(group, plural, json!({}));
        object.set(&at.split('.').collect::<Vec<_>>(), unwise.clone());
        object.set(&["metadata", "generation"], 2);
        let want = [format!("{at}.spec.{text}")];
        assert_eq!(rules.warnings(&object, None), want, "{plural}");
        let mut old = object.clone();
        assert_eq!(rules.warnings(&object, Some(&old)), [""; 0], "{plural}");
        old.set(&["metadata", "generation"], 1);
        assert_eq!(rules.warnings(&object, Some(&old)), want, "{plural}");
        object.set(&["metadata", "name"], "a.b");
        let named = rules.warnings(&object, None).len() - 1;
        assert_eq!(named, usize::from(!["daemonsets", "podtemplates"].contains(&plural)), "{plural}");
    }
    let mut set = of(
        "apps",
        "statefulsets",
        json!({"revisionHistoryLimit": -1, "volumeClaimTemplates": [
            {"spec": {"resources": {"requests": {"storage": "1500m"}}}},
        ]}),
    );
    let rules = kind("apps", "statefulsets").unwrap().rules();
    assert_eq!(
        rules.warnings(&set, None),
        [
            "spec.volumeClaimTemplates[0].resources.requests[storage]: fractional byte value \"1500m\" is invalid, must be an integer",
            "spec.revisionHistoryLimit: a negative value retains all historical revisions; a value >= 0 is recommended",
        ]
    );
    set.set(&["metadata", "name"], "A");
    assert_eq!(
        rules.warnings(&set, None)[0],
        "metadata.name: this is used in Pod names and hostnames, which can result in surprising behavior; a DNS label is recommended: [a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')]"
    );
    let wide = json!({"completionMode": "Indexed", "completions": 100_001, "parallelism": 10_001});
    let told = kind("batch", "jobs").unwrap().rules().warnings(&of("batch", "jobs", wide), None);
    assert!(told.len() == 1 && told[0].starts_with("spec: In Indexed Jobs with"), "{told:?}");
}

#[test]
fn a_set_keeps_as_many_revisions_as_it_likes_and_its_disks_are_claims() {
    let refused = |change: Value| refused("apps", "statefulsets", with(change));
    assert!(
        refused(json!({"revisionHistoryLimit": -1, "template": template(json!({"hostname": "A"}))}))
            .is_empty()
    );
    let disk = json!({"metadata": {"name": "d"}, "spec": {"accessModes": ["x"], "resources": {"requests": {"storage": "0"}}}});
    assert_eq!(
        refused(json!({"volumeClaimTemplates": [disk]})),
        [
            "spec.volumeClaimTemplates[0].spec.accessModes: Unsupported value: \"x\": supported values: \"ReadOnlyMany\", \"ReadWriteMany\", \"ReadWriteOnce\", \"ReadWriteOncePod\"",
            "spec.volumeClaimTemplates[0].spec.resources[storage]: Invalid value: \"0\": must be greater than zero",
        ]
    );
    // Upstream judges the labels with the template, and by themselves.
    let mut template = template(json!({}));
    template["metadata"]["labels"]["y"] = "!".into();
    assert_eq!(refused(json!({"template": template})).len(), 2);
}

fn template(more: Value) -> Value {
    let mut spec = json!({"containers": [{"name": "c", "image": "i"}]});
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({"metadata": {"labels": {"app": "x"}}, "spec": spec})
}

#[test]
fn a_set_has_no_part_of_a_feature_that_is_off() {
    let kind = kind("apps", "statefulsets").unwrap();
    let rolling =
        |more: Value| with(json!({"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": more}}));
    let most = ["spec", "updateStrategy", "rollingUpdate", "maxUnavailable"];
    let (mut new, old) = (
        of("apps", "statefulsets", rolling(json!({"maxUnavailable": 1}))),
        of("apps", "statefulsets", rolling(json!({}))),
    );
    let stored = new.clone();
    prepare_update(kind, &mut new, &stored);
    assert!(new.at(&most).is_some(), "what is in use stays");
    prepare_update(kind, &mut new, &old);
    assert_eq!(new.at(&most), None);
    let mut new = stored;
    prepare_create(kind, &mut new);
    assert_eq!(new.at(&most), None);
}

#[test]
fn what_a_resting_job_needs_may_change_and_what_it_is_may_not() {
    let jobs = kind("batch", "jobs").unwrap();
    let job = |image: &str, cpu: &str, suspend: bool| {
        let container = json!({"name": "c", "image": image, "resources": {"requests": {"cpu": cpu}}});
        let spec = json!({"suspend": suspend, "template": {"spec": {"restartPolicy": "Never", "containers": [container]}}});
        let mut job = of("batch", "jobs", spec);
        prepare_create(jobs, &mut job);
        job
    };
    let told = |new: &Object, old: &Object| texts(update(jobs, new, old, &Limits::default()));
    assert!(told(&job("i", "2", true), &job("i", "1", true)).is_empty());
    let found = told(&job("j", "2", true), &job("i", "1", true));
    assert!(found[0].starts_with("spec.template.spec: Invalid value: {\"Volumes\":null,"), "{found:?}");
    let found = told(&job("i", "2", false), &job("i", "1", false));
    assert!(found[0].starts_with("spec.template: Invalid value: {\"labels\":"), "{found:?}");
    let mut active = job("i", "1", true);
    active.set(&["status", "active"], 1);
    assert_eq!(told(&job("i", "2", true), &active).len(), 1);
}

#[test]
fn a_revision_counts_first() {
    let body = json!({"metadata": {"name": "a", "namespace": "n"}, "revision": -1});
    let object = Object::from_value(body).unwrap();
    assert_eq!(
        texts(create(kind("apps", "controllerrevisions").unwrap(), &object, &Limits::default())),
        [
            "revision: Invalid value: -1: must be greater than or equal to 0",
            "data: Required value: data is mandatory"
        ]
    );
}
