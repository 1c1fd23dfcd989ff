//! The key ring as people look at it. Public facts only.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use http::{HeaderMap, StatusCode};
use serde_json::{Map, Value, json};
use time::OffsetDateTime;
use tokensmith_core::keys::KeyInfo;
use tokensmith_objects::object::timestamp;

use crate::app::App;
use crate::failure::Failure;
use crate::reply::{self, Format};

/// `GET /tokensmith/v1/keys`
pub(super) async fn list(State(app): State<Arc<App>>, headers: HeaderMap) -> Result<Response, Failure> {
    let format = Format::of(&headers, "", |_| false)?;
    let keys: Vec<_> = app.keys.current().infos().iter().map(show).collect();
    Ok(reply::object(StatusCode::OK, &json!({ "keys": keys }), &format))
}

fn show(key: &KeyInfo) -> Value {
    let mut out = Map::new();
    out.insert("id".into(), key.id.as_str().into());
    out.insert("algorithm".into(), key.algorithm.as_str().into());
    out.insert("phase".into(), key.phase.into());
    let last = key.last_exp.and_then(|exp| OffsetDateTime::from_unix_timestamp(exp).ok());
    for (field, at) in [("since", key.since), ("publishedAt", key.published_at), ("lastExpiration", last)] {
        if let Some(at) = at {
            out.insert(field.into(), timestamp(at).into());
        }
    }
    Value::Object(out)
}
