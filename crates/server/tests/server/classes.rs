//! What admission fills in and refuses by other objects: classes, sizes, where a node is.

use serde_json::{Value, json};

use crate::world::{ADMIN, Answer, START, World, told};

const INGRESSES: &str = "/apis/networking.k8s.io/v1/namespaces/default/ingresses";
const CLASSES: &str = "/apis/networking.k8s.io/v1/ingressclasses";
const CLAIMS: &str = "/api/v1/namespaces/default/persistentvolumeclaims";
const PODS: &str = "/api/v1/namespaces/default/pods";

async fn patch(world: &World, path: &str, body: Value) -> Answer {
    let merge = [("content-type", "application/merge-patch+json")];
    world.send("PATCH", path, Some(ADMIN), &merge, body.to_string().into_bytes()).await
}

#[tokio::test]
async fn an_ingress_gets_the_default_class_that_was_made_last() {
    let world = World::new().await;
    let ingress = |name: &str, annotations: Value, class: Option<&str>| {
        let backend = json!({"service": {"name": "s", "port": {"number": 80}}});
        let mut ingress = json!({"metadata": {"name": name, "annotations": annotations}, "spec": {"defaultBackend": backend}});
        if let Some(class) = class {
            ingress["spec"]["ingressClassName"] = class.into();
        }
        ingress
    };
    let class =
        async |ingress: Value| world.post(INGRESSES, ingress).await.ok()["spec"]["ingressClassName"].clone();
    assert_eq!(class(ingress("none", json!({}), None)).await, Value::Null);
    let make = async |name: &str, default: &str| {
        let marks = json!({"ingressclass.kubernetes.io/is-default-class": default});
        let made =
            json!({"metadata": {"name": name, "annotations": marks}, "spec": {"controller": "a.example/b"}});
        world.post(CLASSES, made).await.ok();
    };
    make("b", "true").await;
    make("a", "true").await;
    make("c", "false").await;
    assert_eq!(class(ingress("first", json!({}), None)).await, "a");
    world.clock.jump(START + std::time::Duration::from_secs(60));
    make("z", "true").await;
    assert_eq!(class(ingress("last", json!({}), None)).await, "z");
    assert_eq!(class(ingress("own", json!({}), Some("c"))).await, "c");
    let old = json!({"kubernetes.io/ingress.class": "c"});
    assert_eq!(class(ingress("old", old, None)).await, Value::Null);
}

#[tokio::test]
async fn a_claim_grows_if_its_class_lets_it() {
    let world = World::new().await;
    for (name, grows) in [("fixed", json!(false)), ("open", Value::Null), ("wide", json!(true))] {
        let class =
            json!({"metadata": {"name": name}, "provisioner": "a.example/b", "allowVolumeExpansion": grows});
        world.post("/apis/storage.k8s.io/v1/storageclasses", class).await.ok();
        let claim = json!({"metadata": {"name": name}, "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": name,
            "resources": {"requests": {"storage": "1Gi"}}}});
        world.post(CLAIMS, claim).await.ok();
    }
    let grow = async |name: &str, size: &str| {
        told(
            &patch(
                &world,
                &format!("{CLAIMS}/{name}"),
                json!({"spec": {"resources": {"requests": {"storage": size}}}}),
            )
            .await,
        )
    };
    for name in ["fixed", "open", "wide"] {
        assert_ne!(grow(name, "2Gi").await.0, 200, "it is not bound");
        let bound =
            patch(&world, &format!("{CLAIMS}/{name}/status"), json!({"status": {"phase": "Bound"}})).await;
        assert_eq!(bound.status, 200);
    }
    for name in ["fixed", "open"] {
        let refused = format!(
            "persistentvolumeclaims \"{name}\" is forbidden: only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support resize"
        );
        assert_eq!(grow(name, "2Gi").await, (403, refused));
        assert_eq!(grow(name, "1024Mi").await.0, 200, "as much as before");
    }
    assert_eq!(grow("wide", "2Gi").await.0, 200);
}

#[tokio::test]
async fn a_pod_says_where_its_node_is() {
    let world = World::new().await;
    let labels =
        json!({"topology.kubernetes.io/zone": "z", "topology.kubernetes.io/region": "r", "other": "o"});
    world.post("/api/v1/nodes", json!({"metadata": {"name": "n", "labels": labels}})).await.ok();
    let pod = |name: &str, node: Value| {
        let labels = json!({"topology.kubernetes.io/zone": "mine"});
        json!({"metadata": {"name": name, "labels": labels}, "spec": {"nodeName": node, "containers": [{"name": "c", "image": "i"}]}})
    };
    let made = world.post(PODS, pod("a", "n".into())).await.ok();
    let own = json!({"topology.kubernetes.io/zone": "mine", "topology.kubernetes.io/region": "r"});
    assert_eq!(made["metadata"]["labels"], own);
    let made = world.post(PODS, pod("b", Value::Null)).await.ok();
    assert_eq!(made["metadata"]["labels"], json!({"topology.kubernetes.io/zone": "mine"}));
    let binding = json!({"metadata": {"name": "b"}, "target": {"kind": "Node", "name": "n"}});
    world.post(&format!("{PODS}/b/binding"), binding).await.ok();
    let bound = world.get(&format!("{PODS}/b"), Some(ADMIN)).await.ok();
    // A binding's labels are put over those of the pod.
    assert_eq!(
        bound["metadata"]["labels"],
        json!({"topology.kubernetes.io/zone": "z", "topology.kubernetes.io/region": "r"})
    );
    world.post(PODS, pod("c", "elsewhere".into())).await.ok();
}
