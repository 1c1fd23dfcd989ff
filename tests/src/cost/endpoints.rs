//! Every endpoint that takes a body: by the schema table, and by the list of our own routes.

use serde_json::{Value, json};
use tokensmith::testing_clock;
use tokensmith_objects::schema::{Kind, Schema};
use tokensmith_server::routes;

use super::places::{self, Items, Place};
use super::{Body, bodies, own, patches};

/// An endpoint, and whatever it is sent.
pub struct Endpoint {
    /// The HTTP method.
    pub method: &'static str,
    /// With its query. Nothing that is sent is kept.
    pub path: String,
    kind: What,
    changed: Option<Changed>,
}

/// An object that must be there when an endpoint is asked: bodies for what is not there need not be read.
pub struct Changed {
    /// Where it is.
    pub path: String,
    /// Where it is created.
    pub collection: String,
    /// What is created.
    pub object: Value,
}

enum What {
    /// Options of a delete of this kind.
    Delete(&'static str),
    /// An object of this type, on its own or in the place of another one.
    Object(Of),
    /// A route of our own.
    Own(&'static str),
    /// A patch of an object of this type.
    Patch(Of),
}

#[derive(Clone, Copy)]
struct Of {
    kind: &'static str,
    /// `""` where it has none of its own.
    api_version: &'static str,
    type_name: &'static str,
    /// Created, not put in the place of another one.
    new: bool,
}

/// How much is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// Each endpoint, and some of its places in one of their variants.
    Part,
    /// All.
    Whole,
}

/// Methods whose requests have bodies.
const WRITES: [&str; 4] = ["DELETE", "PATCH", "POST", "PUT"];
/// A key that is not there: its endpoints read their bodies before they look.
const ID: &str = "x";

/// As many places of a kind are tried where not all are: types that many kinds have, as pods' templates, are read and judged by
/// the same walks wherever they stand.
const SOME: usize = 3;
/// The kinds of which a third is tried: what tokens are about, and pods, which have the largest type.
const CLOSELY: [&str; 20] = [
    "Binding",
    "ClusterRole",
    "ClusterRoleBinding",
    "ClusterTrustBundle",
    "ConfigMap",
    "Eviction",
    "LocalSubjectAccessReview",
    "Namespace",
    "Node",
    "Pod",
    "Role",
    "RoleBinding",
    "Secret",
    "SelfSubjectAccessReview",
    "SelfSubjectReview",
    "SelfSubjectRulesReview",
    "ServiceAccount",
    "SubjectAccessReview",
    "TokenRequest",
    "TokenReview",
];

/// All of them.
///
/// # Panics
/// The table or the routes have one that nobody has thought of.
pub fn all() -> Vec<Endpoint> {
    let mut all: Vec<Endpoint> = Schema::builtin().kinds().flat_map(|kind| of_kind(kind)).collect();
    let own = routes::OWN.iter().map(|route| (route.path, route.methods));
    let others = [(testing_clock::PATH, testing_clock::METHODS)];
    for (path, methods) in own.chain(others).chain(tokensmith::EXCHANGE_ENDPOINTS.iter().copied()) {
        let methods = methods.iter().filter(|method| WRITES.contains(method));
        all.extend(methods.map(|method| Endpoint {
            method,
            path: path.replace("{id}", ID),
            kind: What::Own(path),
            changed: None,
        }));
    }
    all
}

fn of_kind(kind: &'static Kind) -> Vec<Endpoint> {
    let api =
        if kind.group.is_empty() { "/api/".to_owned() } else { "/apis/".to_owned() } + &kind.api_version();
    let scope = if kind.namespaced { "/namespaces/default" } else { "" };
    let collection = format!("{api}{scope}/{}", kind.plural);
    let api_version: &'static str = kind.api_version().leak();
    let of = |new| Of { kind: &kind.kind, api_version, type_name: &kind.type_name, new };
    let one = |below: &str| format!("{collection}/{}{below}", bodies::name(&kind.kind));
    let at = |method, path: String, what| {
        let there = kind.stored && path.starts_with(&one(""));
        let changed = there.then(|| Changed {
            path: one(""),
            collection: collection.clone(),
            object: bodies::base(api_version, &kind.kind),
        });
        Endpoint { method, path: format!("{path}?dryRun=All"), kind: what, changed }
    };
    let mut all = Vec::new();
    for verb in &kind.verbs {
        all.push(match verb.as_str() {
            "create" => at("POST", collection.clone(), What::Object(of(true))),
            "delete" => at("DELETE", one(""), What::Delete(&kind.kind)),
            "deletecollection" => {
                let nothing = format!("{collection}?labelSelector=no-such-label");
                Endpoint { method: "DELETE", path: nothing, kind: What::Delete(&kind.kind), changed: None }
            }
            "get" | "list" | "watch" => continue,
            "patch" => at("PATCH", one(""), What::Patch(of(false))),
            "update" => at("PUT", one(""), What::Object(of(false))),
            other => panic!("{}: nobody has thought of the verb {other}", kind.kind),
        });
    }
    for sub in &kind.subresources {
        let below = one(&format!("/{}", sub.name));
        for verb in &sub.verbs {
            all.push(match (sub.name.as_str(), verb.as_str()) {
                (_, "get") => continue,
                ("token", "create") => {
                    let type_name = "authentication/v1.TokenRequest";
                    let of = Of {
                        kind: "TokenRequest",
                        api_version: "authentication.k8s.io/v1",
                        type_name,
                        new: true,
                    };
                    at("POST", format!("{collection}/default/token"), What::Object(of))
                }
                // They read no body.
                ("attach" | "exec" | "portforward" | "proxy", _) => continue,
                ("binding", "create") => {
                    let (kind, type_name) = ("Binding", "core/v1.Binding");
                    let of = Of { kind, api_version: "v1", type_name, new: true };
                    at("POST", below.clone(), What::Object(of))
                }
                ("eviction", "create") => {
                    let (kind, type_name) = ("Eviction", "policy/v1.Eviction");
                    let of = Of { kind, api_version: "policy/v1", type_name, new: true };
                    at("POST", below.clone(), What::Object(of))
                }
                ("approval" | "ephemeralcontainers" | "finalize" | "resize" | "status", "update") => {
                    at("PUT", below.clone(), What::Object(of(false)))
                }
                ("approval" | "ephemeralcontainers" | "resize" | "status", "patch") => {
                    at("PATCH", below.clone(), What::Patch(of(false)))
                }
                ("scale", verb) => {
                    let of = Of {
                        kind: "Scale",
                        api_version: "autoscaling/v1",
                        type_name: "autoscaling/v1.Scale",
                        new: false,
                    };
                    match verb {
                        "patch" => at("PATCH", below.clone(), What::Patch(of)),
                        _ => at("PUT", below.clone(), What::Object(of)),
                    }
                }
                other => panic!("{}: nobody has thought of {other:?}", kind.kind),
            });
        }
    }
    all
}

impl Endpoint {
    /// What the table calls it.
    pub fn name(&self) -> String {
        let path = self.path.split('?').next().unwrap_or_default();
        match &self.kind {
            What::Own(path) => format!("{} {path}", self.method),
            _ => format!("{} {path}", self.method),
        }
    }

    /// Whether the caller is to show who they are. At the token endpoint a token is what is given, and no credential.
    pub fn asks_who(&self) -> bool {
        self.path != "/oauth2/token"
    }

    /// The object that it is about, if that must be there.
    pub fn changed(&self) -> Option<&Changed> {
        self.changed.as_ref()
    }

    /// Bodies of about so many bytes, always in the same order.
    ///
    /// # Panics
    /// A route of our own has none.
    pub fn bodies(&self, size: usize, depth: Depth) -> Vec<Body> {
        match &self.kind {
            What::Delete(kind) => deletes(kind, size, depth),
            What::Object(of) => of.bodies(size, depth),
            What::Own(path) => {
                own::bodies(path, size).unwrap_or_else(|| panic!("{path}: nobody has thought of its bodies"))
            }
            What::Patch(of) => of.patches(size, depth),
        }
    }
}

fn deletes(kind: &str, size: usize, depth: Depth) -> Vec<Body> {
    let places = places::of_type("apis/meta/v1.DeleteOptions");
    // The options in a body count in place of those in its query.
    let base = json!({"kind": "DeleteOptions", "apiVersion": "v1", "dryRun": ["All"]});
    let mut all = bodies::of_any(&base, size);
    // Options are the same for all kinds.
    if depth == Depth::Part && kind != "ConfigMap" {
        return places
            .iter()
            .take(1)
            .map(|place| bodies::of_place(&base, place, Items::Distinct, size))
            .collect();
    }
    for place in &places {
        all.extend(Items::ALL.map(|items| bodies::of_place(&base, place, items, size)));
    }
    all
}

impl Of {
    fn base(self) -> Value {
        let mut base = bodies::base(self.api_version, self.kind);
        // Protobuf cannot be written without.
        base["kind"] = self.kind.into();
        base["apiVersion"] = self.api_version.into();
        base
    }

    fn bodies(self, size: usize, depth: Depth) -> Vec<Body> {
        let base = self.base();
        let whole = depth == Depth::Whole;
        let (mut all, places) = (Vec::new(), self.places(depth));
        // How a body is read does not depend on what it is.
        if whole || (self.new && ["ConfigMap", "TokenRequest"].contains(&self.kind)) {
            all.extend(bodies::of_any(&base, size));
            all.extend(bodies::of_yaml(size));
            all.extend(bodies::of_protobuf(self.api_version, self.kind, size));
        } else if self.new || places.is_empty() || self.closely() {
            all.extend(bodies::of_any(&base, size).into_iter().take(1));
        }
        for (at, place) in places.iter().enumerate() {
            let some = if whole { &Items::ALL[..] } else { &Items::ALL[at % 3..at % 3 + 1] };
            all.extend(some.iter().map(|items| bodies::of_place(&base, place, *items, size)));
            if self.new && (whole || at % 32 == 0) {
                all.extend(bodies::in_other_words(&base, place, size));
            }
        }
        all
    }

    fn patches(self, size: usize, depth: Depth) -> Vec<Body> {
        let whole = depth == Depth::Whole;
        let (mut all, places) = (patches::of_any(size), self.places(depth));
        if !whole && !places.is_empty() && !self.closely() {
            all.clear();
        }
        for (at, place) in places.iter().enumerate() {
            all.extend(patches::merge(place, size));
            if whole || at < 24 {
                all.extend(patches::strategic(place, size));
            }
            // Nor what happens to a list on what the list is.
            if whole || (self.kind == "ConfigMap" && at < 4) {
                all.extend(patches::json(place, size));
            }
        }
        all
    }

    fn closely(self) -> bool {
        CLOSELY.contains(&self.kind)
    }

    /// Metadata is the same for all kinds, and a change has what a creation has: one is enough where not all is tried.
    fn places(self, depth: Depth) -> Vec<Place> {
        let mut all = places::of_type(self.type_name);
        if depth == Depth::Part && self.kind != "ConfigMap" {
            all.retain(|place| !place.name().starts_with("metadata."));
            match (self.new, self.closely()) {
                (true, true) => all = all.into_iter().step_by(3).collect(),
                (true, false) => {
                    let step = (all.len() / SOME).max(1);
                    all = all.into_iter().step_by(step).take(SOME).collect();
                }
                (false, true) => all.truncate(3),
                (false, false) => all.truncate(1),
            }
        }
        all
    }
}
