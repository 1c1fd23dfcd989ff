use serde_json::json;
use tokensmith_api::Media;

use super::*;

fn token_request() -> Expected<'static> {
    Expected::named("authentication.k8s.io", "v1", "TokenRequest", "authentication/v1.TokenRequest").unwrap()
}

fn pod() -> Expected<'static> {
    Expected::kind(schema::kind("", "pods").unwrap())
}

fn error(body: &str) -> String {
    decode(body.as_bytes(), Media::Json, &token_request(), FieldValidation::Strict).unwrap_err().to_string()
}

#[test]
fn refusals_read_as_upstreams() {
    let prefix = "TokenRequest in version \"v1\" cannot be handled as a TokenRequest: ";
    for (body, want) in [
        ("", "the object provided is unrecognized (must be of type TokenRequest): couldn't get version/kind; json parse error: unexpected end of JSON input (<empty>)".to_owned()),
        ("{\"spec\":", "the object provided is unrecognized (must be of type TokenRequest): couldn't get version/kind; json parse error: unexpected end of JSON input ({\"spec\":)".into()),
        ("{\"spec\":{\"audience\":\"x\"}}", format!("{prefix}strict decoding error: unknown field \"spec.audience\"")),
        ("{\"spec\":{},\"spec\":{\"a\":1}}", format!("{prefix}strict decoding error: duplicate field \"spec\", unknown field \"spec.a\"")),
        ("{\"spec\":{\"expirationSeconds\":\"600\"}}", format!("{prefix}json: cannot unmarshal string into Go struct field TokenRequestSpec.spec.expirationSeconds of type int64")),
        ("{\"spec\":{\"expirationSeconds\":600.5}}", format!("{prefix}json: cannot unmarshal number 600.5 into Go struct field TokenRequestSpec.spec.expirationSeconds of type int64")),
        ("{\"spec\":{\"audiences\":\"x\"}}", format!("{prefix}json: cannot unmarshal string into Go struct field TokenRequestSpec.spec.audiences of type []string")),
        ("{\"spec\":{\"audiences\":[1]}}", format!("{prefix}json: cannot unmarshal number into Go struct field TokenRequestSpec.spec.audiences of type string")),
        ("{\"spec\":{\"boundObjectRef\":[]}}", format!("{prefix}json: cannot unmarshal array into Go struct field TokenRequestSpec.spec.boundObjectRef of type v1.BoundObjectReference")),
        ("{\"metadata\":{\"labels\":true}}", format!("{prefix}json: cannot unmarshal bool into Go struct field ObjectMeta.metadata.labels of type map[string]string")),
        ("{\"apiVersion\":\"authentication.k8s.io/v1\",\"kind\":\"TokenReview\"}", "TokenReview in version \"v1\" cannot be handled as a TokenRequest: converting (v1.TokenReview) to (authentication.TokenRequest): unknown conversion".into()),
        ("{\"apiVersion\":\"v1\",\"kind\":\"TokenRequest\"}", format!("{prefix}no kind \"TokenRequest\" is registered for version \"v1\" in scheme \"{SCHEME}\"")),
    ] {
        assert_eq!(error(body), want, "{body}");
    }
    let text = error(&format!("x{}", "y".repeat(40)));
    assert!(text.ends_with(&format!("(78{} ...)", "79".repeat(29))), "{text}");
}

#[test]
fn nulls_are_absent_and_odd_fields_warned_of() {
    let body = br#"{"metadata":{"creationTimestamp":null},"spec":{"audiences":null,"expirationSeconds":600,"boundObjectRef":null,"x":1},"status":{"token":"","expirationTimestamp":null}}"#;
    let decoded = decode(body, Media::Json, &token_request(), FieldValidation::Warn).unwrap();
    assert_eq!(decoded.warnings, ["unknown field \"spec.x\""]);
    assert_eq!(decoded.object.at(&["spec"]), Some(&json!({"expirationSeconds": 600})));
}

#[test]
fn replies_have_gos_order_and_zero_values() {
    let body = br#"{"spec":{"expirationSeconds":600},"metadata":{"namespace":"n","name":"a"}}"#;
    let decoded = decode(body, Media::Json, &token_request(), FieldValidation::Warn).unwrap();
    let text = String::from_utf8(encode(&decoded.object, Media::Json, false)).unwrap();
    assert_eq!(
        text,
        "{\"kind\":\"TokenRequest\",\"apiVersion\":\"authentication.k8s.io/v1\",\"metadata\":{\"name\":\"a\",\"namespace\":\"n\"},\"spec\":{\"audiences\":null,\"expirationSeconds\":600,\"boundObjectRef\":null},\"status\":{\"token\":\"\",\"expirationTimestamp\":null}}\n"
    );
}

/// What `kubectl create token app --duration 10m --audience a --audience b --bound-object-…` sends.
#[test]
fn kubectls_protobuf() {
    let mut raw = vec![0x0a, 0x10, 0x0a, 0, 0x12, 0, 0x1a, 0, 0x22, 0, 0x2a, 0, 0x32, 0, 0x38, 0, 0x42, 0];
    let spec = b"\x0a\x01a\x0a\x01b\x1a\x11\x0a\x03Pod\x12\x02v1\x1a\x02p1\x22\x02uu\x20\xd8\x04";
    raw.extend([0x12, spec.len() as u8]);
    raw.extend(spec);
    raw.extend([0x1a, 4, 0x0a, 0, 0x12, 0]);
    let body = tokensmith_api::proto::frame("authentication.k8s.io/v1", "TokenRequest", &raw);
    let object = decode(&body, Media::Protobuf, &token_request(), FieldValidation::Strict).unwrap().object;
    let bound = json!({"kind": "Pod", "apiVersion": "v1", "name": "p1", "uid": "uu"});
    assert_eq!(
        object.at(&["spec"]),
        Some(&json!({"audiences": ["a", "b"], "expirationSeconds": 600, "boundObjectRef": bound}))
    );
    assert_eq!(object.at(&["metadata"]), Some(&json!({})));
}

#[test]
fn protobuf_comes_back() {
    let body = json!({
        "metadata": {"name": "p", "labels": {"a": "b"}, "creationTimestamp": "2026-01-01T10:00:07Z"},
        "spec": {
            "containers": [{"name": "c", "image": "i", "resources": {"limits": {"cpu": "500m"}},
                "livenessProbe": {"httpGet": {"path": "/", "port": "http"}, "periodSeconds": 5},
                "readinessProbe": {"tcpSocket": {"port": 80}}}],
            "volumes": [{"name": "t", "projected": {"sources": [{"serviceAccountToken": {"path": "token", "expirationSeconds": 3607}}], "defaultMode": 420}}],
            "automountServiceAccountToken": false,
        },
        "status": {"phase": "Pending"},
    });
    let object = decode_value(body, &pod(), FieldValidation::Strict).unwrap().object;
    let bytes = encode(&object, Media::Protobuf, false);
    let back = decode(&bytes, Media::Protobuf, &pod(), FieldValidation::Strict).unwrap().object;
    assert_eq!(back.into_value(), object.into_value());
}

#[test]
fn bytes_times_and_quantities_are_checked() {
    let secret = Expected::kind(schema::kind("", "secrets").unwrap());
    let bad = |value| decode_value(value, &secret, FieldValidation::Warn).unwrap_err().to_string();
    assert!(bad(json!({"data": {"k": "!"}})).contains("illegal base64 data at input byte 0"));
    assert!(bad(json!({"metadata": {"creationTimestamp": "soon"}})).contains("parsing time \"soon\""));
    let pod_error = decode_value(
        json!({"spec": {"containers": [{"resources": {"limits": {"cpu": "x"}}}]}}),
        &pod(),
        FieldValidation::Warn,
    );
    assert!(pod_error.unwrap_err().to_string().contains("quantities must match"));
}

#[test]
fn lists_drop_their_items_kinds() {
    let item = decode_value(json!({"metadata": {"name": "a"}}), &pod(), FieldValidation::Warn)
        .unwrap()
        .object
        .into_value();
    let list = Object::from_value(
        json!({"kind": "PodList", "apiVersion": "v1", "metadata": {"resourceVersion": "7"}, "items": [item]}),
    )
    .unwrap();
    let text = String::from_utf8(encode(&list, Media::Json, false)).unwrap();
    assert!(text.starts_with("{\"kind\":\"PodList\",\"apiVersion\":\"v1\",\"metadata\":{\"resourceVersion\":\"7\"},\"items\":[{\"metadata\":{\"name\":\"a\"},\"spec\":{\"containers\":null},"), "{text}");
    let yaml = String::from_utf8(encode(&list, Media::Yaml, false)).unwrap();
    assert!(yaml.starts_with("apiVersion: v1\nitems:\n"), "{yaml}");
}

/// The types of Go's API that no served kind has, each as a body of its own.
fn shown(of: &str, body: Value) -> Value {
    let name = of.rsplit('.').next().unwrap();
    let expected =
        Expected { group: "", version: "v1", kind: name, schema: schema::type_of(of).unwrap(), also: "" };
    let map = decode_value(body, &expected, FieldValidation::Strict).unwrap().object.0;
    let raw = protobuf::encode("v1", name, expected.schema, &map);
    let back = decode(&raw, Media::Protobuf, &expected, FieldValidation::Strict).unwrap().object.0;
    let text = encode::typed(&map, expected.schema);
    assert_eq!(encode::typed(&back, expected.schema), text, "as protobuf has it");
    serde_json::from_slice(&text).unwrap()
}

#[test]
fn what_is_empty_is_shown_as_go_shows_it() {
    for (of, body, want) in [
        // Without omitempty: always. A nil slice and a nil pointer are null, a struct is shown by its own rule.
        ("core/v1.ContainerImage", json!({}), json!({"names": null})),
        (
            "core/v1.PersistentVolumeClaimSpec",
            json!({"dataSource": {}}),
            json!({"resources": {}, "dataSource": {"apiGroup": null, "kind": "", "name": ""}}),
        ),
        ("core/v1.ResourceFieldSelector", json!({}), json!({"resource": "", "divisor": "0"})),
        (
            "core/v1.PodCondition",
            json!({}),
            json!({"type": "", "status": "", "lastProbeTime": null, "lastTransitionTime": null}),
        ),
        (
            "apps/v1.DeploymentSpec",
            json!({"replicas": 0}),
            json!({"replicas": 0, "selector": null, "template": {"metadata": {}, "spec": {"containers": null}}, "strategy": {}}),
        ),
        // With it a zero says nothing, unless a pointer leads to it.
        (
            "core/v1.ContainerPort",
            json!({"name": "", "hostPort": 0, "containerPort": 0}),
            json!({"containerPort": 0}),
        ),
        (
            "core/v1.SecurityContext",
            json!({"privileged": false, "runAsUser": 0}),
            json!({"privileged": false, "runAsUser": 0}),
        ),
        (
            "core/v1.ServiceAccount",
            json!({"metadata": {"labels": {}, "finalizers": []}, "imagePullSecrets": []}),
            json!({"metadata": {}}),
        ),
    ] {
        assert_eq!(shown(of, body), want, "{of}");
    }
}

#[test]
fn forms_of_their_own() {
    let schema = |body: Value| shown("apiextensions/v1.JSONSchemaProps", body);
    for body in [
        json!({"maximum": 1.5, "minimum": -2, "multipleOf": 1e300}),
        json!({"additionalProperties": true}),
        json!({"additionalProperties": false}),
        json!({"additionalProperties": {"type": "string"}, "items": {"type": "object"}}),
        json!({"items": [{"type": "object"}, {}], "default": {"a": [1]}, "enum": [1, "x", null]}),
    ] {
        assert_eq!(schema(body.clone()), body);
    }
    assert_eq!(schema(json!({"maximum": 3.0})), json!({"maximum": 3}));
    let refused = |body: Value, of: &str| {
        let expected =
            Expected { group: "", version: "v1", kind: "X", schema: schema::type_of(of).unwrap(), also: "" };
        decode_value(body, &expected, FieldValidation::Warn).unwrap_err().to_string()
    };
    let error = refused(json!({"items": 1}), "apiextensions/v1.JSONSchemaProps");
    assert!(error.ends_with("items of type v1.JSONSchemaPropsOrArray"), "{error}");
    let error = refused(json!({"imagePullPolicy": 1}), "core/v1.Container");
    assert!(error.ends_with("Container.imagePullPolicy of type v1.PullPolicy"), "{error}");
}

/// A claim's template is a whole object in Go, with a kind of its own; protobuf has not got that.
#[test]
fn an_object_within_an_object_keeps_its_kind() {
    let expected = Expected {
        group: "apps",
        version: "v1",
        kind: "StatefulSet",
        schema: schema::type_of("apps/v1.StatefulSet").unwrap(),
        also: "",
    };
    let template = json!({"kind": "PersistentVolumeClaim", "apiVersion": "v1", "metadata": {"name": "d"}});
    let body = json!({"metadata": {}, "spec": {"volumeClaimTemplates": [template]}});
    let map = decode_value(body, &expected, FieldValidation::Strict).unwrap().object.0;
    let text = String::from_utf8(encode::typed(&map, expected.schema)).unwrap();
    assert!(text.contains(r#""volumeClaimTemplates":[{"kind":"PersistentVolumeClaim","apiVersion":"v1","metadata":{"name":"d"},"spec":{"resources":{}},"status":{}}]"#), "{text}");
}

/// The same members the other way round, wherever the type says their order.
fn reversed(value: Value, depth: usize) -> Value {
    match value {
        Value::Object(map) if depth < 2 => {
            map.into_iter().rev().map(|(name, value)| (name, reversed(value, depth + 1))).collect()
        }
        other => other,
    }
}

#[test]
fn members_of_any_order_are_read_and_written_in_gos() {
    for plural in ["pods", "nodes", "namespaces", "serviceaccounts"] {
        let kind = schema::kind("", plural).unwrap();
        let read = |value: Value| {
            decode_value(value, &Expected::kind(kind), FieldValidation::Ignore).unwrap().object.into_value()
        };
        for seed in 0..20 {
            let object = read(samples::object(kind, seed));
            let other = reversed(object.clone(), 0);
            assert_eq!(read(object.clone()).to_string(), object.to_string(), "what is in order stays");
            assert_eq!(read(other.clone()).to_string(), object.to_string());
            let json = |value: &Value| encode_of(kind, value.as_object().unwrap(), Media::Json, false);
            assert_eq!(String::from_utf8(json(&other)), String::from_utf8(json(&object)));
        }
    }
}

/// An object that a newer version has stored.
#[test]
fn unknown_members_are_written_after_the_known_ones() {
    let written = |spec: Value| {
        let pod = json!({"kind": "Pod", "apiVersion": "v1", "metadata": {}, "new": 1, "spec": spec});
        let text = encode_of(schema::kind("", "pods").unwrap(), pod.as_object().unwrap(), Media::Json, false);
        String::from_utf8(text).unwrap()
    };
    let want = r#"{"kind":"Pod","apiVersion":"v1","metadata":{},"spec":{"containers":null,"nodeName":"n","newer":{"b":1,"a":2},"new":[]},"status":{}}"#;
    let unknown = json!({"b": 1, "a": 2});
    assert_eq!(written(json!({"nodeName": "n", "newer": unknown, "new": []})).trim_end(), want);
    assert_eq!(written(json!({"newer": unknown, "nodeName": "n", "new": []})).trim_end(), want);
    assert_eq!(
        written(json!({"newer": unknown, "new": [], "nodeName": "n", "containers": null})).trim_end(),
        want
    );
}

/// Protobuf knows no list or map without entries: there it is as if nobody had said anything.
fn pruned(value: Value) -> Value {
    let empty = |value: &Value| [json!(null), json!([]), json!({})].contains(value);
    match value {
        Value::Object(map) => {
            let members = map.into_iter().map(|(key, value)| (key, pruned(value)));
            members.filter(|(_, value)| !empty(value)).collect::<serde_json::Map<_, _>>().into()
        }
        Value::Array(items) => items.into_iter().map(pruned).collect(),
        value => value,
    }
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(4))]

    /// Whatever a kind is, an object of it is the same one in either form.
    #[test]
    fn every_kind_goes_into_protobuf_and_back(seed in proptest::prelude::any::<u64>()) {
        for kind in schema::Schema::builtin().kinds() {
            let json = |object: &Object| pruned(serde_json::from_slice(&encode(object, Media::Json, false)).unwrap());
            let expected = Expected::kind(kind);
            let read = |value: Value| {
                decode_value(value, &expected, FieldValidation::Ignore).unwrap().object
            };
            let object = read(samples::object(kind, seed));
            let bytes = encode(&object, Media::Protobuf, false);
            let back = decode(&bytes, Media::Protobuf, &expected, FieldValidation::Strict).unwrap().object;
            proptest::prop_assert_eq!(encode(&back, Media::Protobuf, false), bytes, "{}", kind.kind);
            proptest::prop_assert_eq!(json(&back), json(&object), "{}", kind.kind);
        }
    }

    /// What is stored is defaulted each time it is read: that must change nothing any more.
    #[test]
    fn defaulting_twice_is_defaulting_once(seed in proptest::prelude::any::<u64>()) {
        for kind in schema::Schema::builtin().kinds() {
            let expected = Expected::kind(kind);
            let sample = decode_value(samples::object(kind, seed), &expected, FieldValidation::Ignore);
            let mut object = sample.unwrap().object;
            crate::defaults::apply(kind, &mut object);
            let once = object.clone();
            crate::defaults::apply(kind, &mut object);
            proptest::prop_assert_eq!(&object, &once, "{}", kind.kind);
        }
    }
}

proptest::proptest! {
    #[test]
    fn protobuf_never_panics(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
        let body = tokensmith_api::proto::frame("v1", "Pod", &bytes);
        let _ = decode(&body, Media::Protobuf, &pod(), FieldValidation::Warn);
    }
}

#[test]
fn what_upstreams_own_types_read_by_themselves_is_refused_in_their_words() {
    let expected = Expected::kind(schema::kind("policy", "poddisruptionbudgets").unwrap());
    let read = |body: &str| {
        decode(body.as_bytes(), Media::Json, &expected, FieldValidation::Ignore).map_err(|e| e.to_string())
    };
    for (value, what) in [("1.5", "number 1.5"), ("2147483648", "number 2147483648"), ("true", "bool")] {
        let told = read(&format!("{{\"spec\": {{\"minAvailable\": {value}}}}}")).unwrap_err();
        let want = format!(
            "json: cannot unmarshal {what} into Go struct field PodDisruptionBudgetSpec.spec.minAvailable of type int32"
        );
        assert!(told.ends_with(&want), "{told}");
    }
    let told = read("{\"apiVersion\": \"policy/v1/\"}").unwrap_err();
    assert_eq!(
        told,
        "the object provided is unrecognized (must be of type PodDisruptionBudget): unexpected GroupVersion string: policy/v1/ ({\"apiVersion\": \"policy/v1/\"})"
    );
    let claims = Expected::kind(schema::kind("", "persistentvolumeclaims").unwrap());
    let of = |amount: &str| {
        let body =
            format!("{{\"spec\": {{\"resources\": {{\"requests\": {{\"storage\": \"{amount}\"}}}}}}}}");
        decode(body.as_bytes(), Media::Json, &claims, FieldValidation::Ignore).map_err(|e| e.to_string())
    };
    assert_eq!(of(" 1Gi ").unwrap().object.str_at(&["spec", "resources", "requests", "storage"]), "1Gi");
    assert!(of("1Gi\\n").is_err(), "what is escaped is no blank");
    assert!(of("1Gi-").unwrap_err().ends_with("unable to parse quantity's suffix"));
    let late = decode(
        br#"{"metadata": {"creationTimestamp": "2026-01-01T00:00:00Z."}}"#,
        Media::Json,
        &claims,
        FieldValidation::Ignore,
    );
    let told = late.map_err(|e| e.to_string()).unwrap_err();
    assert!(told.ends_with(r#": parsing time "2026-01-01T00:00:00Z.": extra text: ".""#), "{told}");
}
