//! One server, as people use it.
#![expect(clippy::unwrap_used, reason = "a test that fails here says where")]

mod built;
mod disk;
mod lookalikes;
mod options;

use std::sync::Arc;
use std::time::Duration;

use axum::routing::get;
use http::Method;
use serde_json::{Value, json};
use tokensmith::{Access, Authorization, CallError, Route, Server, StartError};
use tokensmith_api::Media;
use tokensmith_core::access::Identity;
use tokensmith_core::access::authenticators::TokenFile;
use tokensmith_objects::codec::{self, Expected, FieldValidation};
use tokensmith_objects::schema::{Kind, types};

#[tokio::test]
async fn an_address_that_is_taken_is_said() {
    let first = Server::ephemeral().start().await.unwrap();
    let address = first.url().strip_prefix("https://").unwrap().parse().unwrap();
    let second = Server::ephemeral().address(address).start().await;
    assert!(matches!(second.err(), Some(StartError::Listen(_))));
}

#[tokio::test]
async fn a_refusal_is_in_kubernetes_words() {
    let server = Server::ephemeral().start().await.unwrap();
    let short = server.token("default/builder").seconds(5).await.unwrap_err();
    let CallError::Refused { code, reason, message } = &short else { panic!("{short:?}") };
    assert_eq!((*code, &**reason), (422, "Invalid"));
    assert!(message.contains("may not specify a duration less than 10 minutes"), "{message}");
    for none in ["builder", "/builder", "default/", "a/b/c"] {
        assert!(matches!(server.token(none).await, Err(CallError::Account(_))), "{none}");
    }
}

#[tokio::test]
async fn the_kubeconfig_opens_the_server_over_tls_and_no_credential_shows() {
    let server = Server::ephemeral().start().await.unwrap();
    let config: Value = serde_json::from_str(&server.kubeconfig()).unwrap();
    let bearer = config["users"][0]["user"]["token"].as_str().unwrap().to_owned();
    let http = reqwest::Client::builder().tls_backend_preconfigured(server.client_tls().unwrap());
    let http = http.no_proxy().build().unwrap();
    let url = config["clusters"][0]["cluster"]["server"].as_str().unwrap();
    let asked = http.get(format!("{url}/api/v1/namespaces")).bearer_auth(&bearer).send().await.unwrap();
    let list: Value = asked.json().await.unwrap();
    assert_eq!(list["kind"], "NamespaceList");
    let ca = server.call(Method::GET, "/api/v1/namespaces/default/configmaps/kube-root-ca.crt", None).await;
    assert_eq!(ca.unwrap()["data"]["ca.crt"], server.ca());

    let token = server.token("default/builder").await.unwrap();
    assert!(!format!("{token:?}").contains(token.as_str()));
}

#[tokio::test]
async fn what_one_server_counts_another_does_not() {
    let (busy, idle) =
        (Server::ephemeral().start().await.unwrap(), Server::ephemeral().start().await.unwrap());
    busy.token("default/builder").await.unwrap();
    for (server, requests) in [(&busy, true), (&idle, false)] {
        let config: Value = serde_json::from_str(&server.kubeconfig()).unwrap();
        let http = reqwest::Client::builder().tls_backend_preconfigured(server.client_tls().unwrap());
        let asked = http.no_proxy().build().unwrap().get(format!("{}/metrics", server.url()));
        let asked = asked.bearer_auth(config["users"][0]["user"]["token"].as_str().unwrap());
        let text = asked.send().await.unwrap().text().await.unwrap();
        assert_eq!(text.contains("namespace=\"default\""), requests, "{text}");
    }
}

#[tokio::test]
async fn a_route_of_another_crate_has_its_rule_and_needs_no_line_in_the_router() {
    let everyone = Route::new("/hello", &["GET"], Access::Authorized, get(|| async { "hello" }));
    let masters =
        Route::new("/deep", &["GET"], Access::Masters("only for masters"), get(|| async { "deep" }));
    let jane = Identity { name: "jane".into(), groups: vec!["devs".into()], ..Identity::default() };
    let server = Server::ephemeral().with(|options| {
        options.authorization = vec![Authorization::AlwaysAllow];
        options.authenticators.push(Arc::new(TokenFile::single("test-only-jane", jane)));
        options.routes.extend([everyone, masters]);
    });
    let server = server.start().await.unwrap();
    let http = reqwest::Client::builder().tls_backend_preconfigured(server.client_tls().unwrap());
    let http = http.no_proxy().build().unwrap();
    let ask = async |method: Method, path: &str| {
        let asked = http.request(method, format!("{}{path}", server.url())).bearer_auth("test-only-jane");
        let answer = asked.send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    assert_eq!(ask(Method::GET, "/hello").await, (200, "hello".into()));
    assert_eq!(ask(Method::PUT, "/hello").await.0, 405);
    let (code, text) = ask(Method::GET, "/deep").await;
    assert!(code == 403 && text.contains("forbidden: only for masters"), "{code} {text}");
    // No rule lets anybody in whom the gate does not know.
    let stranger = http.get(format!("{}/hello", server.url())).bearer_auth("wrong").send().await.unwrap();
    assert_eq!(stranger.status(), 401);
}

#[tokio::test]
async fn a_token_is_bound_to_an_object_and_dies_with_it() {
    let server = Server::ephemeral().start().await.unwrap();
    let secret = json!({"metadata": {"name": "s"}});
    let secrets = "/api/v1/namespaces/default/secrets";
    server.call(Method::POST, secrets, Some(&secret)).await.unwrap();
    let token = server.token("default/default").audience("vault").bound_to("Secret", "s").await.unwrap();
    assert!(server.review(token.as_str(), "vault").await.unwrap().authenticated);
    server.call(Method::DELETE, &format!("{secrets}/s"), None).await.unwrap();
    assert!(!server.review(token.as_str(), "vault").await.unwrap().authenticated);
}

#[tokio::test]
async fn keys_rotate_when_the_clock_moves() {
    let server = Server::ephemeral().start().await.unwrap();
    let active = || async {
        let keys = server.call(Method::GET, "/admin/v1/keys", None).await.unwrap();
        let keys = keys["keys"].as_array().unwrap().clone();
        keys.into_iter().find(|key| key["phase"] == "active").unwrap()["id"].clone()
    };
    let first = active().await;
    server.clock().advance(Duration::from_secs(31 * 86_400)).await.unwrap();
    assert_ne!(active().await, first);
}

/// A kind that nobody has built in, as data: a type of its own that uses Kubernetes' ones. `more`: what is said of it beyond
/// that, or otherwise.
fn widget(more: Value) -> Kind {
    let own = json!({
        "example.com/v1.Widget": [
            ["metadata", "apis/meta/v1.ObjectMeta", 1, "omitempty"],
            ["spec", "example.com/v1.WidgetSpec", 2],
            ["status", "example.com/v1.WidgetStatus", 3, "omitempty"],
        ],
        "example.com/v1.WidgetSpec": [
            ["size", "int32", 1], ["every", "*apis/meta/v1.Duration", 2, "omitempty"], ["weight", "*float64", 3, "omitempty"],
            ["limits", "core/v1.ResourceList=map[string:core/v1.ResourceName]api/resource.Quantity", 4, "omitempty"],
        ],
        "example.com/v1.WidgetStatus": [["phase", "string", 1, "omitempty"]],
    });
    let mut facts = json!({
        "group": "example.com", "version": "v1", "kind": "Widget", "plural": "widgets", "singular": "widget", "shortNames": ["wd"],
        "namespaced": true, "stored": true, "verbs": ["create", "delete", "get", "list", "patch", "update", "watch"],
        "type": "example.com/v1.Widget", "subresources": [{"name": "status", "kind": "Widget", "verbs": ["get", "update"]}],
        "columns": [["Name", "string", "name", 0], ["Size", "integer", "", 0, ["spec", "size"]], ["Age", "string", "", 0]],
    });
    let types = types().with(own.as_object().expect("an object")).expect("types that fit together");
    facts.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    let facts = serde_json::from_value(facts).expect("what a kind has");
    Kind::new(facts, Arc::new(types)).expect("its type is there")
}

#[tokio::test]
async fn a_kind_comes_as_data_is_served_and_goes_while_the_server_runs() {
    let server = Server::ephemeral().start().await.unwrap();
    let http = reqwest::Client::builder().tls_backend_preconfigured(server.client_tls().unwrap());
    let http = http.no_proxy().build().unwrap();
    let config: Value = serde_json::from_str(&server.kubeconfig()).unwrap();
    let admin = config["users"][0]["user"]["token"].as_str().unwrap();
    let send = async |method: &str, path: &str, kinds: [&str; 2], body: Vec<u8>| {
        let request =
            http.request(method.parse().unwrap(), format!("{}{path}", server.url())).bearer_auth(admin);
        let request = request.header("content-type", kinds[0]).header("accept", kinds[1]).body(body);
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.bytes().await.unwrap().to_vec())
    };
    let ask = async |method: &str, path: &str, body: Value| {
        let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        let kind = if method == "PATCH" { "application/merge-patch+json" } else { JSON };
        let (code, bytes) = send(method, path, [kind, JSON], body).await;
        (code, serde_json::from_slice::<Value>(&bytes).unwrap_or_default())
    };
    let (api, all) = ("/apis/example.com/v1", "/apis/example.com/v1/namespaces/default/widgets");
    let one = &*format!("{all}/a");
    for path in [api, all, one] {
        assert_eq!(ask("GET", path, Value::Null).await.0, 404, "{path}");
    }

    let selectable = ["metadata.name", "metadata.namespace", "spec.size"];
    let kind = Arc::new(widget(json!({"generation": true, "selectable": selectable})));
    server.schema().change(|now| now.with(kind.clone()));
    let (_, groups) = ask("GET", "/apis", Value::Null).await;
    assert!(groups["groups"].as_array().unwrap().iter().any(|group| group["name"] == "example.com"));
    let (_, resources) = ask("GET", api, Value::Null).await;
    assert_eq!(resources["resources"][0]["shortNames"], json!(["wd"]));
    assert_eq!(resources["resources"][1]["name"], "widgets/status");

    let url = format!("{}{all}?watch=true", server.url());
    let mut watch = http.get(url).bearer_auth(admin).send().await.unwrap();
    let spec = json!({"size": 1, "every": "90s", "weight": 0.5, "limits": {"cpu": "0.5"}});
    let body = json!({"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "a"}, "spec": spec, "status": {"phase": "Up"}});
    let (code, made) = ask("POST", all, body).await;
    assert_eq!(code, 201, "{made}");
    assert_eq!(made["spec"], json!({"size": 1, "every": "1m30s", "weight": 0.5, "limits": {"cpu": "500m"}}));
    assert_eq!(made["status"], json!({}), "that is /status's");
    assert_eq!(made["metadata"]["generation"], 1);
    let odd = json!({"metadata": {"name": "b"}, "spec": {"size": 1, "colour": "red"}});
    let (code, refused) = ask("POST", &format!("{all}?fieldValidation=Strict"), odd).await;
    assert!(
        code == 400 && refused["message"].as_str().unwrap().contains("unknown field \"spec.colour\""),
        "{refused}"
    );
    let (code, refused) = ask("POST", all, json!({"metadata": {"name": "b"}, "spec": {"size": "1"}})).await;
    assert!(
        code == 400 && refused["message"].as_str().unwrap().contains("WidgetSpec.spec.size of type int32"),
        "{refused}"
    );

    let mut next = made.clone();
    next["spec"]["size"] = 0.into();
    let (code, replaced) = ask("PUT", one, next.clone()).await;
    assert_eq!((code, &replaced["spec"]["size"]), (200, &json!(0)));
    assert_eq!(replaced["metadata"]["generation"], 2);
    assert_eq!(ask("PUT", one, next).await.0, 409, "by who has not seen the change");
    let (_, patched) = ask("PATCH", one, json!({"spec": {"every": null, "size": 3}})).await;
    assert_eq!(patched["spec"], json!({"size": 3, "weight": 0.5, "limits": {"cpu": "500m"}}));
    let (_, labelled) =
        ask("PATCH", one, json!({"metadata": {"labels": {"l": "v"}, "generation": 40}})).await;
    assert_eq!(
        (&patched["metadata"]["generation"], &labelled["metadata"]["generation"]),
        (&json!(3), &json!(3)),
        "that counts changes of what is wanted alone, and the server counts"
    );
    let mut up = labelled;
    up["status"]["phase"] = "Up".into();
    up["spec"]["size"] = 7.into();
    let (_, up) = ask("PUT", &format!("{one}/status"), up).await;
    assert_eq!((&up["spec"]["size"], &up["status"]["phase"]), (&json!(3), &json!("Up")));
    assert_eq!(up["metadata"]["generation"], 3);

    let (code, bytes) = send("GET", one, [JSON, PROTOBUF], Vec::new()).await;
    let decoded =
        codec::decode(&bytes, Media::Protobuf, &Expected::kind(&kind), FieldValidation::Strict).unwrap();
    assert_eq!((code, decoded.object.into_value()), (200, up.clone()));
    let copy = json!({"metadata": {"name": "b"}, "spec": {"size": 2, "every": "2h", "weight": 3}});
    let copy = codec::decode_value(copy, &Expected::kind(&kind), FieldValidation::Strict).unwrap().object;
    let copy = codec::encode_of(&kind, &copy.0, Media::Protobuf, false);
    let (code, made) = send("POST", all, [PROTOBUF, JSON], copy).await;
    let made: Value = serde_json::from_slice(&made).unwrap();
    assert_eq!((code, &made["spec"]), (201, &json!({"size": 2, "every": "2h0m0s", "weight": 3})));

    let (_, list) = ask("GET", &format!("{all}?limit=1"), Value::Null).await;
    assert_eq!((&list["kind"], &list["metadata"]["remainingItemCount"]), (&json!("WidgetList"), &json!(1)));
    let (_, of_size) = ask("GET", &format!("{all}?fieldSelector=spec.size%3D2"), Value::Null).await;
    assert_eq!(
        (of_size["items"].as_array().unwrap().len(), &of_size["items"][0]["metadata"]["name"]),
        (1, &json!("b"))
    );
    let (code, _) = ask("GET", &format!("{all}?fieldSelector=spec.weight%3D3"), Value::Null).await;
    assert_eq!(code, 400, "the row says what they are selected by");
    let (_, table) =
        send("GET", all, [JSON, "application/json;as=Table;v=v1;g=meta.k8s.io"], Vec::new()).await;
    let table: Value = serde_json::from_slice(&table).unwrap();
    let cells = |at: usize| table["rows"][at]["cells"].as_array().unwrap()[..2].to_vec();
    assert_eq!((cells(0), cells(1)), (vec![json!("a"), json!(3)], vec![json!("b"), json!(2)]));

    assert_eq!(ask("DELETE", one, Value::Null).await.0, 200);
    let (mut seen, mut line) = (Vec::new(), Vec::new());
    while seen.last().is_none_or(|last| last != "DELETED a") {
        let chunk =
            tokio::time::timeout(Duration::from_secs(30), watch.chunk()).await.unwrap().unwrap().unwrap();
        for byte in chunk {
            if byte != b'\n' {
                line.push(byte);
                continue;
            }
            let event: Value = serde_json::from_slice(&std::mem::take(&mut line)).unwrap();
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            seen.push(format!("{} {}", text(&event["type"]), text(&event["object"]["metadata"]["name"])));
        }
    }
    assert_eq!(
        seen,
        ["ADDED a", "MODIFIED a", "MODIFIED a", "MODIFIED a", "MODIFIED a", "ADDED b", "DELETED a"]
    );

    server.schema().change(|now| now.without("example.com", "v1", "widgets"));
    for path in [api, all, &format!("{all}/b")] {
        assert_eq!(ask("GET", path, Value::Null).await.0, 404, "{path}");
    }
    assert_eq!(ask("GET", "/api/v1/namespaces/default", Value::Null).await.0, 200);
}

/// As a custom resource does (apiextensions-apiserver, `customresource_handler.go`): Go declares no type by which lists are merged.
#[tokio::test]
async fn a_kind_that_comes_as_data_takes_all_patches_but_strategic_ones() {
    let server = Server::ephemeral().start().await.unwrap();
    let http = reqwest::Client::builder().tls_backend_preconfigured(server.client_tls().unwrap());
    let http = http.no_proxy().build().unwrap();
    let config: Value = serde_json::from_str(&server.kubeconfig()).unwrap();
    let admin = config["users"][0]["user"]["token"].as_str().unwrap();
    server.schema().change(|now| now.with(Arc::new(widget(json!({})))));
    let path = format!("{}/apis/example.com/v1/namespaces/default/widgets/a", server.url());
    let patch = async |media: &str, query: &str, body: Value| {
        let request = http.patch(format!("{path}{query}")).bearer_auth(admin).header("content-type", media);
        let answer = request.body(body.to_string()).send().await.unwrap();
        (answer.status().as_u16(), answer.json::<Value>().await.unwrap())
    };
    let widget = |spec: Value| json!({"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "a"}, "spec": spec, "status": {"phase": "Up"}});
    let strategic = "application/strategic-merge-patch+json";
    let text = "the body of the request was in an unknown format - accepted media types include: application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml";
    // Whether it is there or not.
    for there in [false, true] {
        let (code, refused) = patch(strategic, "", json!({"spec": {"size": 2}})).await;
        assert_eq!(
            (code, &refused["reason"], &refused["message"]),
            (415, &json!("UnsupportedMediaType"), &json!(text))
        );
        let wanted = widget(json!({"size": 1, "limits": {"cpu": "1"}}));
        let (code, made) = patch("application/apply-patch+yaml", "?fieldManager=one", wanted).await;
        assert_eq!(code, if there { 200 } else { 201 }, "{made}");
    }
    let (code, merged) =
        patch("application/merge-patch+json", "?fieldManager=two", json!({"spec": {"every": "1m"}})).await;
    assert_eq!((code, &merged["spec"]["every"]), (200, &json!("1m0s")));
    let step = json!([{"op": "add", "path": "/spec/weight", "value": 2}]);
    let (code, _) = patch("application/json-patch+json", "?fieldManager=two", step).await;
    assert_eq!(code, 200);
    // Who applies it has what it names, down to the members of its maps; its status is not the whole's to write.
    let (code, refused) =
        patch("application/apply-patch+yaml", "?fieldManager=three", widget(json!({"size": 3}))).await;
    let conflict = "Apply failed with 1 conflict: conflict with \"one\": .spec.size";
    assert_eq!((code, &refused["message"]), (409, &json!(conflict)));
    let (_, left) =
        patch("application/apply-patch+yaml", "?fieldManager=one", widget(json!({"size": 1}))).await;
    assert_eq!(left["spec"], json!({"size": 1, "every": "1m0s", "weight": 2}));
    let managers: Vec<_> =
        left["metadata"]["managedFields"].as_array().unwrap().iter().map(|m| &m["fieldsV1"]).collect();
    assert_eq!(
        managers,
        [&json!({"f:spec": {"f:size": {}}}), &json!({"f:spec": {"f:every": {}, "f:weight": {}}})]
    );
}

const JSON: &str = "application/json";
const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";
