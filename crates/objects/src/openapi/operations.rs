//! Which paths there are, and what can be done with each, by what discovery says of the kinds
//! (`apiserver/pkg/endpoints/installer.go`).

use super::parameters::{self, Parameter};
use crate::schema::{Kind, Schema, Subresource, TypeRef, api_version, type_of_kind};

/// A path with what can be done there.
pub(super) struct Path<'a> {
    /// With the names of its parameters: `/api/v1/namespaces/{namespace}/pods`.
    pub(super) text: String,
    pub(super) operations: Vec<Operation<'a>>,
}

/// One method of a path.
pub(super) struct Operation<'a> {
    pub(super) method: &'static str,
    pub(super) id: String,
    pub(super) tag: String,
    /// The action and the kind that it is about; none of what is no object.
    pub(super) about: Option<(&'static str, [&'a str; 3])>,
    pub(super) parameters: Vec<Parameter>,
    pub(super) body: Option<Body<'a>>,
    pub(super) reply: Reply<'a>,
    pub(super) codes: &'static [&'static str],
}

/// What a request carries.
#[derive(Clone, Copy)]
pub(super) enum Body<'a> {
    DeleteOptions,
    Object(TypeRef<'a>),
    Patch,
}

/// What an answer is.
#[derive(Clone, Copy)]
pub(super) enum Reply<'a> {
    /// Whatever the other side says.
    Any,
    /// One of the constant types.
    Meta(&'static str),
    List(&'a Kind),
    /// Lines of text.
    Log,
    Object(TypeRef<'a>),
    /// A document as JSON, with this media type.
    Text(&'static str),
    Watch,
}

/// The paths of one document, by its name.
pub(super) fn below<'a>(schema: &'a Schema, document: &str) -> Option<Vec<Path<'a>>> {
    let parts: Vec<&str> = document.split('/').collect();
    let group = match parts.as_slice() {
        ["api", _] => "",
        ["apis", group, ..] => group,
        _ => return small(document).map(|path| vec![path]),
    };
    let versions = schema.served().filter(|kind| kind.group == group);
    let path = match parts.as_slice() {
        ["apis", _] => {
            versions.into_iter().next()?;
            let names = Names::new(group, None);
            return Some(vec![names.plain("getAPIGroup", format!("/{document}/"), Reply::Meta("APIGroup"))]);
        }
        ["api", version] | ["apis", _, version] => versions.filter(|kind| kind.version == *version),
        _ => return None,
    };
    let of: Vec<&'a Kind> = path.map(|kind| &**kind).collect();
    let names = Names::new(group, Some(&of.first()?.version));
    let root = names.plain("getAPIResources", format!("/{document}/"), Reply::Meta("APIResourceList"));
    let all = of.iter().flat_map(|kind| About { root: document, names: &names, kind }.paths());
    Some(std::iter::once(root).chain(all).collect())
}

/// The documents that belong to no group.
fn small(document: &str) -> Option<Path<'static>> {
    let (id, tag, reply) = match document {
        ".well-known/openid-configuration" => {
            ("getServiceAccountIssuerOpenIDConfiguration", "WellKnown", Reply::Text("application/json"))
        }
        "api" => ("getCoreAPIVersions", "core", Reply::Meta("APIVersions")),
        "apis" => ("getAPIVersions", "apis", Reply::Meta("APIGroupList")),
        "openid/v1/jwks" => {
            ("getServiceAccountIssuerOpenIDKeyset", "openid", Reply::Text("application/jwk-set+json"))
        }
        "version" => ("getCodeVersion", "version", Reply::Meta("version.Info")),
        _ => return None,
    };
    Some(get(id.to_owned(), tag.to_owned(), format!("/{document}/"), reply))
}

fn get<'a>(id: String, tag: String, text: String, reply: Reply<'a>) -> Path<'a> {
    let (parameters, codes) = (Vec::new(), &["200", "401"][..]);
    let operation = Operation { method: "get", id, tag, about: None, parameters, body: None, reply, codes };
    Path { text, operations: vec![operation] }
}

/// What operations of an API are called.
struct Names {
    /// `RbacAuthorizationV1`
    middle: String,
    /// `rbacAuthorization_v1`
    tag: String,
}

impl Names {
    fn new(group: &str, version: Option<&str>) -> Names {
        let group = if group.is_empty() { "core" } else { group.strip_suffix(".k8s.io").unwrap_or(group) };
        let version = version.unwrap_or("");
        let tag = [word(group, false), word(version, false)];
        Names {
            middle: format!("{}{}", word(group, true), word(version, true)),
            tag: tag.iter().filter(|part| !part.is_empty()).cloned().collect::<Vec<_>>().join("_"),
        }
    }

    /// `createNamespacedPod` is `createCoreV1NamespacedPod`.
    fn id(&self, verb: &str, rest: &str) -> String {
        format!("{verb}{}{}", self.middle, word(rest, true))
    }

    fn plain<'a>(&self, id: &str, text: String, reply: Reply<'a>) -> Path<'a> {
        let id = self.id("get", id.strip_prefix("get").unwrap_or(id));
        get(id, self.tag.clone(), text, reply)
    }
}

/// Letters and digits alone; what stood behind another sign begins with a capital.
fn word(text: &str, mut capital: bool) -> String {
    let mut out = String::new();
    for letter in text.chars() {
        match letter.is_alphanumeric() || letter == '_' {
            true if capital => out.extend(letter.to_uppercase()),
            true => out.push(letter),
            false => {}
        }
        capital = !(letter.is_alphanumeric() || letter == '_');
    }
    out
}

/// A kind's paths, as they are made.
struct About<'n, 'a> {
    root: &'n str,
    names: &'n Names,
    kind: &'a Kind,
}

impl<'a> About<'_, 'a> {
    fn paths(&self) -> Vec<Path<'a>> {
        let (root, plural) = (self.root, &self.kind.plural);
        let below = if self.kind.namespaced { "namespaces/{namespace}/" } else { "" };
        let item = format!("{below}{plural}/{{name}}");
        let mut out = vec![
            self.collection(format!("/{root}/{below}{plural}")),
            self.item(format!("/{root}/{item}")),
            self.watch("watchlist", format!("/{root}/watch/{below}{plural}")),
            self.watch("watch", format!("/{root}/watch/{item}")),
        ];
        if self.kind.namespaced && self.has("list") {
            out.push(self.everywhere(format!("/{root}/{plural}")));
            out.push(self.watch("watchlist", format!("/{root}/watch/{plural}")));
        }
        for sub in &self.kind.subresources {
            let path = format!("/{root}/{item}/{}", sub.name);
            match sub.name.as_str() {
                "attach" | "exec" | "portforward" => out.push(self.connect(sub, &["get", "post"], path, "")),
                "proxy" => {
                    let all = &["delete", "get", "head", "options", "patch", "post", "put"];
                    out.push(self.connect(sub, all, path.clone(), ""));
                    out.push(self.connect(sub, all, path + "/{path}", "WithPath"));
                }
                _ => out.push(self.subresource(sub, path)),
            }
        }
        out.retain(|path| !path.operations.is_empty());
        out
    }

    fn has(&self, verb: &str) -> bool {
        self.kind.verbs.iter().any(|v| v == verb)
    }

    fn gvk(&self) -> [&'a str; 3] {
        [&self.kind.group, &self.kind.version, &self.kind.kind]
    }

    /// `NamespacedPod`, of all namespaces `Pod`.
    fn noun(&self, path: &str) -> String {
        let in_namespace = path.contains("{namespace}");
        format!("{}{}", if in_namespace { "Namespaced" } else { "" }, self.kind.kind)
    }

    /// The method's operation at a path, as the verb has it.
    fn operation(&self, verb: &str, noun: &str, text: &str, reply: Reply<'a>) -> Operation<'a> {
        let object = match reply {
            Reply::Object(of) => of,
            _ => self.kind.message(),
        };
        let write = Some(Body::Object(object));
        let (method, action, prefix, queries, body, codes): (_, _, _, &[&'static str], _, &'static [_]) =
            match verb {
                "create" => {
                    let codes = &["200", "201", "202", "401"];
                    ("post", "post", "create", &parameters::WRITE, write, codes)
                }
                "delete" => {
                    let codes = &["200", "202", "401"];
                    let body = Some(Body::DeleteOptions);
                    ("delete", "delete", "delete", &parameters::DELETE, body, codes)
                }
                "deletecollection" => {
                    let (queries, body) = (&parameters::DELETE_COLLECTION, Some(Body::DeleteOptions));
                    ("delete", "deletecollection", "delete", queries, body, &["200", "401"])
                }
                "get" => ("get", "get", "read", &[], None, &["200", "401"]),
                "list" => ("get", "list", "list", &parameters::LIST, None, &["200", "401"]),
                "patch" => {
                    let codes = &["200", "201", "401"];
                    ("patch", "patch", "patch", &parameters::PATCH, Some(Body::Patch), codes)
                }
                "update" => ("put", "put", "replace", &parameters::WRITE, write, &["200", "201", "401"]),
                "watch" => ("get", "watch", "watch", &parameters::LIST, None, &["200", "401"]),
                _ => ("get", "watchlist", "watch", &parameters::LIST, None, &["200", "401"]),
            };
        let mut parameters = in_path(text);
        parameters.extend(queries.iter().copied().chain(["pretty"]).map(Parameter::query));
        parameters.sort_unstable();
        Operation {
            method,
            id: self.names.id(prefix, noun),
            tag: self.names.tag.clone(),
            about: Some((action, self.gvk())),
            parameters,
            body,
            reply,
            codes,
        }
    }

    fn collection(&self, text: String) -> Path<'a> {
        let noun = self.noun(&text);
        let mut operations = Vec::new();
        for verb in ["list", "create", "deletecollection"].into_iter().filter(|verb| self.has(verb)) {
            let (noun, reply) = match verb {
                "list" => (noun.clone(), Reply::List(self.kind)),
                "create" => (noun.clone(), Reply::Object(self.kind.message())),
                _ => (format!("Collection{noun}"), Reply::Meta("Status")),
            };
            operations.push(self.operation(verb, &noun, &text, reply));
        }
        Path { text, operations }
    }

    /// A namespaced kind's collection over all namespaces.
    fn everywhere(&self, text: String) -> Path<'a> {
        let noun = format!("{}ForAllNamespaces", self.kind.kind);
        let operation = self.operation("list", &noun, &text, Reply::List(self.kind));
        Path { text, operations: vec![operation] }
    }

    fn item(&self, text: String) -> Path<'a> {
        let noun = self.noun(&text);
        let object = Reply::Object(self.kind.message());
        let gone = if self.kind.returns_deleted { object } else { Reply::Meta("Status") };
        let verbs = ["get", "update", "patch", "delete"].into_iter().filter(|verb| self.has(verb));
        let reply = |verb| if verb == "delete" { gone } else { object };
        let operations = verbs.map(|verb| self.operation(verb, &noun, &text, reply(verb))).collect();
        Path { text, operations }
    }

    fn watch(&self, action: &str, text: String) -> Path<'a> {
        let list = if action == "watchlist" { "List" } else { "" };
        let all = if self.kind.namespaced && !text.contains('{') { "ForAllNamespaces" } else { "" };
        let noun = format!("{}{list}{all}", self.noun(&text));
        let operations = match self.has("watch") {
            true => vec![self.operation(action, &noun, &text, Reply::Watch)],
            false => Vec::new(),
        };
        Path { text, operations }
    }

    fn subresource(&self, sub: &'a Subresource, text: String) -> Path<'a> {
        let group = if sub.version.is_empty() { &self.kind.group } else { &sub.group };
        let version = if sub.version.is_empty() { &self.kind.version } else { &sub.version };
        let declared = type_of_kind(&api_version(group, version), &sub.kind);
        let own = || self.kind.message();
        let of = if sub.kind == self.kind.kind { own() } else { declared.unwrap_or_else(own) };
        let noun = format!("{}{}", self.noun(&text), word(&sub.name, true));
        let verbs = ["get", "update", "patch", "create", "delete"].into_iter();
        let operation = |verb: &str| {
            let log = sub.name == "log";
            let reply = if log { Reply::Log } else { Reply::Object(of) };
            let mut operation = self.operation(verb, &noun, &text, reply);
            operation.about =
                operation.about.map(|(action, _)| (action, [group.as_str(), version, &sub.kind]));
            if log {
                operation.parameters = in_path(&text);
                operation.parameters.extend(queries(sub));
                operation.parameters.sort_unstable();
            }
            operation
        };
        let operations = verbs.filter(|verb| sub.verbs.iter().any(|v| v == verb)).map(operation).collect();
        Path { text, operations }
    }

    fn connect(
        &self,
        sub: &'a Subresource,
        methods: &[&'static str],
        text: String,
        suffix: &str,
    ) -> Path<'a> {
        let noun = format!("{}{}{suffix}", self.noun(&text), word(&sub.name, true));
        let gvk = [&self.kind.group, &self.kind.version, sub.kind.as_str()];
        let operation = |method: &&'static str| {
            let mut parameters = in_path(&text);
            parameters.extend(queries(sub));
            parameters.sort_unstable();
            Operation {
                method,
                id: self.names.id("connect", &format!("{}{noun}", word(method, true))),
                tag: self.names.tag.clone(),
                about: Some(("connect", gvk)),
                parameters,
                body: None,
                reply: Reply::Any,
                codes: &["200", "401"],
            }
        };
        Path { operations: methods.iter().map(operation).collect(), text }
    }
}

fn queries(sub: &Subresource) -> impl Iterator<Item = Parameter> {
    parameters::connecting(&sub.name).iter().copied().map(Parameter::query)
}

/// What a path's text names.
fn in_path(text: &str) -> Vec<Parameter> {
    let all = ["name", "namespace", "path"].into_iter();
    all.filter(|name| text.contains(&format!("{{{name}}}"))).map(Parameter::path).collect()
}
