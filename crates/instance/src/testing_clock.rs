//! `/testing/v1/clock`, of servers whose clock can be moved: tests move time.

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;
use http::HeaderMap;
use serde::Deserialize;
use serde_json::json;
use time::format_description::well_known::Rfc3339;
use tokensmith_core::{Error, moment};
use tokensmith_server::{Access, Failure, Limit, Route, json_body, json_reply};

use crate::clock::TestClock;

/// Where it is.
pub const PATH: &str = "/testing/v1/clock";
/// What it answers to.
pub const METHODS: &[&str] = &["GET", "PUT"];

#[derive(Clone)]
struct With {
    clock: TestClock,
    limit: Limit,
}

/// The endpoint, for administrators: who moves time decides about every token.
pub(crate) fn route(clock: TestClock, limit: Limit) -> Route {
    let handlers = get(show).put(set).with_state(With { clock, limit });
    Route::new(PATH, METHODS, Access::Masters("only administrators may use the clock"), handlers)
}

/// `GET`: `{"now": RFC 3339}`
async fn show(State(with): State<With>, headers: HeaderMap) -> Result<Response, Failure> {
    answer(&with.clock, &headers)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ClockChange {
    now: String,
    /// Sets the wall clock alone, as a time server does: no time passes.
    #[serde(default)]
    jump: bool,
}

/// `PUT` of the same: moves the clock, forwards (that time passes, unless `jump` is said) or backwards. What is due by then
/// is done when it is answered, so that a test need not wait for it.
async fn set(State(with): State<With>, headers: HeaderMap, body: Body) -> Result<Response, Failure> {
    let wanted: ClockChange = json_body(with.limit, &headers, body).await?;
    let bad = |cause: moment::ParseError| {
        Failure::from(Error::BadRequest(format!("the clock takes {{\"now\": RFC 3339}}: {cause}")))
    };
    let now = moment::parse(&wanted.now).map_err(bad)?;
    let moved = match wanted.jump {
        true => with.clock.jump(now).await,
        false => with.clock.set(now).await,
    };
    moved.map_err(|cause| Error::internal("the keys cannot follow the clock", cause))?;
    answer(&with.clock, &headers)
}

fn answer(clock: &TestClock, headers: &HeaderMap) -> Result<Response, Failure> {
    json_reply(&json!({ "now": clock.now().format(&Rfc3339).unwrap_or_default() }), headers)
}
