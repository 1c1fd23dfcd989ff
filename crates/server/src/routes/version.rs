//! `GET /version`: which Kubernetes' behaviour this is, and which tokensmith.

use axum::extract::State;
use axum::response::Response;
use http::HeaderMap;
use serde_json::json;

use super::paths::raw;
use crate::failure::Failure;
use crate::needs::Version;
use crate::reply;

/// Which Kubernetes' API this is, and which tokensmith.
pub(super) fn git_version(own: &str) -> String {
    format!("v1.36.0+tokensmith.{own}")
}

/// kubectl compares `major` and `minor` with its own.
pub(super) async fn show(
    State(Version(own)): State<Version>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    reply::is_produced(&headers, &["application/json"])?;
    let version = json!({
        "major": "1", "minor": "36",
        // Nothing older is emulated; a client of one minor version before is at home, too (KEP-4330).
        "emulationMajor": "1", "emulationMinor": "36", "minCompatibilityMajor": "1", "minCompatibilityMinor": "35",
        "gitVersion": git_version(own),
        "gitCommit": "", "gitTreeState": "", "buildDate": "1970-01-01T00:00:00Z", "goVersion": "",
        "compiler": "rustc", "platform": format!("{}/{}", std::env::consts::OS, std::env::consts::ARCH),
    });
    Ok(raw(&version))
}
