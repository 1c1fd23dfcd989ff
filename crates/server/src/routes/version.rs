//! `GET /version`: which Kubernetes' behaviour this is, and which tokensmith.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use http::{HeaderMap, StatusCode};
use serde_json::json;

use crate::app::App;
use crate::failure::Failure;
use crate::reply::{self, Format};

/// kubectl compares `major` and `minor` with its own.
pub(super) async fn show(State(app): State<Arc<App>>, headers: HeaderMap) -> Result<Response, Failure> {
    let version = json!({
        "major": "1", "minor": "36", "gitVersion": format!("v1.36.0+tokensmith.{}", app.config.version),
        "gitCommit": "", "gitTreeState": "", "buildDate": "1970-01-01T00:00:00Z", "goVersion": "",
        "compiler": "rustc", "platform": format!("{}/{}", std::env::consts::OS, std::env::consts::ARCH),
    });
    Ok(reply::object(StatusCode::OK, &version, &Format::of(&headers, "", |_| false)?))
}
