//! Every route refuses strangers, and the OpenAPI document says what the router does.

use std::collections::BTreeSet;

use crate::world::{JANE, World};
use serde_json::Value;
use tokensmith::testing_clock;
use tokensmith_objects::schema::Schema;
use tokensmith_server::routes::OWN;

/// What is no kind's: the server's own endpoints, and the clock's, which come from another crate.
fn own() -> Vec<(&'static str, &'static [&'static str])> {
    let own = OWN.iter().map(|route| (route.path, route.methods));
    own.chain([(testing_clock::PATH, testing_clock::METHODS)]).collect()
}

/// Everything that is served: method and path.
fn all() -> Vec<(&'static str, String)> {
    let mut all: Vec<_> =
        own().iter().flat_map(|(path, methods)| methods.iter().map(|m| (*m, (*path).to_owned()))).collect();
    for kind in Schema::serving(["api/all"]).unwrap().served() {
        let root = match kind.group.as_str() {
            "" => format!("/api/{}", kind.version),
            group => format!("/apis/{group}/{}", kind.version),
        };
        let collection = match kind.namespaced {
            true => format!("{root}/namespaces/default/{}", kind.plural),
            false => format!("{root}/{}", kind.plural),
        };
        if !kind.stored {
            let read = kind.verbs.iter().any(|verb| verb == "get");
            all.push((if read { "GET" } else { "POST" }, collection));
            continue;
        }
        all.extend(["GET", "POST", "DELETE"].map(|m| (m, collection.clone())));
        all.push(("GET", format!("{collection}?watch=true&timeoutSeconds=1")));
        all.extend(["GET", "PUT", "PATCH", "DELETE"].map(|m| (m, format!("{collection}/x"))));
        for sub in &kind.subresources {
            all.extend(["GET", "POST", "PUT", "PATCH"].map(|m| (m, format!("{collection}/x/{}", sub.name))));
        }
    }
    all
}

#[tokio::test]
async fn strangers_are_refused() {
    let world = World::serving("api/all").await;
    // What system:public-info-viewer opens to everyone.
    let public = ["/healthz", "/livez", "/readyz", "/version"];
    for (method, path) in all() {
        let nobody = world.send(method, &path, None, &[], Vec::new()).await;
        let liar = world.send(method, &path, Some("not-a-token"), &[], Vec::new()).await;
        assert_eq!(liar.status, 401, "{method} {path} with a wrong token");
        assert_eq!(liar.json()["message"], "Unauthorized");
        if public.contains(&path.as_str()) {
            assert_eq!(nobody.status, 200, "{method} {path}");
            continue;
        }
        assert_eq!(nobody.status, 403, "{method} {path} without credentials");
        assert_eq!(nobody.header("x-content-type-options"), "nosniff");
        let message = nobody.json()["message"].as_str().unwrap().to_owned();
        assert!(message.contains("User \"system:anonymous\" cannot"), "{message}");
    }
}

#[tokio::test]
async fn a_user_without_rights_gets_to_know_what_is_served_and_no_more() {
    let world = World::serving("api/all").await;
    let open = ["/healthz", "/livez", "/readyz", "/version", "/api", "/apis", "/openapi/v2", "/openapi/v3"];
    let reviews = ["selfsubjectreviews", "selfsubjectaccessreviews", "selfsubjectrulesreviews"];
    for (method, path) in all() {
        let answer = world.send(method, &path, Some(JANE), &[], Vec::new()).await;
        let last = path.rsplit('/').next().unwrap_or("");
        if open.contains(&path.as_str()) {
            assert_eq!(answer.status, 200, "{method} {path}");
        } else if path == "/openapi/v3/{*document}" {
            assert_eq!(answer.status, 404, "{method} {path}: allowed, but not there");
        } else if reviews.contains(&last) {
            assert_eq!(answer.status, 400, "{method} {path}: allowed, but the body is empty");
        } else {
            assert_eq!(answer.status, 403, "{method} {path}");
        }
    }
}

#[tokio::test]
async fn without_anonymous_access_there_is_nobody() {
    let world = World::with(|config| config.anonymous_auth = false).await;
    for (method, path) in all() {
        assert_eq!(world.send(method, &path, None, &[], Vec::new()).await.status, 401, "{method} {path}");
    }
}

#[test]
fn the_document_describes_the_router() {
    let text = include_bytes!("../../../../openapi/tokensmith.yaml");
    let document = tokensmith_api::yaml::parse(text).unwrap().value;
    let described: BTreeSet<(String, String)> = document["paths"]
        .as_object()
        .unwrap()
        .iter()
        .flat_map(|(path, item)| {
            let methods = item.as_object().unwrap().keys().filter(|key| *key != "parameters");
            methods.map(|method| (path.clone(), method.to_uppercase()))
        })
        .collect();
    // Those of the token endpoint are there where a policy is.
    let routed: BTreeSet<(String, String)> = own()
        .iter()
        .chain(tokensmith::EXCHANGE_ENDPOINTS)
        .flat_map(|(p, methods)| methods.iter().map(|m| ((*p).to_owned(), (*m).to_owned())))
        .collect();
    // What holds the rest of a path is written `{*NAME}` here alone.
    let routed = routed.into_iter().map(|(path, method)| (path.replace("{*", "{"), method)).collect();
    assert_eq!(described, routed);
    let mut refs = Vec::new();
    references(&document, &mut refs);
    for reference in refs {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{reference} leads nowhere");
    }
}

fn references(value: &Value, out: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            out.extend(map.get("$ref").and_then(Value::as_str).map(str::to_owned));
            map.values().for_each(|v| references(v, out));
        }
        Value::Array(items) => items.iter().for_each(|v| references(v, out)),
        _ => {}
    }
}

#[tokio::test]
async fn the_router_answers_to_what_the_table_says() {
    let world = World::new().await;
    // What upstream's own mux answers does not look at the method; nor does its list of groups.
    let any = ["/", "/apis", "/healthz", "/index.html", "/livez", "/metrics", "/readyz"];
    let rest = |path: &str| path.ends_with("/{*name}") || path.starts_with("/openapi/");
    for (path, methods) in own() {
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE"] {
            let answer = world.send(method, path, Some(crate::world::ADMIN), &[], b"{}".to_vec()).await;
            let served = methods.contains(&method) || any.contains(&path) || rest(path);
            assert_eq!(answer.status == 405, !served, "{method} {path}: {}", answer.status);
        }
    }
}
