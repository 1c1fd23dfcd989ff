//! Paths that are no objects': which of them upstream's router answers (`apiserver/pkg/server`, `director` and
//! `mux/pathrecorder.go`), in which spelling, and the list of them at `/`.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use serde_json::{Value, json};
use tokensmith_core::access::chain::escaped;
use tokensmith_objects::schema::{Schema, api_version};

use super::OWN;
use super::health::Health;
use crate::needs::needs;
use crate::reply;

/// Whose routes are found part by part (go-restful's): slashes at the end do not matter, and what is not found below is told
/// as a `Status`. The others are found by the whole text, and what is next to them is no page.
const ROOTS: [&str; 4] = ["/.well-known/openid-configuration", "/api", "/openid/v1/jwks", "/version"];

/// The endpoint that a decoded path means, as [`OWN`] spells it.
pub(super) fn canonical(path: &str) -> &str {
    let bare = path.trim_end_matches('/');
    match path {
        "/apis/" => "/apis",
        _ if ROOTS.contains(&bare) => bare,
        _ => path,
    }
}

/// What is not there below this path is told as a `Status`; else as text.
pub(super) fn is_restful(schema: &Schema, path: &str) -> bool {
    let below = |path: &str, root: &str| {
        path.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    ROOTS.iter().any(|root| below(path, root))
        || path.strip_prefix("/apis/").is_some_and(|path| {
            schema.served().any(|kind| !kind.group.is_empty() && below(path, kind.group.as_str()))
        })
}

/// 404 of what upstream's router does not know at all.
pub(super) fn no_page() -> Response {
    reply::text(StatusCode::NOT_FOUND, "404 page not found")
}

/// 500 of a path that begins like an object's and names no kind; upstream tells even strangers.
pub(crate) fn no_kind(target: &str) -> Response {
    let cause = "failed to create RequestInfo: unable to determine kind and namespace from url";
    let text = format!("Internal Server Error: \"{target}\": {cause}, {target}");
    reply::text(StatusCode::INTERNAL_SERVER_ERROR, &escaped(&text))
}

needs! {
    /// What there is to list.
    pub(super) struct Listed {
        health: Health,
        schema: Arc<Schema>,
    }
}

/// `/`, `/index.html`: the paths that can be asked for.
pub(super) async fn index(State(listed): State<Listed>) -> Response {
    raw(&json!({ "paths": listed.paths() }))
}

impl Listed {
    /// Sorted; no patterns, and not the list itself, as upstream.
    fn paths(&self) -> Vec<String> {
        let own =
            OWN.iter().map(|route| route.path).filter(|path| !path.contains('{') && !path.ends_with('/'));
        let mut paths: Vec<String> = own.filter(|path| *path != "/index.html").map(str::to_owned).collect();
        paths.push("/apis/".to_owned());
        for kind in self.schema.served() {
            match kind.group.as_str() {
                "" => paths.push(format!("/api/{}", kind.version)),
                group => {
                    let version = api_version(group, &kind.version);
                    paths.extend([format!("/apis/{group}"), format!("/apis/{version}")]);
                }
            }
        }
        paths.extend(self.health.names().iter().map(|(root, name)| format!("/{root}/{name}")));
        paths.sort();
        paths.dedup();
        paths
    }
}

/// What upstream writes without asking for the representation (`WriteRawJSON`): always with line breaks.
pub(super) fn raw(value: &Value) -> Response {
    let text = serde_json::to_string_pretty(value).unwrap_or_default();
    reply::bytes(StatusCode::OK, text, "application/json")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_well_known_paths() {
        for (path, want) in [
            ("/version", "/version"),
            ("/version/", "/version"),
            ("/version//", "/version"),
            ("/api/", "/api"),
            ("/apis/", "/apis"),
            ("/apis//", "/apis//"),
            ("/openid/v1/jwks/", "/openid/v1/jwks"),
            ("/healthz/", "/healthz/"),
            ("//version", "//version"),
            ("/", "/"),
        ] {
            assert_eq!(canonical(path), want, "{path}");
        }
    }

    #[test]
    fn what_is_missing_is_a_status_below_what_is_served_and_else_a_page() {
        let schema = Schema::serving(Vec::<&str>::new()).unwrap();
        for (path, want) in [
            ("/api/v2", true),
            ("/api/v1/nosuch", true),
            ("/apis/rbac.authorization.k8s.io/v7", true),
            ("/version/x", true),
            ("/apis/nothing", false),
            ("/apis/rbac.authorization", false),
            ("/apix", false),
            ("/API/v1", false),
            ("/healthz/x", false),
            ("/nosuch", false),
            ("//api", false),
        ] {
            assert_eq!(is_restful(&schema, path), want, "{path}");
        }
    }
}
