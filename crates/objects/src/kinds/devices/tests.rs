use serde_json::{Value, json};

use crate::Object;
use crate::kinds::testing::{defaulted, texts};
use crate::schema::kind;
use crate::validate::{Limits, create, update};

const GROUP: &str = "resource.k8s.io";

fn object(plural: &str, spec: Value) -> Object {
    let mut body = json!({"metadata": {"name": "d"}, "spec": spec});
    if kind(GROUP, plural).unwrap().namespaced {
        body["metadata"]["namespace"] = "n".into();
    }
    Object::from_value(defaulted(GROUP, plural, body)).unwrap()
}

fn found(plural: &str, spec: Value) -> Vec<String> {
    texts(create(kind(GROUP, plural).unwrap(), &object(plural, spec), &Limits::default()))
}

fn claim(request: Value) -> Value {
    json!({"devices": {"requests": [request]}})
}

#[test]
fn a_request_is_for_one_device_if_nobody_says_more() {
    let made = |request: Value| {
        let made = defaulted(GROUP, "resourceclaims", json!({"spec": claim(request)}));
        made["spec"]["devices"]["requests"][0].clone()
    };
    assert_eq!(made(json!({"exactly": {}}))["exactly"], json!({"allocationMode": "ExactCount", "count": 1}));
    assert_eq!(
        made(json!({"exactly": {"allocationMode": "All"}}))["exactly"],
        json!({"allocationMode": "All"})
    );
    let first = made(json!({"firstAvailable": [{"count": 2, "tolerations": [{}]}]}));
    assert_eq!(
        first["firstAvailable"][0],
        json!({"count": 2, "tolerations": [{"operator": "Equal"}], "allocationMode": "ExactCount"})
    );
    let template = json!({"spec": {"spec": claim(json!({"exactly": {}}))}});
    let template = defaulted(GROUP, "resourceclaimtemplates", template);
    assert_eq!(template["spec"]["spec"]["devices"]["requests"][0]["exactly"]["count"], 1);
}

#[test]
fn requests_are_refused_in_upstreams_words() {
    let at = "spec.devices.requests[0]";
    for (request, want) in [
        (
            json!({"name": "a"}),
            format!("{at}: Required value: exactly one of `exactly` or `firstAvailable` is required"),
        ),
        (json!({"exactly": {"deviceClassName": "c"}}), format!("{at}.name: Required value")),
        (json!({"name": "a", "exactly": {}}), format!("{at}.exactly.deviceClassName: Required value")),
        (
            json!({"name": "a", "exactly": {"deviceClassName": "c", "count": -1}}),
            format!("{at}.exactly.count: Invalid value: -1: must be greater than zero"),
        ),
        (
            json!({"name": "a", "exactly": {"deviceClassName": "c", "allocationMode": "Some"}}),
            format!(
                "{at}.exactly.allocationMode: Unsupported value: \"Some\": supported values: \"All\", \"ExactCount\""
            ),
        ),
        (
            json!({"name": "a", "exactly": {"deviceClassName": "c", "selectors": [{}]}}),
            format!("{at}.exactly.selectors[0].cel: Required value"),
        ),
    ] {
        assert_eq!(found("resourceclaims", claim(request)), [want]);
    }
    let mut other = claim(json!({"name": "a", "exactly": {"deviceClassName": "c"}}));
    other["devices"]["config"] = json!([{"requests": ["b"]}]);
    assert_eq!(
        found("resourceclaims", other.clone()),
        [
            "spec.devices.config[0].requests[0]: Invalid value: \"b\": must be the name of a request in the claim or the name of a request and a subrequest separated by '/'",
            "spec.devices.config[0].opaque: Required value",
        ]
    );
    let (new, old) = (object("resourceclaims", other), object("resourceclaims", json!({})));
    let found = update(kind(GROUP, "resourceclaims").unwrap(), &new, &old, &Limits::default());
    assert!(texts(found)[0].ends_with("field is immutable"));
}

#[test]
fn a_slice_says_where_its_devices_are() {
    let of = |field: &str, value: Value| {
        let mut spec = json!({"driver": "gpu.example", "pool": {"name": "p", "resourceSliceCount": 1}});
        spec[field] = value;
        found("resourceslices", spec)
    };
    assert!(of("allNodes", json!(true)).is_empty());
    let ways = "`nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection`";
    assert_eq!(
        of("devices", json!([])),
        [format!("spec: Required value: exactly one of {ways} is required")]
    );
    let spec = json!({
        "driver": "", "pool": {"name": "p/Q"}, "nodeName": "n", "allNodes": true, "devices": [{"name": "a"}, {"name": "a"}],
    });
    let all = found("resourceslices", spec);
    assert_eq!(all[0], "spec.driver: Required value");
    assert!(all[1].starts_with("spec.pool.name: Invalid value: \"Q\": a lowercase"));
    assert_eq!(all[2], "spec.pool.resourceSliceCount: Invalid value: 0: must be greater than zero");
    assert_eq!(
        all[3],
        format!(
            "spec: Invalid value: \"{{`nodeName`, `allNodes`}}\": exactly one of {ways} is required, but multiple fields are set"
        )
    );
    assert_eq!(all[4], "spec.devices[1].name: Duplicate value: \"a\"");
}

#[test]
fn a_class_selects_and_configures() {
    let spec = json!({"selectors": [{}], "config": [{"opaque": {"driver": "gpu.example"}}, {}]});
    assert_eq!(
        found("deviceclasses", spec),
        ["spec.selectors[0].cel: Required value", "spec.config[1].opaque: Required value"]
    );
}
