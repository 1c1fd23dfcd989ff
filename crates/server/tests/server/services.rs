//! Addresses and ports of nodes: nobody gets what another one has, and nothing is lost, whatever becomes of who asks.

use std::time::Duration;

use serde_json::{Value, json};

use tokensmith_core::store::{Expect, Store};

use crate::gate::{Next, leave, world};
use crate::world::{ADMIN, Answer, World, told};

const SERVICES: &str = "/api/v1/namespaces/default/services";
const ADDRESSES: &str = "/apis/networking.k8s.io/v1/ipaddresses";
const TAKEN: &str = "provided port is already allocated";

fn key(name: &str) -> String {
    format!("/registry/services/default/{name}")
}

fn service(name: &str, spec: Value) -> Value {
    let mut service = json!({"metadata": {"name": name}, "spec": {"ports": [{"port": 80}]}});
    for (field, value) in spec.as_object().unwrap() {
        service["spec"][field] = value.clone();
    }
    service
}

fn at_port(name: &str, port: u16) -> Value {
    service(name, json!({"type": "NodePort", "ports": [{"port": 80, "nodePort": port}]}))
}

async fn patch(world: &World, path: &str, body: Value) -> Answer {
    let headers = [("content-type", "application/merge-patch+json")];
    world.send("PATCH", path, Some(ADMIN), &headers, body.to_string().into()).await
}

fn later(world: &World) {
    world.clock.advance(Duration::from_secs(61));
}

#[tokio::test]
async fn a_port_of_who_went_away_is_not_given_twice() {
    let (gate, world) = world().await;
    gate.next(&key("a"), Next::Done);
    leave(&gate, world.post(SERVICES, at_port("a", 30_500))).await;
    let refused = world.post(SERVICES, at_port("b", 30_500)).await;
    assert!(told(&refused).1.contains(TAKEN), "{}", told(&refused).1);
    later(&world);
    assert_eq!(world.post(SERVICES, at_port("b", 30_500)).await.status, 422, "it was written");

    gate.next(&key("c"), Next::Waits);
    leave(&gate, world.post(SERVICES, at_port("c", 30_501))).await;
    assert_eq!(world.post(SERVICES, at_port("d", 30_501)).await.status, 422, "it may be on its way");
    later(&world);
    assert_eq!(world.post(SERVICES, at_port("d", 30_501)).await.status, 201, "it never came");
}

#[tokio::test]
async fn what_a_write_that_is_not_known_to_have_failed_has_taken_is_not_given_twice() {
    let (gate, world) = world().await;
    gate.next(&key("a"), Next::Fails);
    let mut a = at_port("a", 30_500);
    a["spec"]["clusterIP"] = "10.0.0.50".into();
    assert_eq!(world.post(SERVICES, a).await.status, 500);
    assert_eq!(world.post(SERVICES, at_port("b", 30_500)).await.status, 422);
    let there = service("b", json!({"clusterIP": "10.0.0.50"}));
    assert_eq!(world.post(SERVICES, there.clone()).await.status, 422);
    later(&world);
    assert_eq!(world.post(SERVICES, there).await.status, 422);
    // What is refused has been given back.
    let wrong = service(
        "b",
        json!({"type": "NodePort", "clusterIP": "10.0.0.51", "ports": [{"port": 80, "nodePort": 30_502, "targetPort": 70_000}]}),
    );
    assert_eq!(world.post(SERVICES, wrong).await.status, 422);
    let mut right = at_port("b", 30_502);
    right["spec"]["clusterIP"] = "10.0.0.51".into();
    world.post(SERVICES, right).await.ok();
}

#[tokio::test]
async fn a_port_is_free_once_its_service_is_gone() {
    let (gate, world) = world().await;
    world.post(SERVICES, at_port("a", 30_500)).await.ok();
    gate.next(&key("a"), Next::Done);
    leave(&gate, world.delete(&format!("{SERVICES}/a"))).await;
    world
        .until("it is gone", || async {
            world.get(&format!("{SERVICES}/a"), Some(ADMIN)).await.status == 404
        })
        .await;
    world.post(SERVICES, at_port("b", 30_500)).await.ok();
    // And once it has another type.
    patch(&world, &format!("{SERVICES}/b"), json!({"spec": {"type": "ClusterIP"}})).await.ok();
    world.post(SERVICES, at_port("c", 30_500)).await.ok();
}

#[tokio::test]
async fn a_port_that_another_server_has_given_is_taken() {
    let (gate, world) = world().await;
    world.post(SERVICES, at_port("a", 30_500)).await.ok();
    let mut other: Value =
        serde_json::from_slice(&gate.get(&key("a")).await.unwrap().unwrap().value).unwrap();
    other["metadata"]["name"] = "b".into();
    other["spec"]["ports"][0]["nodePort"] = 30_501.into();
    gate.put(&key("b"), other.to_string().into(), Expect::Absent).await.unwrap();
    world
        .until("it shows", || async { world.get(&format!("{SERVICES}/b"), Some(ADMIN)).await.status == 200 })
        .await;
    assert!(told(&world.post(SERVICES, at_port("c", 30_501)).await).1.contains(TAKEN));
}

#[tokio::test]
async fn a_service_that_comes_as_another_of_its_name_goes_keeps_its_address() {
    let (gate, world) = world().await;
    let own = service("a", json!({"clusterIP": "10.0.0.50"}));
    world.post(SERVICES, own.clone()).await.ok();
    later(&world);
    gate.next(&key("a"), Next::Done);
    let path = format!("{SERVICES}/a");
    let deleted = world.delete(&path);
    let made = async {
        gate.came.notified().await;
        world.until("it is gone", || async { world.get(&path, Some(ADMIN)).await.status == 404 }).await;
        world.post(SERVICES, own).await.ok();
        gate.open.notify_one();
    };
    let (deleted, ()) = tokio::join!(deleted, made);
    deleted.ok();
    world.get(&format!("{ADDRESSES}/10.0.0.50"), Some(ADMIN)).await.ok();
}

#[tokio::test]
async fn a_change_that_is_the_last_of_its_service_keeps_nothing() {
    let (_, world) = world().await;
    let mut a = service("a", json!({"type": "ExternalName", "externalName": "a.example"}));
    a["metadata"]["finalizers"] = json!(["a.example/f"]);
    world.post(SERVICES, a).await.ok();
    let path = format!("{SERVICES}/a");
    world.delete(&path).await.ok();
    let spec = json!({"type": "NodePort", "externalName": null, "clusterIP": "10.0.0.50", "ports": [{"port": 80, "nodePort": 30_500}]});
    patch(&world, &path, json!({"metadata": {"finalizers": null}, "spec": spec})).await.ok();
    assert_eq!(world.get(&path, Some(ADMIN)).await.status, 404);
    let mut b = at_port("b", 30_500);
    b["spec"]["clusterIP"] = "10.0.0.50".into();
    world.post(SERVICES, b).await.ok();
}

#[tokio::test]
async fn an_address_that_its_service_does_not_have_is_free_after_a_while() {
    let (gate, world) = world().await;
    let named = service("a", json!({"type": "ExternalName", "externalName": "a.example"}));
    world.post(SERVICES, named).await.ok();
    gate.next(&key("a"), Next::Waits);
    let spec = json!({"type": "ClusterIP", "externalName": null, "clusterIP": "10.0.0.50"});
    leave(&gate, patch(&world, &format!("{SERVICES}/a"), json!({ "spec": spec }))).await;
    let other = service("b", json!({"clusterIP": "10.0.0.50"}));
    let refused = told(&world.post(SERVICES, other.clone()).await).1;
    assert!(
        refused.ends_with("failed to allocate IP 10.0.0.50: provided IP is already allocated"),
        "{refused}"
    );
    later(&world);
    world.post(SERVICES, other).await.ok();
}

#[tokio::test]
async fn ports_of_one_service_may_share_one_of_nodes() {
    let (_, world) = world().await;
    let of = |ports: Value| service("a", json!({"type": "NodePort", "ports": ports}));
    let dns = |second: Value| json!([{"name": "t", "port": 53, "nodePort": 30_500}, {"name": "u", "port": 53, "protocol": "UDP", "nodePort": second}]);
    // A new one by the port's number.
    let made = world.post(SERVICES, of(dns(Value::Null))).await.ok();
    assert_eq!(made["spec"]["ports"][1]["nodePort"], 30_500);
    let two = json!([{"name": "t", "port": 1, "nodePort": 30_501}, {"name": "u", "port": 2, "protocol": "UDP", "nodePort": 30_501}]);
    let mut other = of(two.clone());
    other["metadata"]["name"] = "b".into();
    let refused = told(&world.post(SERVICES, other).await).1;
    assert!(
        refused.ends_with(&format!("spec.ports[1].nodePort: Invalid value: 30501: {TAKEN}")),
        "{refused}"
    );
    // One that changes by the protocol alone, and gives each port that names none its own.
    let path = format!("{SERVICES}/a");
    let put = |body: Value| {
        let (world, path) = (&world, &path);
        async move { world.send("PUT", path, Some(ADMIN), &[], body.to_string().into()).await }
    };
    assert_eq!(put(of(two)).await.ok()["spec"]["ports"][1]["nodePort"], 30_501);
    let same =
        json!([{"name": "t", "port": 1, "nodePort": 30_501}, {"name": "v", "port": 2, "nodePort": 30_501}]);
    assert_eq!(told(&put(of(same)).await), (500, "duplicate nodePort: {TCP 30501}".into()));
    let open = json!([{"name": "x", "port": 1}, {"name": "y", "port": 1, "protocol": "UDP"}]);
    let changed = put(of(open)).await.ok();
    let ports = &changed["spec"]["ports"];
    assert_ne!(ports[0]["nodePort"], ports[1]["nodePort"]);
}

#[tokio::test]
async fn a_port_for_health_is_none_of_the_services_others() {
    let (_, world) = world().await;
    let balanced = |name: &str, node: u16, health: u16| {
        service(
            name,
            json!({"type": "LoadBalancer", "externalTrafficPolicy": "Local", "healthCheckNodePort": health, "ports": [{"port": 80, "nodePort": node}]}),
        )
    };
    let why = |port: u16| {
        (
            500,
            format!(
                "Internal error occurred: failed to allocate requested HealthCheck NodePort {port}: {TAKEN}"
            ),
        )
    };
    assert_eq!(told(&world.post(SERVICES, balanced("a", 30_500, 30_500)).await), why(30_500));
    world.post(SERVICES, at_port("a", 30_500)).await.ok();
    let path = format!("{SERVICES}/a");
    let spec = |health: u16| json!({"spec": {"type": "LoadBalancer", "externalTrafficPolicy": "Local", "healthCheckNodePort": health}});
    assert_eq!(told(&patch(&world, &path, spec(30_500)).await), why(30_500));
    patch(&world, &path, spec(30_501)).await.ok();
    let health = json!({"spec": {"ports": [{"port": 80, "nodePort": 30_501}]}});
    assert!(told(&patch(&world, &path, health).await).1.contains(TAKEN));
}

const ENDPOINTS: &str = "/api/v1/namespaces/default/endpoints/kubernetes";
const SLICE: &str = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/kubernetes";
const NETWORKS: &str = "/apis/networking.k8s.io/v1/servicecidrs";

/// Waits until an object has what is wanted at a place.
async fn shows(world: &World, path: &str, at: &str, wanted: Value) {
    let now = || async { world.get(path, Some(ADMIN)).await.json().pointer(at).cloned() };
    world.until(path, || async { now().await.as_ref() == Some(&wanted) }).await;
}

#[tokio::test]
async fn the_servers_own_service_leads_to_it() {
    let world = World::with_options(|o| o.advertised = Some("192.0.2.10:7443".parse().unwrap())).await;
    let get = |path: &'static str| {
        let world = &world;
        async move { world.get(path, Some(ADMIN)).await.ok() }
    };
    let subset = |ip: &str, port: u16| json!({"addresses": [{"ip": ip}], "ports": [{"name": "https", "port": port, "protocol": "TCP"}]});
    let endpoints = get(ENDPOINTS).await;
    assert_eq!(endpoints["subsets"], json!([subset("192.0.2.10", 7443)]));
    assert_eq!(endpoints["metadata"]["labels"], json!({"endpointslice.kubernetes.io/skip-mirror": "true"}));
    let slice = get(SLICE).await;
    assert_eq!(slice["metadata"]["labels"], json!({"kubernetes.io/service-name": "kubernetes"}));
    assert_eq!(slice["addressType"], "IPv4");
    assert_eq!(slice["endpoints"], json!([{"addresses": ["192.0.2.10"], "conditions": {"ready": true}}]));
    assert_eq!(slice["ports"], json!([{"name": "https", "port": 7443, "protocol": "TCP"}]));
    let own = format!("{SERVICES}/kubernetes");
    let service = world.get(&own, Some(ADMIN)).await.ok();
    assert_eq!(service["spec"]["ports"][0]["targetPort"], 7443);

    // Whatever is changed comes back, but for the port.
    let ports = json!([{"name": "https", "port": 8443, "protocol": "TCP"}]);
    let changed = json!({"subsets": [{"addresses": [{"ip": "192.0.2.11"}], "ports": ports}]});
    patch(&world, ENDPOINTS, changed).await.ok();
    shows(&world, ENDPOINTS, "/subsets", json!([subset("192.0.2.10", 8443)])).await;
    shows(&world, SLICE, "/ports/0/port", 8443.into()).await;
    patch(&world, ENDPOINTS, json!({"subsets": null, "metadata": {"labels": null}})).await.ok();
    shows(&world, ENDPOINTS, "/subsets", json!([subset("192.0.2.10", 7443)])).await;
    patch(&world, SLICE, json!({"endpoints": []})).await.ok();
    shows(&world, SLICE, "/endpoints/0/addresses/0", "192.0.2.10".into()).await;
    for (path, at, value) in [
        (ENDPOINTS, "/subsets/0/addresses/0/ip", json!("192.0.2.10")),
        (SLICE, "/endpoints/0/addresses/0", json!("192.0.2.10")),
        (&own, "/spec/clusterIP", json!("10.0.0.1")),
    ] {
        world.delete(path).await.ok();
        shows(&world, path, at, value).await;
    }
    let six = World::with_options(|o| o.advertised = Some("[fd00::10]:6443".parse().unwrap())).await;
    assert_eq!(six.get(SLICE, Some(ADMIN)).await.ok()["addressType"], "IPv6");
    let nowhere = World::new().await;
    assert_eq!(nowhere.get(ENDPOINTS, Some(ADMIN)).await.status, 404);
    assert_eq!(nowhere.get(&own, Some(ADMIN)).await.ok()["spec"]["ports"][0]["targetPort"], 6443);
}

#[tokio::test]
async fn addresses_are_of_networks_that_are_ready() {
    let world = World::new().await;
    let own = format!("{NETWORKS}/kubernetes");
    let ready = json!([{
        "type": "Ready", "status": "True", "reason": "", "message": "Kubernetes default Service CIDR is ready",
        "lastTransitionTime": "2026-01-01T10:00:07Z",
    }]);
    assert_eq!(world.get(&own, Some(ADMIN)).await.ok()["status"], json!({"conditions": ready}));
    world
        .post(NETWORKS, json!({"metadata": {"name": "more"}, "spec": {"cidrs": ["10.9.0.0/29"]}}))
        .await
        .ok();
    let more = format!("{NETWORKS}/more");
    assert_eq!(
        world.get(&more, Some(ADMIN)).await.ok()["status"],
        json!({}),
        "that is for another controller"
    );
    let service = |name: &str, ip: &str| service(name, json!({"clusterIP": ip}));
    let outside = "the provided network does not match the current range";
    assert!(told(&world.post(SERVICES, service("a", "10.9.0.2")).await).1.ends_with(outside));
    patch(&world, &format!("{more}/status"), json!({"status": {"conditions": ready}})).await.ok();
    world.post(SERVICES, service("a", "10.9.0.2")).await.ok();
    assert!(told(&world.post(SERVICES, service("b", "10.9.0.7")).await).1.ends_with(outside));
    // Of one that is not ready nobody gets an address; what was given stays.
    let not = json!({"status": {"conditions": [{"type": "Ready", "status": "False", "reason": "r", "message": "", "lastTransitionTime": "2026-01-01T10:00:07Z"}]}});
    patch(&world, &format!("{own}/status"), not).await.ok();
    for name in ["b", "c", "d", "e", "f"] {
        let made = world.post(SERVICES, self::service(name, json!({}))).await.ok();
        assert!(made["spec"]["clusterIP"].as_str().unwrap().starts_with("10.9.0."));
    }
    let full = told(&world.post(SERVICES, self::service("g", json!({}))).await);
    assert_eq!(full, (500, "Internal error occurred: failed to allocate a serviceIP: range is full".into()));
    world.get(&format!("{SERVICES}/kubernetes"), Some(ADMIN)).await.ok();
    // The server's own comes back, ready.
    world.delete(&own).await.ok();
    shows(&world, &own, "/status/conditions/0/status", "True".into()).await;
    world.post(SERVICES, service("g", "10.0.0.77")).await.ok();
}
