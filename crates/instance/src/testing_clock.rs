//! `/testing/v1/clock`, of servers whose clock can be moved: tests move time.

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;
use http::HeaderMap;
use serde::Deserialize;
use serde_json::json;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokensmith_core::duration::typed;
use tokensmith_core::{Error, Moment, moment};
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
    /// A time, RFC 3339,
    now: Option<String>,
    /// or how far it is to be moved, as Go writes it, or in days and weeks; backwards below zero.
    advance: Option<String>,
    /// Sets the wall clock alone, as a time server does: no time passes.
    #[serde(default)]
    jump: bool,
}

impl ClockChange {
    /// The time that it leads to.
    fn time(&self, now: OffsetDateTime) -> Result<OffsetDateTime, Failure> {
        let bad = |cause: &dyn std::fmt::Display| {
            Failure::from(Error::BadRequest(format!(
                "the clock takes {{\"now\": RFC 3339}} or {{\"advance\": \"1h30m\"}}: {cause}"
            )))
        };
        match (&self.now, &self.advance) {
            (Some(to), None) => moment::parse(to).map_err(|cause| bad(&cause)),
            (None, Some(span)) => {
                let span = typed(span).map_err(|cause| bad(&cause))?;
                Ok(now.plus(time::Duration::nanoseconds(span.nanos())))
            }
            (Some(_), Some(_)) => Err(bad(&"both are there")),
            (None, None) => Err(bad(&"neither is there")),
        }
    }
}

/// `PUT` of the same, or of `{"advance": "1h"}`: moves the clock, forwards (that time passes, unless `jump` is said) or backwards. What is due by then
/// is done when it is answered, so that a test need not wait for it.
async fn set(State(with): State<With>, headers: HeaderMap, body: Body) -> Result<Response, Failure> {
    let wanted: ClockChange = json_body(with.limit, &headers, body).await?;
    let now = wanted.time(with.clock.now())?;
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
