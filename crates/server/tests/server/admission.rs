//! Admission is a chain: who joins it is asked about every write, in each stage in its turn, with what the write is.

use std::sync::{Arc, Mutex};

use futures::FutureExt;
use serde_json::{Value, json};
use tokensmith_core::access::admission::{Admission, Answer, Operation, Write};
use tokensmith_objects::Object;
use tokensmith_objects::schema::Subresource;
use tokio::sync::Semaphore;

use crate::nodes::{collection, named, sample, scale, writes};
use crate::world::{ADMIN, Answer as Reply, World};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

/// Notes what it is asked, as one line each, of who is `admin`.
struct Noted {
    name: &'static str,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Noted {
    fn note(&self, stage: &str, write: &Write<'_>, new: Option<&Object>) {
        let shown = |object: Option<&Object>| object.map_or("-".into(), |o| format!("{:?}", o.name()));
        let line = format!(
            "{} {stage} {} {}/{}/{} {}/{} {}/{:?} new={} old={} dry={} there={}",
            self.name,
            write.operation.as_str(),
            write.group,
            write.version,
            write.resource,
            write.kind,
            write.subresource,
            write.namespace,
            write.name,
            shown(new),
            shown(write.old),
            write.dry_run,
            write.objects.get("", "namespaces", "", "default").is_some(),
        );
        self.lines.lock().unwrap().push(line);
    }
}

impl Admission for Noted {
    fn handles(&self, write: &Write<'_>) -> bool {
        write.user.name == "admin"
    }

    fn mutate<'a>(
        &'a self,
        write: &'a Write<'a>,
        new: Option<&'a mut Object>,
        warnings: &'a mut Vec<String>,
    ) -> Answer<'a> {
        self.note("mutate", write, new.as_deref());
        warnings.push("noted".into());
        // As a webhook: the answer comes later.
        let later = async {
            tokio::task::yield_now().await;
            Ok(())
        };
        Answer::Later(later.boxed())
    }

    fn permit<'a>(&'a self, write: &'a Write<'a>, new: Option<&'a Object>) -> Answer<'a> {
        self.note("permit", write, new);
        Answer::Now(Ok(()))
    }

    fn validate<'a>(
        &'a self,
        write: &'a Write<'a>,
        new: Option<&'a Object>,
        _: &'a mut Vec<String>,
    ) -> Answer<'a> {
        self.note("validate", write, new);
        Answer::Now(Ok(()))
    }
}

async fn send(world: &World, method: &str, path: &str, body: &Value) -> Reply {
    let media = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
    let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
    world.send(method, path, Some(ADMIN), &[("content-type", media)], body).await
}

/// Whoever adds a kind, a verb or a subresource adds a write: each is asked of each member, first as a dry run, which leaves
/// everything as it was, then in earnest.
#[tokio::test]
async fn a_member_is_asked_for_every_verb_of_every_kind() {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let member = |name| Arc::new(Noted { name, lines: lines.clone() }) as Arc<dyn Admission>;
    let members = vec![member("a"), member("b")];
    let served = tokensmith_objects::schema::Schema::serving(["api/all"]).unwrap();
    let world = World::with_options(|options| {
        options.http.served = served.clone();
        options.admission = members;
    })
    .await;
    let mut asked = 0;
    for kind in served.served() {
        let path = collection(kind);
        let there = named(kind, "there");
        let mut requests = writes(&kind.verbs, &there, "");
        // What opens something through an object writes nothing, and has no dry run.
        let opens =
            |part: &&Subresource| ["attach", "exec", "portforward", "proxy"].contains(&part.name.as_str());
        for part in kind.subresources.iter().filter(|part| !opens(part)) {
            requests.extend(writes(&part.verbs, &there, &format!("/{}", part.name)));
        }
        // Collections last, since they take everything with them; an object that is there is made before each.
        for (method, below) in requests {
            if kind.stored {
                let answer = world.post(&path, sample(kind, "there")).await;
                assert!(answer.status.is_success() || answer.status == 409, "{}", kind.kind);
            }
            let sub = below.rsplit_once('/').filter(|_| below.matches('/').count() == 2).map_or("", |s| s.1);
            let url = format!("{path}{below}");
            let body = match (method, sub) {
                ("DELETE", _) => Value::Null,
                ("PATCH", _) => json!({"metadata": {"labels": {"a": "b"}}}),
                ("POST", "token") => {
                    json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest"})
                }
                ("POST", "binding") => json!({"metadata": {"name": "there"}, "target": {"name": "n"}}),
                ("POST", "eviction") => json!({"metadata": {"name": "there"}}),
                ("PUT", "scale") => scale("there"),
                ("POST", _) => sample(kind, "new"),
                _ => sample(kind, "there"),
            };
            let (operation, name) = match (method, below.is_empty()) {
                ("POST", true) => (Operation::Create, ""),
                ("POST", false) => (Operation::Create, there.as_str()),
                ("DELETE", true) => (Operation::Delete, ""),
                ("DELETE", false) => (Operation::Delete, there.as_str()),
                _ => (Operation::Update, there.as_str()),
            };
            let what = match sub {
                "binding" => "Binding",
                "eviction" => "Eviction",
                "token" => "TokenRequest",
                _ => &kind.kind,
            };
            let namespace = if kind.namespaced { "default" } else { "" };
            let start = |stage: &str| {
                // What several versions show is asked about as what is stored.
                let stored = kind.storage();
                format!(
                    "{stage} {} {}/{}/{} {what}/{sub} {namespace}/{name:?} ",
                    operation.as_str(),
                    stored.group,
                    stored.version,
                    stored.plural
                )
            };
            for dry in [true, false] {
                let before = world.get(&path, Some(ADMIN)).await.bytes;
                lines.lock().unwrap().clear();
                let query = if dry { "?dryRun=All" } else { "" };
                let answer = send(&world, method, &format!("{url}{query}"), &body).await;
                let told = std::mem::take(&mut *lines.lock().unwrap());
                let what = format!("{method} {url}{query}: {} {told:#?}", answer.status);
                assert!(told.len() >= 2, "{what}");
                for stage in ["a mutate", "b mutate"] {
                    assert!(
                        told.iter().any(|line| line.starts_with(&start(stage))),
                        "{}{what}",
                        start(stage)
                    );
                }
                let stages: Vec<_> = told.iter().map(|line| line.split(" new=").next().unwrap()).collect();
                let all = ["a mutate", "b mutate", "a permit", "b permit", "a validate", "b validate"];
                let all = all.map(|stage| start(stage).trim_end().to_owned());
                if answer.status.is_success() && (method, name) != ("DELETE", "") {
                    assert_eq!(stages, all, "{what}");
                } else if answer.status.is_success() {
                    // Objects of a collection are deleted side by side.
                    let each = stages.len() / all.len();
                    let count = |stage| stages.iter().filter(|told| **told == stage).count();
                    assert!(each > 0 && all.iter().all(|stage| count(stage.as_str()) == each), "{what}");
                }
                for line in &told {
                    assert!(line.ends_with(&format!("dry={dry} there=true")), "{what}");
                    let (new, old) = line.split_once(" new=").unwrap().1.split_once(" old=").unwrap();
                    assert_eq!(new == "-", operation == Operation::Delete, "{what}");
                    assert_eq!(old.starts_with("- "), operation == Operation::Create, "{what}");
                }
                if answer.status.is_success() {
                    // A deprecated kind has warned before.
                    let mut warned = answer.headers.get_all("warning").iter();
                    assert!(warned.any(|text| text == "299 - \"noted\""), "{what}");
                }
                if dry {
                    assert_eq!(world.get(&path, Some(ADMIN)).await.bytes, before, "{what}");
                }
                asked += 1;
            }
        }
    }
    assert!(asked > 120, "{asked}");
}

/// What is sent to one place is not written to another.
struct Moves(&'static [&'static str]);

impl Admission for Moves {
    fn handles(&self, write: &Write<'_>) -> bool {
        write.user.name == "admin" && write.is_of("", "configmaps")
    }

    fn mutate<'a>(
        &'a self,
        _: &'a Write<'a>,
        new: Option<&'a mut Object>,
        _: &'a mut Vec<String>,
    ) -> Answer<'a> {
        if let Some(new) = new {
            new.set(&["metadata", "labels"], json!({"by": "admission"}));
            if new.annotation("move").is_some() {
                new.set(self.0, "kube-system");
            }
        }
        Ok(()).into()
    }

    fn validate<'a>(
        &'a self,
        write: &'a Write<'a>,
        new: Option<&'a Object>,
        _: &'a mut Vec<String>,
    ) -> Answer<'a> {
        match new.is_some_and(|new| new.annotation("bad").is_some()) {
            true => Answer::Now(Err(write.forbidden(new, "it is bad"))),
            false => Answer::Now(Ok(())),
        }
    }
}

#[tokio::test]
async fn a_member_changes_an_object_and_not_its_place() {
    for field in [&["metadata", "namespace"], &["metadata", "name"], &["metadata", "generateName"]] {
        let world = World::with_options(|options| options.admission = vec![Arc::new(Moves(field))]).await;
        let map = |notes: Value| json!({"metadata": {"name": "m", "annotations": notes}});
        let made = world.post(MAPS, map(json!({}))).await.ok();
        assert_eq!(made["metadata"]["labels"], json!({"by": "admission"}));
        let there = format!("{MAPS}/m");
        let bad = send(&world, "PATCH", &there, &map(json!({"bad": "x"}))).await;
        assert_eq!(bad.json()["message"], "configmaps \"m\" is forbidden: it is bad");
        let moved = send(&world, "PATCH", &there, &map(json!({"move": "x"}))).await;
        assert_eq!(moved.status, if field[1] == "generateName" { 200 } else { 400 });
        world.delete(&there).await.ok();
        for named in [json!({"name": "m"}), json!({"generateName": "m-"})] {
            let mut map = map(json!({"move": "x"}));
            map["metadata"]["name"].take();
            map["metadata"].as_object_mut().unwrap().extend(named.as_object().unwrap().clone());
            let refused = world.post(MAPS, map).await;
            assert_eq!(refused.status, 400, "{}", refused.json());
            assert!(refused.json()["message"].as_str().unwrap().contains("does not match"));
        }
        assert_eq!(world.get(MAPS, Some(ADMIN)).await.json()["items"].as_array().unwrap().len(), 1);
        let elsewhere = world.get("/api/v1/namespaces/kube-system/configmaps/m", Some(ADMIN)).await;
        assert_eq!(elsewhere.status, 404);
    }
}

/// Nobody writes what a member refuses, and a member that comes later is not asked.
#[tokio::test]
async fn who_refuses_first_is_heard_alone() {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let late = Arc::new(Noted { name: "late", lines: lines.clone() });
    let world =
        World::with_options(|options| options.admission = vec![Arc::new(Moves(&["kind"])), late]).await;
    lines.lock().unwrap().clear();
    let map = json!({"metadata": {"name": "m", "annotations": {"bad": "x"}}});
    assert_eq!(world.post(MAPS, map).await.status, 403);
    let told = lines.lock().unwrap().clone();
    assert!(told.iter().all(|line| !line.contains(" validate ")), "{told:?}");
    assert_eq!(told.len(), 2);
    assert_eq!(world.get(&format!("{MAPS}/m"), Some(ADMIN)).await.status, 404);
}

/// Takes away what has a default.
struct Opens;

impl Admission for Opens {
    fn handles(&self, write: &Write<'_>) -> bool {
        write.user.name == "admin" && (write.resource == "secrets" || write.resource == "rolebindings")
    }

    fn mutate<'a>(
        &'a self,
        _: &'a Write<'a>,
        new: Option<&'a mut Object>,
        _: &'a mut Vec<String>,
    ) -> Answer<'a> {
        if let Some(new) = new {
            new.remove(&["type"]);
            new.remove(&["roleRef", "apiGroup"]);
        }
        Answer::Now(Ok(()))
    }
}

/// As after each mutating step of upstream's.
#[tokio::test]
async fn what_a_member_leaves_open_gets_its_default() {
    let world = World::with_options(|options| options.admission = vec![Arc::new(Opens)]).await;
    let secrets = "/api/v1/namespaces/default/secrets";
    let made = world.post(secrets, json!({"metadata": {"name": "s"}, "type": "x"})).await.ok();
    assert_eq!(made["type"], "Opaque");
    let label = json!({"metadata": {"labels": {"a": "b"}}});
    let changed = send(&world, "PATCH", &format!("{secrets}/s"), &label).await.ok();
    assert_eq!(changed["type"], "Opaque");
    let bindings = "/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings";
    let role = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"});
    let binding = json!({"metadata": {"name": "b"}, "roleRef": role});
    let made = world.post(bindings, binding).await.ok();
    assert_eq!(made["roleRef"], role);
    let replaced = send(&world, "PUT", &format!("{bindings}/b"), &made).await.ok();
    assert_eq!(replaced["roleRef"], role);
}

/// Answers a token request late, once the test has gone on.
struct Late {
    asked: Semaphore,
    go: Semaphore,
}

impl Admission for Late {
    fn handles(&self, write: &Write<'_>) -> bool {
        write.subresource == "token"
    }

    fn validate<'a>(&'a self, _: &'a Write<'a>, _: Option<&'a Object>, _: &'a mut Vec<String>) -> Answer<'a> {
        let later = async {
            self.asked.add_permits(1);
            self.go.acquire().await.unwrap().forget();
            Ok(())
        };
        Answer::Later(later.boxed())
    }
}

/// A webhook may take seconds to answer: a pod, or an account, that was deleted or replaced meanwhile still got its token.
#[tokio::test]
async fn what_has_gone_while_admission_was_asked_gets_no_token() {
    let late = Arc::new(Late { asked: Semaphore::new(0), go: Semaphore::new(0) });
    let member = late.clone();
    let world = World::with_options(|options| options.admission = vec![member]).await;
    let core = "/api/v1/namespaces/default";
    let mint = format!("{core}/serviceaccounts/builder/token");
    let account = json!({"metadata": {"name": "builder"}});
    let pod = json!({
        "metadata": {"name": "web"},
        "spec": {"serviceAccountName": "builder", "containers": [{"name": "c", "image": "i"}]},
    });
    let secret = json!({"metadata": {"name": "held"}});
    let objects = [("serviceaccounts", account), ("pods", pod), ("secrets", secret)];
    for (plural, object) in &objects {
        world.post(&format!("{core}/{plural}"), object.clone()).await.ok();
    }
    let gone = "deleted and then recreated";
    for (kind, plural, again, code, message) in [
        ("Pod", "pods", true, 409, gone),
        ("Pod", "pods", false, 404, "pods \"web\" not found"),
        ("Secret", "secrets", true, 409, gone),
        ("Secret", "secrets", false, 404, "secrets \"held\" not found"),
        ("", "serviceaccounts", true, 409, "the UID in the token request"),
        ("", "serviceaccounts", false, 404, "serviceaccounts \"builder\" not found"),
    ] {
        let object = &objects.iter().find(|(name, _)| *name == plural).unwrap().1;
        let name = object["metadata"]["name"].as_str().unwrap();
        let spec = match kind {
            "" => json!({}),
            kind => json!({"boundObjectRef": {"kind": kind, "apiVersion": "v1", "name": name}}),
        };
        let meanwhile = async {
            late.asked.acquire().await.unwrap().forget();
            world.delete(&format!("{core}/{plural}/{name}?gracePeriodSeconds=0")).await.ok();
            if again {
                world.post(&format!("{core}/{plural}"), object.clone()).await.ok();
            }
            late.go.add_permits(1);
        };
        let asking = world.post(&mint, json!({"spec": spec}));
        let (answer, ()) = tokio::join!(asking, meanwhile);
        let told = answer.json();
        assert_eq!(answer.status, code, "{plural} {again}: {told}");
        assert!(told["message"].as_str().unwrap().contains(message), "{told}");
    }
}
