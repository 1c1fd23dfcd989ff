use serde_json::{Value, json};

use crate::Object;
use crate::kinds::testing::{cells, changed, created, defaulted};
use crate::schema::kind;
use crate::strategy::{prepare_create, prepare_update};

const GROUP: &str = "networking.k8s.io";

#[test]
fn what_is_refused_of_an_ingress() {
    let service = json!({"service": {"name": "s", "port": {"number": 1}}});
    let of = |path: Value| json!({"spec": {"rules": [{"host": "a.example", "http": {"paths": [path]}}]}});
    let found = |body: Value| created(GROUP, "ingresses", body);
    assert!(found(of(json!({"path": "/a", "pathType": "Prefix", "backend": service}))).is_empty());
    assert!(found(json!({"spec": {"rules": [{"host": "*.a.example"}]}})).is_empty());
    let at = "spec.rules[0].http.paths[0]";
    for (path, want) in [
        (
            json!({"path": "/a//b", "pathType": "Exact", "backend": service}),
            vec![format!("{at}.path: Invalid value: \"/a//b\": must not contain '//'")],
        ),
        (
            json!({"path": "/a/..", "pathType": "Prefix", "backend": service}),
            vec![format!("{at}.path: Invalid value: \"/a/..\": cannot end with '/..'")],
        ),
        (
            json!({"pathType": "ImplementationSpecific", "backend": {"service": {"name": "", "port": {"name": "http", "number": 1}}}}),
            vec![
                format!("{at}.backend.service.name: Required value"),
                format!("{at}.backend: Invalid value: \"\": cannot set both port name & port number"),
            ],
        ),
        (
            json!({"pathType": "ImplementationSpecific", "backend": {"resource": {"kind": "K", "name": ""}}}),
            vec![format!("{at}.backend.resource.name: Required value")],
        ),
    ] {
        assert_eq!(found(of(path)), want);
    }
}

#[test]
fn cells_of_an_ingress() {
    let rules: Vec<_> = ["a", "b", "c", "d"].iter().map(|host| json!({"host": host})).collect();
    let shown =
        cells(GROUP, "ingresses", json!({"spec": {"ingressClassName": "x", "rules": rules, "tls": [{}]}}));
    assert_eq!(shown[1..5], [json!("x"), json!("a,b,c + 1 more..."), json!(""), json!("80, 443")]);
    let shown = cells(GROUP, "ingresses", json!({"spec": {"defaultBackend": {}}}));
    assert_eq!(shown[1..5], [json!("<none>"), json!("*"), json!(""), json!("80")]);
}

#[test]
fn a_class_of_ingresses_keeps_its_controller() {
    let class = |controller: &str| json!({"spec": {"controller": controller}});
    assert_eq!(
        created(GROUP, "ingressclasses", class("a.example/x y")),
        [
            "spec.controller: Invalid value: \"x y\": Invalid path (regex used for validation is '[A-Za-z0-9/\\-._~%!$&'()*+,;=:]+')"
        ]
    );
    assert_eq!(
        changed(GROUP, "ingressclasses", class("a.example/x"), class("a.example/y")),
        ["spec.controller: Invalid value: \"a.example/y\": field is immutable"]
    );
    let scoped = json!({"spec": {"controller": "a.example/x", "parameters": {"kind": "K", "name": "n", "apiGroup": "g.example", "namespace": "n"}}});
    assert_eq!(
        created(GROUP, "ingressclasses", scoped.clone()),
        ["spec.parameters.namespace: Forbidden: `parameters.scope` is set to 'Cluster'"]
    );
    assert_eq!(cells(GROUP, "ingressclasses", scoped)[2], "K.g.example/n");
}

#[test]
fn a_policy_is_of_what_it_has_rules_for() {
    let policy = |spec: Value| defaulted(GROUP, "networkpolicies", json!({ "spec": spec }))["spec"].take();
    let spec = policy(json!({"podSelector": {}, "egress": [{"ports": [{"port": 53}]}]}));
    assert_eq!(spec["policyTypes"], json!(["Ingress", "Egress"]));
    assert_eq!(spec["egress"][0]["ports"][0]["protocol"], "TCP");
    let found = |rule: Value| {
        created(GROUP, "networkpolicies", json!({"spec": {"podSelector": {}, "ingress": [rule]}}))
    };
    assert_eq!(
        found(
            json!({"from": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.0.0.0/8", "10.1.0.0/16", "x"]}}]})
        ),
        [
            "spec.ingress[0].from[0].ipBlock.except[0]: Invalid value: \"10.0.0.0/8\": must be a strict subset of `cidr`",
            "spec.ingress[0].from[0].ipBlock.except[2]: Invalid value: \"x\": must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)",
        ]
    );
    assert_eq!(
        found(json!({"ports": [{"port": 9, "endPort": 8}]})),
        ["spec.ingress[0].ports[0].endPort: Invalid value: 9: must be greater than or equal to `port`"]
    );
    let selector = json!({"matchLabels": {"b": "2", "a": "1"}, "matchExpressions": [{"key": "c", "operator": "NotIn", "values": ["y", "x"]}, {"key": "d", "operator": "DoesNotExist"}]});
    assert_eq!(
        cells(GROUP, "networkpolicies", json!({"spec": {"podSelector": selector}}))[1],
        "a=1,b=2,c notin (x,y),!d"
    );
    assert_eq!(cells(GROUP, "networkpolicies", json!({"spec": {"podSelector": {}}}))[1], "<none>");
}

#[test]
fn endpoints_are_somewhere() {
    let found = |subset: Value| created("", "endpoints", json!({"subsets": [subset]}));
    assert!(found(json!({"addresses": [{"ip": "10.0.0.1"}]})).is_empty());
    assert_eq!(
        found(json!({})),
        ["subsets[0]: Required value: must specify `addresses` or `notReadyAddresses`"]
    );
    assert_eq!(
        found(
            json!({"notReadyAddresses": [{"ip": "224.0.0.1"}], "ports": [{"port": 1}, {"port": 2, "name": "b"}]})
        ),
        [
            "subsets[0].notReadyAddresses[0].ip: Invalid value: \"224.0.0.1\": may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)",
            "subsets[0].ports[0].name: Required value",
        ]
    );
    let subset =
        json!({"addresses": [{"ip": "10.0.0.1"}, {"ip": "fd00::1"}], "ports": [{"port": 1}, {"port": 2}]});
    assert_eq!(
        cells("", "endpoints", json!({"subsets": [subset]}))[1],
        "10.0.0.1:1,[fd00::1]:1,10.0.0.1:2 + 1 more..."
    );
}

#[test]
fn a_slice_has_addresses_of_one_type() {
    let group = "discovery.k8s.io";
    let slice =
        |kind: &str, address: &str| json!({"addressType": kind, "endpoints": [{"addresses": [address]}]});
    assert!(created(group, "endpointslices", slice("IPv6", "fd00::1")).is_empty());
    for (slice, want) in [
        (
            slice("IPv6", "10.0.0.1"),
            "endpoints[0].addresses: Invalid value: \"10.0.0.1\": must be an IPv6 address",
        ),
        (
            slice("IPv4", "0.0.0.0"),
            "endpoints[0].addresses[0]: Invalid value: \"0.0.0.0\": may not be unspecified (0.0.0.0)",
        ),
        (json!({"addressType": "IPv4", "ports": [{}, {}]}), "ports[1].name: Duplicate value: \"\""),
        (
            slice("FQDN", "a"),
            "endpoints[0].addresses[0]: Invalid value: \"a\": should be a domain with at least two segments separated by dots",
        ),
        (slice("FQDN", ""), "endpoints[0].addresses[0]: Required value"),
    ] {
        assert_eq!(created(group, "endpointslices", slice), [want]);
    }
    assert!(created(group, "endpointslices", slice("FQDN", "a.example.")).is_empty());
    assert_eq!(
        created(group, "endpointslices", slice("IPv4", "::1")),
        [
            "endpoints[0].addresses: Invalid value: \"::1\": must be an IPv4 address",
            "endpoints[0].addresses[0]: Invalid value: \"::1\": may not be in the loopback range (127.0.0.0/8, ::1/128)",
        ]
    );
    let hinted = |hints: Value| json!({"addressType": "IPv4", "endpoints": [{"addresses": ["10.0.0.1"], "hints": hints}]});
    let named = |names: &[&str]| json!(names.iter().map(|name| json!({"name": name})).collect::<Vec<_>>());
    assert!(created(group, "endpointslices", hinted(json!({"forZones": named(&["a", "b"])}))).is_empty());
    assert_eq!(
        created(
            group,
            "endpointslices",
            hinted(json!({"forZones": named(&["a", "a"]), "forNodes": named(&["n n"])}))
        ),
        [
            "endpoints[0].hints.forZones[1].name: Duplicate value: \"a\"".to_owned(),
            format!(
                "endpoints[0].hints.forNodes[0].name: Invalid value: \"n n\": {}",
                crate::names::subdomain("n n")[0]
            ),
        ]
    );
    let nine = hinted(json!({"forNodes": named(&["a"; 9])}));
    assert_eq!(
        created(group, "endpointslices", nine),
        ["endpoints[0].hints.forNodes: Too many: 9: must have at most 8 items"]
    );
    assert_eq!(
        changed(group, "endpointslices", slice("IPv4", "10.0.0.1"), slice("FQDN", "a.example")),
        ["addressType: Invalid value: \"FQDN\": field is immutable"]
    );
    let shown = cells(
        group,
        "endpointslices",
        json!({"addressType": "IPv4", "ports": [{"port": 80}, {"name": "x"}, {}]}),
    );
    assert_eq!(shown[1..4], [json!("IPv4"), json!("80,x,*"), json!("<unset>")]);
}

#[test]
fn labels_of_a_slice_count_and_its_old_topology_is_forgotten() {
    let kind = kind("discovery.k8s.io", "endpointslices").unwrap();
    let of = |body: Value| Object::from_value(body).unwrap();
    let body = json!({"metadata": {"generation": 1, "labels": {"a": "b"}}, "addressType": "IPv4",
        "endpoints": [{"addresses": ["10.0.0.1"], "deprecatedTopology": {"a": "b"}}]});
    let mut old = of(body.clone());
    prepare_create(kind, &mut old);
    assert_eq!(old.get("endpoints"), Some(&json!([{"addresses": ["10.0.0.1"]}])));
    let generation = |change: &dyn Fn(&mut Object)| {
        let mut new = of(body.clone());
        change(&mut new);
        prepare_update(kind, &mut new, &old);
        new.at(&["metadata", "generation"]).cloned().unwrap()
    };
    assert_eq!(generation(&|_| {}), 1);
    assert_eq!(generation(&|new| new.set(&["metadata", "annotations", "a"], "b")), 1);
    assert_eq!(generation(&|new| new.set(&["metadata", "labels", "a"], "c")), 2);
    assert_eq!(generation(&|new| new.set(&["ports"], json!([{"port": 1}]))), 2);
}

#[test]
fn what_is_told_of_where_services_are() {
    let told = |group: &str, plural: &str, body: Value, old: bool| {
        let object = Object::from_value(body).unwrap();
        kind(group, plural).unwrap().rules().warnings(&object, old.then_some(&object))
    };
    let odd = "IPv6 address \"fd00:0::1\" should be in RFC 5952 canonical format (\"fd00::1\")";
    let mut slice = json!({"addressType": "IPv6", "endpoints": [{"addresses": ["fd00::2", "fd00:0::1"]}]});
    let of_slice = |slice: &Value, old: bool| told("discovery.k8s.io", "endpointslices", slice.clone(), old);
    assert_eq!(of_slice(&slice, true), [format!("endpoints[0].addresses[1]: {odd}")]);
    slice["metadata"] =
        json!({"labels": {"endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io"}});
    assert!(of_slice(&slice, false).is_empty());
    let named = json!({"addressType": "FQDN", "endpoints": [{"addresses": ["a.example"]}]});
    assert_eq!(of_slice(&named, false), ["spec.addressType: FQDN endpoints are deprecated"]);
    assert!(of_slice(&named, true).is_empty());
    let mut endpoints = json!({"subsets": [{"notReadyAddresses": [{"ip": "fd00:0::1"}]}]});
    let of_endpoints = |endpoints: &Value| told("", "endpoints", endpoints.clone(), false);
    assert_eq!(of_endpoints(&endpoints), [format!("subsets[0].notReadyAddresses[0].ip: {odd}")]);
    endpoints["metadata"] = json!({"labels": {"endpoints.kubernetes.io/managed-by": "endpoint-controller"}});
    assert!(of_endpoints(&endpoints).is_empty());
}

#[test]
fn an_address_is_named_by_itself() {
    let named = |name: &str| json!({"metadata": {"name": name}, "spec": {"parentRef": {"resource": "services", "name": "s", "namespace": "n"}}});
    assert!(created(GROUP, "ipaddresses", named("10.0.0.1")).is_empty());
    assert_eq!(
        created(GROUP, "ipaddresses", named("a")),
        [
            "metadata.name: Invalid value: \"a\": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
        ]
    );
    assert_eq!(cells(GROUP, "ipaddresses", named("10.0.0.1"))[1], "services/n/s");
    assert_eq!(
        created(
            GROUP,
            "servicecidrs",
            json!({"spec": {"cidrs": ["10.0.0.0/8", "fd00::/64", "10.1.0.0/16"]}})
        ),
        [
            "spec.cidrs: Invalid value: {\"CIDRs\":[\"10.0.0.0/8\",\"fd00::/64\",\"10.1.0.0/16\"]}: may only hold up to 2 values"
        ]
    );
}

#[test]
fn a_network_of_services_takes_a_second_family_and_no_other_change() {
    let of = |cidrs: &[&str]| json!({"spec": {"cidrs": cidrs}});
    let made = |cidrs: &[&str]| created(GROUP, "servicecidrs", of(cidrs));
    let became = |old: &[&str], new: &[&str]| changed(GROUP, "servicecidrs", of(old), of(new));
    assert!(made(&["10.0.0.0/8", "fd00::/64"]).is_empty());
    assert_eq!(
        made(&["fd00:0::/64"]),
        ["spec.cidrs[0]: Invalid value: \"fd00:0::/64\": must be in canonical form (\"fd00::/64\")"]
    );
    for wrong in [["10.0.0.0/8", "10.1.0.0/16"], ["fd00::/64", "x"]] {
        let shown = json!({ "CIDRs": wrong });
        let why = "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64";
        assert_eq!(made(&wrong), [format!("spec.cidrs: Invalid value: {shown}: {why}")]);
    }
    assert!(became(&["10.0.0.0/8"], &["10.0.0.0/8", "fd00::/64"]).is_empty());
    assert_eq!(
        became(&["10.0.0.0/8"], &["10.0.0.0/9", "fd00::/64"]),
        ["spec.cidrs[0]: Invalid value: \"10.0.0.0/9\": field is immutable"]
    );
    assert_eq!(
        became(&["10.0.0.0/8", "fd00::/64"], &["10.0.0.0/8"]),
        ["spec.cidrs: Invalid value: [\"10.0.0.0/8\"]: field is immutable"]
    );
}
