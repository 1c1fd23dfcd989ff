use serde_json::{Value, json};

use crate::schema::kind;
use crate::validate::Limits;
use crate::{Object, defaults, validate};

/// A message for each rule, with the wording and the path that upstream has for it.
#[test]
fn what_is_refused_of_a_pod() {
    let refused = |change: Value| {
        let mut pod = json!({
            "metadata": {"name": "a", "namespace": "n"},
            "spec": {"serviceAccountName": "s", "containers": [{"name": "c", "image": "i"}], "volumes": [{"name": "v", "emptyDir": {}}]},
        });
        for (field, value) in change.as_object().unwrap() {
            match field.strip_prefix("c:") {
                Some(field) => pod["spec"]["containers"][0][field] = value.clone(),
                None => pod["spec"][field] = value.clone(),
            }
        }
        let mut pod = Object::from_value(pod).unwrap();
        defaults::apply(kind("", "pods").unwrap(), &mut pod);
        let found = validate::create(kind("", "pods").unwrap(), &pod, &Limits::default()).told();
        found.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let affinity = |term: Value| json!({"affinity": {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}});
    let nodes = |requirement: Value| json!({"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [{"matchExpressions": [requirement]}]}}}});
    let resources = |resources: Value| json!({"c:resources": resources});
    let env = |from: Value| json!({"c:env": [{"name": "A", "valueFrom": from}]});
    for (change, want) in [
        (
            resources(json!({"requests": {"cpu": "2"}, "limits": {"cpu": "1"}})),
            vec![
                "spec.containers[0].resources.requests: Invalid value: \"2\": must be less than or equal to cpu limit of 1",
            ],
        ),
        (
            resources(json!({"requests": {"cpu": "-1"}})),
            vec![
                "spec.containers[0].resources.requests[cpu]: Invalid value: \"-1\": must be greater than or equal to 0",
            ],
        ),
        (
            resources(json!({"limits": {"gpu": "1"}})),
            vec![
                "spec.containers[0].resources.limits[gpu]: Invalid value: \"gpu\": must be a standard resource type or fully qualified",
                "spec.containers[0].resources.limits[gpu]: Invalid value: \"gpu\": must be a standard resource for containers",
                "spec.containers[0].resources.requests[gpu]: Invalid value: \"gpu\": must be a standard resource type or fully qualified",
                "spec.containers[0].resources.requests[gpu]: Invalid value: \"gpu\": must be a standard resource for containers",
            ],
        ),
        (
            resources(json!({"limits": {"example.com/x": "1500m"}})),
            vec![
                "spec.containers[0].resources.limits[example.com/x]: Invalid value: \"1500m\": must be an integer",
                "spec.containers[0].resources.requests[example.com/x]: Invalid value: \"1500m\": must be an integer",
            ],
        ),
        (
            resources(json!({"requests": {"hugepages-2Mi": "2Mi"}})),
            vec![
                "spec.containers[0].resources.limits: Required value: Limit must be set for non overcommitable resources",
                "spec.containers[0].resources: Forbidden: HugePages require cpu or memory",
            ],
        ),
        (
            json!({"schedulingGates": [{"name": "a b"}]}),
            vec![
                "spec.schedulingGates[0]: Invalid value: \"a b\": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')",
            ],
        ),
        (
            json!({"schedulingGates": [{"name": "a"}, {"name": "a"}]}),
            vec!["spec.schedulingGates[1]: Duplicate value: \"a\""],
        ),
        (
            json!({"tolerations": [{"key": "a", "operator": "Exists", "value": "x", "effect": "NoExecute", "tolerationSeconds": 1}]}),
            vec![
                "spec.tolerations[0].operator: Invalid value: \"x\": value must be empty when `operator` is 'Exists'",
            ],
        ),
        (
            json!({"tolerations": [{"effect": "Sometimes", "operator": "Equal"}]}),
            vec![
                "spec.tolerations[0].operator: Invalid value: \"Equal\": operator must be Exists when `key` is empty, which means \"match all values and all keys\"",
                "spec.tolerations[0].effect: Unsupported value: \"Sometimes\": supported values: \"NoSchedule\", \"PreferNoSchedule\", \"NoExecute\"",
            ],
        ),
        (
            json!({"tolerations": [{"key": "a", "effect": "NoSchedule", "tolerationSeconds": 5}]}),
            vec![
                "spec.tolerations[0].effect: Invalid value: \"NoSchedule\": effect must be 'NoExecute' when `tolerationSeconds` is set",
            ],
        ),
        (
            nodes(json!({"key": "a", "operator": "In"})),
            vec![
                "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0].matchExpressions[0].values: Required value: must be specified when `operator` is 'In' or 'NotIn'",
            ],
        ),
        (
            nodes(json!({"key": "a", "operator": "Gt", "values": ["1", "2"]})),
            vec![
                "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0].matchExpressions[0].values: Required value: must be specified single value when `operator` is 'Lt' or 'Gt'",
            ],
        ),
        (
            affinity(json!({"topologyKey": "zone", "matchLabelKeys": ["a"]})),
            vec![
                "spec.affinity.podAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].matchLabelKeys: Forbidden: must not be specified when labelSelector is not set",
            ],
        ),
        (
            affinity(
                json!({"topologyKey": "zone", "namespaces": ["A"], "labelSelector": {"matchExpressions": [{"key": "a", "operator": "Maybe"}]}}),
            ),
            vec![
                "spec.affinity.podAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].labelSelector.matchExpressions[0].operator: Invalid value: \"Maybe\": not a valid selector operator",
                "spec.affinity.podAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].namespace: Invalid value: \"A\": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')",
            ],
        ),
        (
            json!({"nodeSelector": {"a/b/c": "x"}}),
            vec![
                "spec.nodeSelector: Invalid value: \"a/b/c\": a valid label key must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]') with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')",
            ],
        ),
        (
            json!({"hostAliases": [{"ip": "1.2.3", "hostnames": ["ok"]}]}),
            vec![
                "spec.hostAliases[0].ip: Invalid value: \"1.2.3\": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
            ],
        ),
        (
            json!({"topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "z", "whenUnsatisfiable": "Maybe", "minDomains": 1}]}),
            vec![
                "spec.topologySpreadConstraints[0].whenUnsatisfiable: Unsupported value: \"Maybe\": supported values: \"DoNotSchedule\", \"ScheduleAnyway\"",
                "spec.topologySpreadConstraints[0].minDomains: Invalid value: 1: can only use minDomains if whenUnsatisfiable=DoNotSchedule, not Maybe",
            ],
        ),
        (
            json!({"topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "z", "whenUnsatisfiable": "DoNotSchedule"}, {"maxSkew": 2, "topologyKey": "z", "whenUnsatisfiable": "DoNotSchedule"}]}),
            vec![
                "spec.topologySpreadConstraints[0].{topologyKey, whenUnsatisfiable}: Duplicate value: \"{z, DoNotSchedule}\"",
            ],
        ),
        (
            json!({"overhead": {"cpu": "-1"}}),
            vec!["spec.overhead.limits[cpu]: Invalid value: \"-1\": must be greater than or equal to 0"],
        ),
        (
            json!({"c:ports": [{"name": "-x-", "containerPort": 70000, "hostPort": 1, "protocol": "ICMP"}]}),
            vec![
                "spec.containers[0].ports[0].name: Invalid value: \"-x-\": must not begin or end with a hyphen",
                "spec.containers[0].ports[0].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive",
                "spec.containers[0].ports[0].protocol: Unsupported value: \"ICMP\": supported values: \"SCTP\", \"TCP\", \"UDP\"",
            ],
        ),
        (
            env(json!({})),
            vec![
                "spec.containers[0].env[0].valueFrom: Invalid value: \"\": must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`",
            ],
        ),
        (
            env(json!({"fieldRef": {"fieldPath": "spec.restartPolicy"}})),
            vec![
                "spec.containers[0].env[0].valueFrom.fieldRef.fieldPath: Unsupported value: \"spec.restartPolicy\": supported values: \"metadata.name\", \"metadata.namespace\", \"metadata.uid\", \"spec.nodeName\", \"spec.serviceAccountName\", \"status.hostIP\", \"status.hostIPs\", \"status.podIP\", \"status.podIPs\"",
            ],
        ),
        (
            env(json!({"fieldRef": {"fieldPath": "spec.x"}})),
            vec![
                "spec.containers[0].env[0].valueFrom.fieldRef.fieldPath: Invalid value: \"spec.x\": error converting fieldPath: field label not supported: spec.x",
            ],
        ),
        (
            env(json!({"resourceFieldRef": {"resource": "limits.cpu", "divisor": "2"}})),
            vec![
                "spec.containers[0].env[0].valueFrom.resourceFieldRef.divisor: Invalid value: \"limits.cpu\": only divisor's values 1m and 1 are supported with the cpu resource",
            ],
        ),
        (
            json!({"c:volumeMounts": [{"name": "v", "mountPath": "/a", "subPath": "/x"}, {"name": "w", "mountPath": "/a"}]}),
            vec![
                "spec.containers[0].volumeMounts.subPath: Invalid value: \"/x\": must be a relative path",
                "spec.containers[0].volumeMounts[1].name: Not found: \"w\"",
                "spec.containers[0].volumeMounts[1].mountPath: Invalid value: \"/a\": must be unique",
            ],
        ),
        (
            json!({"c:securityContext": {"privileged": true, "allowPrivilegeEscalation": false}}),
            vec![
                "spec.containers[0].securityContext: Invalid value: {\"Capabilities\":null,\"Privileged\":true,\"SELinuxOptions\":null,\"WindowsOptions\":null,\"RunAsUser\":null,\"RunAsGroup\":null,\"RunAsNonRoot\":null,\"ReadOnlyRootFilesystem\":null,\"AllowPrivilegeEscalation\":false,\"ProcMount\":null,\"SeccompProfile\":null,\"AppArmorProfile\":null}: cannot set `allowPrivilegeEscalation` to false and `privileged` to true",
            ],
        ),
        (
            json!({"hostNetwork": true, "c:ports": [{"containerPort": 1, "hostPort": 2}]}),
            vec![
                "spec.containers[0].ports[0].hostPort: Invalid value: 2: must match `containerPort` when `hostNetwork` is true",
            ],
        ),
        (
            json!({"volumes": [{"name": "v", "hostPath": {"path": "/a/../b", "type": "Hole"}, "secret": {"secretName": "s"}}]}),
            vec![
                "spec.volumes[0].hostPath.path: Invalid value: \"/a/../b\": must not contain '..'",
                "spec.volumes[0].hostPath.type: Unsupported value: \"Hole\": supported values: \"\", \"BlockDevice\", \"CharDevice\", \"Directory\", \"DirectoryOrCreate\", \"File\", \"FileOrCreate\", \"Socket\"",
                "spec.volumes[0].secret: Forbidden: may not specify more than 1 volume type",
            ],
        ),
        (
            json!({"resources": {"requests": {"cpu": "1"}}, "c:resources": {"requests": {"cpu": "2"}}}),
            vec![
                "spec.resources.requests[cpu]: Invalid value: \"1\": must be greater than or equal to aggregate container requests of 2",
            ],
        ),
        (
            json!({"resourceClaims": [{"name": "r"}], "c:resources": {"claims": [{"name": "q"}]}}),
            vec![
                "spec.resourceClaims[0]: Invalid value: {\"Name\":\"r\",\"ResourceClaimName\":null,\"ResourceClaimTemplateName\":null}: must specify one of: `resourceClaimName`, `resourceClaimTemplateName`",
                "spec.containers[0].resources.claims[0]: Not found: \"q\": must be one of the names in pod.spec.resourceClaims: r",
            ],
        ),
        (
            json!({"os": {"name": "windows"}, "hostPID": true}),
            vec!["spec.hostPID: Forbidden: cannot be set for a windows pod"],
        ),
        (json!({"terminationGracePeriodSeconds": -5}), vec![]),
    ] {
        assert_eq!(refused(change.clone()), want, "{change}");
    }
}

/// Each of thousands of volumes, or containers, would show a megabyte once more.
#[test]
fn what_is_long_is_not_shown_with_everything_that_it_is_held_against() {
    let long = "x".repeat(1 << 20);
    let many = |one: &dyn Fn(usize) -> Value| (0..2000).map(one).collect::<Value>();
    let volumes = many(&|_| json!({"name": "V", "ephemeral": {"volumeClaimTemplate": {"spec": {}}}}));
    let containers =
        many(&|at| json!({"name": format!("c{at}"), "image": "i", "resources": {"limits": {"cpu": "1"}}}));
    let below = format!("-{}", "1".repeat(1 << 20));
    for (name, spec) in [
        (long.as_str(), json!({"containers": [{"name": "c", "image": "i"}], "volumes": volumes})),
        ("a", json!({"containers": containers, "resources": {"limits": {"cpu": below}}})),
    ] {
        let pod = json!({"metadata": {"name": name, "namespace": "n"}, "spec": spec});
        let mut pod = Object::from_value(pod).unwrap();
        defaults::apply(kind("", "pods").unwrap(), &mut pod);
        let found = validate::create(kind("", "pods").unwrap(), &pod, &Limits::default()).told();
        let shown: usize = found.iter().map(|error| error.message.len()).sum();
        assert!(found.len() > 500 && shown < 16 << 20, "{} findings of {shown} bytes", found.len());
    }
}

/// What a resize makes of a pod, and what is wrong with that.
fn resized(change: impl FnOnce(&mut Value)) -> Vec<String> {
    let pods = kind("", "pods").unwrap();
    let old = json!({
        "metadata": {"name": "a", "namespace": "n", "uid": "u", "resourceVersion": "1"},
        "spec": {
            "serviceAccountName": "s",
            "containers": [
                {"name": "c", "image": "i", "resources": {"requests": {"cpu": "1"}}}, {"name": "d", "image": "i"},
            ],
        },
        "status": {"phase": "Pending", "qosClass": "Burstable"},
    });
    let mut sent = old.clone();
    change(&mut sent);
    let [old, mut sent] = [old, sent].map(|pod| {
        let mut pod = Object::from_value(pod).unwrap();
        defaults::apply(pods, &mut pod);
        pod
    });
    crate::strategy::prepare_part(pods, "resize", &mut sent, &old);
    let found = validate::part_update(pods, "resize", &sent, &old, &Limits::default()).told();
    found.iter().map(ToString::to_string).collect()
}

#[test]
fn what_is_refused_of_a_resize() {
    assert!(
        resized(|pod| pod["spec"]["containers"][0]["resources"]["requests"]["cpu"] = "2".into()).is_empty()
    );
    assert!(
        resized(|pod| pod["spec"]["containers"][0]["image"] = "other".into()).is_empty(),
        "it is not looked at"
    );
    let removed = resized(|pod| drop(pod["spec"]["containers"].as_array_mut().unwrap().pop()));
    assert_eq!(removed, ["spec.containers: Forbidden: containers may not be added or removed on resize"]);
    let renamed = resized(|pod| pod["spec"]["containers"][1]["name"] = "e".into());
    assert_eq!(
        renamed,
        ["spec.containers[1].name: Forbidden: containers may not be renamed or reordered on resize"]
    );
    let gone =
        resized(|pod| pod["spec"]["containers"][0]["resources"] = json!({"requests": {"memory": "1"}}));
    assert_eq!(
        gone,
        ["spec.containers[0].resources.requests: Forbidden: resource requests cannot be removed"]
    );
    let other = resized(|pod| {
        pod["spec"]["containers"][0]["resizePolicy"] =
            json!([{"resourceName": "cpu", "restartPolicy": "RestartContainer"}])
    });
    assert_eq!(other, ["spec: Forbidden: only cpu and memory resources are mutable"]);
    // What is less than nothing is no amount of a class.
    let less = resized(|pod| pod["spec"]["containers"][1]["resources"] = json!({"requests": {"cpu": "-1"}}));
    assert_eq!(
        less,
        [
            "spec.containers[1].resources.requests[cpu]: Invalid value: \"-1\": must be greater than or equal to 0"
        ]
    );
}
