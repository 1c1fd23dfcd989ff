use std::time::Instant;

use serde_json::json;

use super::*;
use crate::schema::{ListType, Shape, types};

#[test]
fn every_type_can_be_read() {
    assert!(types().len() > 588, "{}", types().len());
    for of in types().all() {
        let either = of.short_name().contains("PropsOr");
        for field in of.fields() {
            assert_eq!(field.inline || either, field.name.is_empty(), "{of:?}");
        }
    }
}

#[test]
fn what_go_declares_is_exact() {
    let field = |of: &str, name: &str| types().get(of).unwrap().field(name).unwrap();
    let ports = field("core/v1.Container", "ports");
    assert_eq!((&*ports.merge_key, &*ports.patch, ports.list), ("containerPort", "merge", ListType::Map));
    assert_eq!(ports.keys.iter().map(|k| &**k).collect::<Vec<_>>(), ["containerPort", "protocol"]);
    assert_eq!(field("core/v1.Container", "args").list, ListType::Atomic);
    assert!(field("core/v1.PodSpec", "nodeSelector").atomic);
    assert!(types().get("core/v1.ObjectReference").unwrap().is_atomic());
    assert!(field("core/v1.NodeFeatures", "supplementalGroupsPolicy").pointer);
    assert!(!field("apis/meta/v1.ObjectMeta", "creationTimestamp").always);
    assert_eq!(field("core/v1.Container", "imagePullPolicy").values.len(), 3);
    assert_eq!(go_type(field("core/v1.ResourceRequirements", "limits").go()), "v1.ResourceList");
    assert_eq!(go_type(field("apis/meta/v1.ObjectMeta", "uid").go()), "types.UID");
    assert_eq!(field("apiextensions/v1.JSONSchemaProps", "maximum").shape, Shape::Float64);
}

#[test]
fn types_of_ones_own_stand_on_the_built_in_ones() {
    let base = Arc::new(Types::of_rows(
        [("apis/meta/v1.ObjectMeta", r#"[["name","string",1,"omitempty"]]"#)].into_iter(),
    ));
    let more = |types: Value| base.with(types.as_object().unwrap());
    let own = more(json!({
        "x.Widget": [["metadata", "apis/meta/v1.ObjectMeta", 1, "omitempty"], ["", "x.Part", 2, "inline"]],
        "x.Part": [["parts", "[]x.Widget", 1, "omitempty"]],
    }))
    .unwrap();
    let widget = own.get("x.Widget").unwrap();
    assert_eq!(widget.message(widget.field("metadata").unwrap()).unwrap().name(), "apis/meta/v1.ObjectMeta");
    assert_eq!((widget.rank("metadata"), widget.rank("parts"), own.len()), (0, 1, 3));
    assert_eq!(
        more(json!({"apis/meta/v1.ObjectMeta": []})).unwrap_err().to_string(),
        r#"type "apis/meta/v1.ObjectMeta" exists already"#
    );
    let circle = json!({"x.A": [["", "x.B", 1, "inline"]], "x.B": [["", "x.A", 1, "inline"]]});
    assert!(matches!(more(circle), Err(TypesError::Circle(_))));
    for bad in [
        json!(1),
        json!([1]),
        json!([["a", "x.None", 1]]),
        json!([["a", "string", -1]]),
        json!([["a", "string", 1, "odd"]]),
        json!([["", "string", 1, "inline"]]),
    ] {
        assert!(matches!(more(json!({"x.A": bad})), Err(TypesError::Malformed { .. })));
    }
}

/// What reading the types of the whole API costs: `cargo test --release -p tokensmith-objects reading_all -- --ignored --nocapture`.
#[test]
#[ignore = "it measures"]
#[expect(clippy::disallowed_methods, reason = "what it measures is the machine's time")]
fn reading_all_types_is_cheap() {
    let (before, began) = (resident(), Instant::now());
    let count = types().all().map(|of| of.fields().len()).sum::<usize>();
    let (took, grown) = (began.elapsed(), resident().saturating_sub(before));
    println!("{} types with {count} fields read in {took:?}, {grown} KiB more resident", types().len());
    assert!(took.as_millis() < 10 && grown < 4096);
}

fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}
