//! Health: `/livez`, `/readyz`, `/healthz`, each with `?verbose` (`apiserver/pkg/server/healthz`).

use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::response::Response;
use http::header::{CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, StatusCode};
use tokensmith_core::access::request::parameter;

use tokensmith_core::Supervisor;

use crate::audit::Audit;
use crate::needs::{Checks, needs};
use crate::reply;

const TEXT: &str = "text/plain; charset=utf-8";

needs! {
    /// Who knows how it goes.
    pub(super) struct Health {
        audit: Arc<Audit>,
        checks: Checks,
        supervisor: Arc<Supervisor>,
    }
}

/// Alive: it answers.
pub(super) async fn live(RawQuery(query): RawQuery) -> Response {
    answer("livez", &[("ping", None)], query.as_deref())
}

/// Ready: it can do its work.
pub(super) async fn ready(State(health): State<Health>, RawQuery(query): RawQuery) -> Response {
    let mut found = vec![("ping", None)];
    found.extend(health.checks.iter().map(|(name, check)| (*name, check())));
    found.push(("audit", health.audit.problem()));
    found.extend(health.supervisor.health());
    answer("readyz", &found, query.as_deref())
}

fn answer(name: &str, found: &[(&str, Option<String>)], query: Option<&str>) -> Response {
    let failed = found.iter().any(|(_, problem)| problem.is_some());
    let verbose = query.is_some_and(|q| parameter(q, "verbose").is_some());
    let lines: String = found
        .iter()
        .map(|(check, problem)| match problem {
            None => format!("[+]{check} ok\n"),
            // Why is in the log: these endpoints are open to strangers.
            Some(_) => format!("[-]{check} failed: reason withheld\n"),
        })
        .collect();
    for (check, problem) in found {
        if let Some(problem) = problem {
            tracing::warn!(check, problem, "a health check fails");
        }
    }
    let (code, text) = match (failed, verbose) {
        (true, _) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{lines}{name} check failed\n")),
        (false, true) => (StatusCode::OK, format!("{lines}{name} check passed\n")),
        (false, false) => (StatusCode::OK, "ok".to_owned()),
    };
    let mut response = reply::bytes(code, text, TEXT);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(TEXT));
    response.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
