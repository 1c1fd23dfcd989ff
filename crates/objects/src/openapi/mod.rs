//! What a schema serves, as OpenAPI documents: made of its kinds and their types, nothing of it is written down.
//!
//! Version 3 has one document for each group and version and a few small ones, version 2 one for all. Both are trees of JSON;
//! [`protobuf`] makes of such a tree what clients in Go ask for. Descriptions are left out.
//!
//! ```
//! use tokensmith_objects::openapi::{self, Form};
//! use tokensmith_objects::schema::Schema;
//!
//! let schema = Schema::builtin();
//! let document = openapi::v3(schema, "apis/apps/v1", "v1.36.0").unwrap();
//! let deployment = &document["components"]["schemas"]["io.k8s.api.apps.v1.Deployment"];
//! assert_eq!(deployment["x-kubernetes-group-version-kind"][0]["kind"], "Deployment");
//! assert!(!openapi::protobuf(&document, Form::V3).is_empty());
//! assert!(openapi::v3(schema, "apis/nothing/v1", "v1.36.0").is_none());
//! ```

mod components;
mod gnostic;
mod operations;
mod parameters;
mod render;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use crate::schema::{Schema, api_version};
use components::Components;
use operations::Path;

/// Which OpenAPI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Swagger 2.0: without defaults and enums, as upstream leaves them out.
    V2,
    /// OpenAPI 3.0.
    V3,
}

/// The documents of version 3 that there are, sorted: `api/v1`, `apis/apps`, `apis/apps/v1`, `version`.
pub fn documents(schema: &Schema) -> Vec<String> {
    let mut all: BTreeSet<String> = SMALL.iter().map(|path| (*path).to_owned()).collect();
    for kind in schema.served() {
        match kind.group.as_str() {
            "" => all.extend([format!("api/{}", kind.version)]),
            group => {
                all.extend([format!("apis/{group}"), format!("apis/{}", api_version(group, &kind.version))])
            }
        }
    }
    all.into_iter().collect()
}

/// Those that belong to no group.
const SMALL: [&str; 5] = [".well-known/openid-configuration", "api", "apis", "openid/v1/jwks", "version"];

/// One document of version 3; `version` is the server's.
pub fn v3(schema: &Schema, path: &str, version: &str) -> Option<Value> {
    let paths = operations::below(schema, path)?;
    let mut components = Components::new(schema, Form::V3);
    let paths = rendered(&paths, &mut components);
    Some(json!({
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": version},
        "paths": paths,
        "components": {
            "schemas": components.finish(),
            "securitySchemes": {"BearerToken": bearer()},
        },
    }))
}

/// The document of version 2.
pub fn v2(schema: &Schema, version: &str) -> Value {
    let mut components = Components::new(schema, Form::V2);
    let all = documents(schema);
    let all: Vec<Path<'_>> =
        all.iter().filter_map(|path| operations::below(schema, path)).flatten().collect();
    let paths = rendered(&all, &mut components);
    json!({
        "swagger": "2.0",
        "info": {"title": "Kubernetes", "version": version},
        "paths": paths,
        "definitions": components.finish(),
        "parameters": render::shared_parameters(),
        "securityDefinitions": {"BearerToken": bearer()},
        "security": [{"BearerToken": []}],
    })
}

/// A document as the protobuf message that gnostic has for it.
pub fn protobuf(document: &Value, form: Form) -> Vec<u8> {
    gnostic::encode(document, form)
}

fn rendered<'a>(paths: &[Path<'a>], components: &mut Components<'a>) -> Value {
    let mut all: Vec<_> =
        paths.iter().map(|path| (path.text.clone(), render::path(path, components))).collect();
    all.sort_by(|a, b| a.0.cmp(&b.0));
    Value::Object(all.into_iter().collect::<Map<_, _>>())
}

fn bearer() -> Value {
    json!({"type": "apiKey", "name": "authorization", "in": "header", "description": "Bearer Token authentication"})
}
