//! `/testing/v1/clock`, with `--test-clock` alone: tests move time.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Extension, State};
use axum::response::Response;
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::json;
use time::format_description::well_known::Rfc3339;
use tokensmith_core::access::MASTERS;
use tokensmith_core::clock::{Clock, ManualClock};
use tokensmith_core::{Error, moment};

use crate::app::App;
use crate::body;
use crate::failure::Failure;
use crate::gate::Caller;
use crate::reply::{self, Format};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    now: String,
    /// Sets the wall clock alone, as a time server does: no time passes.
    #[serde(default)]
    jump: bool,
}

/// The clock, for administrators of a server that has one.
fn clock<'a>(app: &'a App, caller: &Caller) -> Result<&'a ManualClock, Failure> {
    let clock = app.test_clock.as_deref().ok_or_else(Failure::no_such_path)?;
    // Whatever RBAC may say: who moves time decides about every token.
    match caller.user.groups.iter().any(|g| g == MASTERS) {
        true => Ok(clock),
        false => Err(Failure::new(
            StatusCode::FORBIDDEN,
            "Forbidden",
            "forbidden: only administrators may use the clock",
            Some(Default::default()),
        )),
    }
}

/// `GET`: `{"now": RFC 3339}`
pub(super) async fn show(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    answer(clock(&app, &caller)?, &headers)
}

/// `PUT` of the same: moves the clock, forwards (that time passes, unless `jump` is said) or backwards.
pub(super) async fn set(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Failure> {
    let clock = clock(&app, &caller)?;
    let wanted: Wanted = body::json(&app, &headers, body).await?;
    let bad = |cause: moment::ParseError| {
        Failure::from(Error::BadRequest(format!("the clock takes {{\"now\": RFC 3339}}: {cause}")))
    };
    let now = moment::parse(&wanted.now).map_err(bad)?;
    match wanted.jump {
        true => clock.jump(now),
        false => clock.set(now),
    }
    // What is due by then is done when this returns, so that a test need not wait for it.
    if let Err(cause) = app.keys.tick().await {
        return Err(Error::internal("the keys cannot follow the clock", cause).into());
    }
    app.view.settled(clock).await;
    app.supervisor.settled().await;
    answer(clock, &headers)
}

fn answer(clock: &ManualClock, headers: &HeaderMap) -> Result<Response, Failure> {
    let now = clock.now().format(&Rfc3339).unwrap_or_default();
    Ok(reply::object(StatusCode::OK, &json!({ "now": now }), &Format::of(headers, "", |_| false)?))
}
