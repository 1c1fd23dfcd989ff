use serde_json::{Value, json};

use crate::Object;
use crate::kinds::testing::{cells, changed, created, defaulted};
use crate::schema::kind;
use crate::strategy::prepare_update;

fn found(spec: Value) -> Vec<String> {
    created("", "services", json!({ "spec": spec }))
}

fn object(spec: Value) -> Object {
    Object::from_value(defaulted("", "services", json!({"metadata": {"name": "s"}, "spec": spec}))).unwrap()
}

#[test]
fn a_service_that_says_little_gets_the_rest() {
    let spec = |spec: Value| defaulted("", "services", json!({ "spec": spec }))["spec"].take();
    assert_eq!(
        spec(json!({"ports": [{"port": 8080}, {"port": 1, "targetPort": "dns", "protocol": "UDP"}]})),
        json!({"ports": [{"port": 8080, "protocol": "TCP", "targetPort": 8080}, {"port": 1, "targetPort": "dns", "protocol": "UDP"}],
            "sessionAffinity": "None", "type": "ClusterIP", "internalTrafficPolicy": "Cluster"})
    );
    let balanced = spec(json!({"type": "LoadBalancer", "sessionAffinity": "ClientIP"}));
    assert_eq!(balanced["allocateLoadBalancerNodePorts"], true);
    assert_eq!(balanced["externalTrafficPolicy"], "Cluster");
    assert_eq!(balanced["sessionAffinityConfig"], json!({"clientIP": {"timeoutSeconds": 10800}}));
    assert_eq!(
        spec(json!({"type": "ExternalName"})),
        json!({"type": "ExternalName", "sessionAffinity": "None"})
    );
}

#[test]
fn what_is_refused_of_a_service() {
    let port = json!([{"port": 1}]);
    for (spec, want) in [
        (
            json!({"ports": [{"port": 70000, "targetPort": 1}]}),
            "spec.ports[0].port: Invalid value: 70000: must be between 1 and 65535, inclusive",
        ),
        (
            json!({"ports": port, "externalIPs": ["169.254.0.1"]}),
            "spec.externalIPs[0]: Invalid value: \"169.254.0.1\": may not be in the link-local range (169.254.0.0/16, fe80::/10)",
        ),
        (
            json!({"ports": port, "loadBalancerSourceRanges": ["10.0.0.0/8"]}),
            "spec.LoadBalancerSourceRanges: Forbidden: may only be used when `type` is 'LoadBalancer'",
        ),
        (
            json!({"ports": port, "clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.2"]}),
            "spec.clusterIPs: Invalid value: [\"10.0.0.2\"]: first value must match `clusterIP`",
        ),
        (
            json!({"type": "ExternalName", "externalName": "a.example.", "ipFamilies": ["IPv4"]}),
            "spec.ipFamilies: Forbidden: may not be set for ExternalName services",
        ),
        (
            json!({"ports": port, "trafficDistribution": "Near"}),
            "spec.trafficDistribution: Unsupported value: \"Near\": supported values: \"PreferClose\", \"PreferSameZone\", \"PreferSameNode\"",
        ),
        (
            json!({"ports": port, "sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 90000}}}),
            "spec.sessionAffinityConfig.clientIP.timeoutSeconds: Invalid value: 90000: must be greater than 0 and less than or equal to 86400",
        ),
        (
            json!({"type": "LoadBalancer", "ports": port, "externalTrafficPolicy": "Local"}),
            "spec.healthCheckNodePort: Required value",
        ),
        (
            json!({"type": "LoadBalancer", "ports": [{"port": 10_250}]}),
            "spec.ports[0]: Invalid value: 10250: may not expose port 10250 externally since it is used by kubelet",
        ),
    ] {
        let told = found(spec);
        assert_eq!(told, [want]);
    }
    assert!(found(json!({"type": "NodePort", "ports": [{"port": 10_250}]})).is_empty());
}

#[test]
fn what_is_told_of_a_service() {
    let told = |spec: Value| kind("", "services").unwrap().rules().warnings(&object(spec), None);
    let port = json!([{"port": 1}]);
    assert!(told(json!({"ports": port, "loadBalancerIP": "x"})).is_empty());
    for (spec, want) in [
        (
            json!({"clusterIP": "fd00:0::1", "clusterIPs": ["fd00:0::1"]}),
            vec![
                "spec.clusterIPs[0]: IPv6 address \"fd00:0::1\" should be in RFC 5952 canonical format (\"fd00::1\")",
            ],
        ),
        (
            json!({"clusterIP": "None", "sessionAffinity": "ClientIP", "externalIPs": ["192.0.2.1"]}),
            vec![
                "spec.externalIPs is ignored for headless services",
                "spec.SessionAffinity is ignored for headless services",
            ],
        ),
        (
            json!({"loadBalancerIP": "::ffff:1.2.3.4", "externalIPs": ["192.0.2.1"], "loadBalancerSourceRanges": ["fd00:0::/64"]}),
            vec![
                "spec.externalIPs is deprecated and may no longer be implemented in some clusters",
                "spec.loadBalancerIP: non-standard IP address \"::ffff:1.2.3.4\" will be considered invalid in a future Kubernetes release: use \"1.2.3.4\"",
                "spec.loadBalancerSourceRanges[0]: IPv6 CIDR value \"fd00:0::/64\" should be in RFC 5952 canonical format (\"fd00::/64\")",
            ],
        ),
        (
            json!({"type": "ExternalName", "externalName": "a.example", "externalIPs": ["192.0.2.1"]}),
            vec!["spec.externalIPs is ignored when spec.type is \"ExternalName\""],
        ),
        (
            json!({"externalName": "a.example", "trafficDistribution": "PreferClose"}),
            vec![
                "spec.externalName is ignored when spec.type is not \"ExternalName\"",
                "spec.trafficDistribution: \"PreferClose\" is deprecated; use \"PreferSameZone\"",
            ],
        ),
    ] {
        assert_eq!(told(spec), want);
    }
    let mut hinted = object(json!({}));
    hinted.set(&["metadata", "annotations", "service.kubernetes.io/topology-aware-hints"], "auto");
    hinted.set(&["status", "loadBalancer"], json!({"ingress": [{"ip": "fd00:0::1"}, {"hostname": "h"}]}));
    let rules = kind("", "services").unwrap().rules();
    assert_eq!(
        rules.warnings(&hinted, None),
        [
            "annotation service.kubernetes.io/topology-aware-hints is deprecated, please use service.kubernetes.io/topology-mode instead"
        ]
    );
    assert_eq!(
        rules.status_warnings(&hinted),
        [
            "status.loadBalancer.ingress[0]: IPv6 address \"fd00:0::1\" should be in RFC 5952 canonical format (\"fd00::1\")"
        ]
    );
}

#[test]
fn addresses_of_a_service_stay() {
    let service = |ips: Value, families: Value| json!({"spec": {"ports": [{"port": 1}], "clusterIP": ips[0], "clusterIPs": ips, "ipFamilies": families}});
    assert_eq!(
        changed(
            "",
            "services",
            service(json!(["10.0.0.1"]), json!(["IPv4"])),
            service(json!(["10.0.0.2"]), json!(["IPv4"]))
        ),
        ["spec.clusterIPs[0]: Invalid value: [\"10.0.0.2\"]: may not change once set"]
    );
    let two = service(json!(["10.0.0.1", "fd00::1"]), json!(["IPv4", "IPv6"]));
    assert_eq!(
        changed("", "services", two, service(json!(["10.0.0.1"]), json!(["IPv4"]))),
        [
            "spec.ipFamilyPolicy: Invalid value: \"null\": must be set to 'SingleStack' when releasing the secondary clusterIP",
            "spec.ipFamilyPolicy: Invalid value: \"null\": must be set to 'SingleStack' when releasing the secondary ipFamily",
        ]
    );
}

#[test]
fn what_a_service_was_given_goes_with_what_it_was() {
    let services = kind("", "services").unwrap();
    let old = object(
        json!({"type": "LoadBalancer", "clusterIP": "10.0.0.9", "clusterIPs": ["10.0.0.9"], "ipFamilies": ["IPv4"],
        "ipFamilyPolicy": "SingleStack", "externalTrafficPolicy": "Local", "healthCheckNodePort": 30001, "ports": [{"port": 1, "nodePort": 30000}]}),
    );
    let mut new = old.clone();
    new.set(&["spec", "type"], "ExternalName");
    prepare_update(services, &mut new, &old);
    assert_eq!(
        new.get("spec"),
        Some(
            &json!({"type": "ExternalName", "sessionAffinity": "None", "ports": [{"port": 1, "protocol": "TCP", "targetPort": 1}]})
        )
    );
    // Ports may come and go meanwhile, and a balancer is nobody's any more.
    let mut balanced = old.clone();
    balanced.set(&["status"], json!({"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}));
    let mut new = balanced.clone();
    new.set(&["spec", "type"], "ClusterIP");
    new.set(&["spec", "ports"], json!([{"port": 2}]));
    prepare_update(services, &mut new, &balanced);
    assert_eq!(new.get("spec").unwrap()["ports"], json!([{"port": 2}]));
    assert_eq!(new.get("status"), Some(&json!({"loadBalancer": {}})));
    let mut new = old.clone();
    new.set(&["spec", "type"], "ClusterIP");
    new.set(&["spec", "ports"], json!([{"port": 1, "nodePort": 30_000}, {"port": 2, "nodePort": 30_002}]));
    prepare_update(services, &mut new, &old);
    assert_eq!(new.get("spec").unwrap()["ports"][0]["nodePort"], 30_000);
    // What the client has set anew is the client's.
    let mut new = old.clone();
    new.set(&["spec", "type"], "ClusterIP");
    new.set(&["spec", "healthCheckNodePort"], 30_002);
    prepare_update(services, &mut new, &old);
    assert_eq!(new.at(&["spec", "healthCheckNodePort"]), Some(&json!(30_002)));
    assert_eq!(new.at(&["spec", "allocateLoadBalancerNodePorts"]), None);
}

#[test]
fn what_was_allocated_need_not_be_repeated() {
    let old = object(json!({"type": "NodePort", "clusterIP": "10.0.0.9", "clusterIPs": ["10.0.0.9"],
        "ports": [{"name": "a", "port": 1, "nodePort": 30000}, {"name": "b", "port": 2, "nodePort": 30001}]}));
    let mut new =
        object(json!({"type": "NodePort", "ports": [{"name": "b", "port": 3}, {"name": "c", "port": 1}]}));
    super::patch_allocated(&mut new, &old);
    assert_eq!(new.str_at(&["spec", "clusterIP"]), "10.0.0.9");
    let ports = &new.get("spec").unwrap()["ports"];
    assert_eq!((&ports[0]["nodePort"], &ports[1]["nodePort"]), (&json!(30001), &Value::Null));
    // An old client knows one way to say it.
    let mut new = object(json!({"clusterIP": "None"}));
    super::normalise(&mut new, None);
    assert_eq!(new.at(&["spec", "clusterIPs"]), Some(&json!(["None"])));
}

#[test]
fn cells_of_a_service() {
    let shown = |spec: Value, status: Value| {
        let cells = cells("", "services", json!({"spec": spec, "status": status}));
        cells.iter().skip(1).filter_map(Value::as_str).map(str::to_owned).collect::<Vec<_>>()
    };
    let ports = json!([{"port": 80, "nodePort": 30080}, {"port": 53, "protocol": "UDP"}]);
    let address = json!(["10.0.0.7"]);
    assert_eq!(
        shown(
            json!({"type": "LoadBalancer", "clusterIPs": address, "ports": ports, "selector": {"b": "2", "a": "1"}}),
            json!({})
        ),
        ["LoadBalancer", "10.0.0.7", "<pending>", "80:30080/TCP,53/UDP", "<unknown>", "a=1,b=2"]
    );
    let ingress = json!({"loadBalancer": {"ingress": [{"hostname": "z.example"}, {"ip": "192.0.2.1"}]}});
    assert_eq!(
        shown(json!({"type": "LoadBalancer", "externalIPs": ["192.0.2.9"]}), ingress)[2],
        "192.0.2.1,z.example,192.0.2.9"
    );
    assert_eq!(
        shown(json!({"type": "ExternalName", "externalName": "a.example"}), json!({})),
        ["ExternalName", "<none>", "a.example", "<none>", "<unknown>", "<none>"]
    );
}
