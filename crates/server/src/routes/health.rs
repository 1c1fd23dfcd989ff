//! Health: `/livez`, `/readyz`, `/healthz`, each with `?verbose` and `?exclude=NAME`, and each check by its name below
//! (`apiserver/pkg/server/healthz`).

use std::sync::Arc;

use axum::extract::{Path, RawQuery, State};
use axum::response::Response;
use http::HeaderValue;
use http::StatusCode;
use http::header::X_CONTENT_TYPE_OPTIONS;
use tokensmith_core::Supervisor;
use tokensmith_core::access::request::parameters;

use super::paths::no_page;
use crate::audit::Audit;
use crate::needs::{Checks, needs};
use crate::reply::{self, TEXT};

needs! {
    /// Who knows how it goes.
    pub(super) struct Health {
        audit: Arc<Audit>,
        checks: Checks,
        supervisor: Arc<Supervisor>,
    }
}

/// A check, and what is wrong.
type Found = (&'static str, Option<String>);

impl Health {
    /// Alive: it answers.
    fn live() -> Vec<Found> {
        vec![("ping", None)]
    }

    /// Ready: it can do its work.
    fn ready(&self) -> Vec<Found> {
        let mut found = Self::live();
        found.extend(self.checks.iter().map(|(name, check)| (*name, check())));
        found.push(("audit", self.audit.problem()));
        found.extend(self.supervisor.health());
        found
    }

    /// One of these by its name, if there is one; the others are not looked at.
    fn one(&self, name: &str) -> Option<Option<String>> {
        if let Some((_, check)) = self.checks.iter().find(|(own, _)| *own == name) {
            return Some(check());
        }
        match name {
            "audit" => Some(self.audit.problem()),
            name => self.supervisor.check(name).or_else(|| live_one(name)),
        }
    }

    /// All that can be asked for by name: below which endpoint, and as what.
    pub(super) fn names(&self) -> Vec<(&'static str, &'static str)> {
        let live = || Self::live().into_iter().map(|(name, _)| name);
        let own = self.checks.iter().map(|(name, _)| *name).chain(["audit"]);
        let ready: Vec<_> = live().chain(own).chain(self.supervisor.checks()).collect();
        let of = |root| ready.iter().map(move |name| (root, *name));
        let live = Self::live().into_iter().map(|(name, _)| ("livez", name));
        of("healthz").chain(live).chain(of("readyz")).collect()
    }
}

/// `/healthz`, the old name for readiness.
pub(super) async fn healthy(State(health): State<Health>, RawQuery(query): RawQuery) -> Response {
    answer("healthz", &health.ready(), query.as_deref())
}

/// `/livez`
pub(super) async fn live(RawQuery(query): RawQuery) -> Response {
    answer("livez", &Health::live(), query.as_deref())
}

/// `/readyz`
pub(super) async fn ready(State(health): State<Health>, RawQuery(query): RawQuery) -> Response {
    answer("readyz", &health.ready(), query.as_deref())
}

/// `/healthz/NAME`, `/readyz/NAME`
pub(super) async fn one_of_ready(State(health): State<Health>, Path(name): Path<String>) -> Response {
    one(health.one(&name))
}

/// `/livez/NAME`
pub(super) async fn one_of_live(Path(name): Path<String>) -> Response {
    one(live_one(&name))
}

fn live_one(name: &str) -> Option<Option<String>> {
    Health::live().into_iter().find(|(check, _)| *check == name).map(|(_, problem)| problem)
}

/// One check. Who may ask for it is told what is wrong: that takes a right that strangers do not have.
fn one(found: Option<Option<String>>) -> Response {
    match found {
        None => no_page(),
        Some(None) => reply::bytes(StatusCode::OK, "ok", TEXT),
        Some(Some(problem)) => {
            reply::text(StatusCode::INTERNAL_SERVER_ERROR, &format!("internal server error: {problem}"))
        }
    }
}

fn answer(name: &str, found: &[Found], query: Option<&str>) -> Response {
    let query: Vec<_> = parameters(query.unwrap_or("")).collect();
    let verbose = query.iter().any(|(key, _)| key == "verbose");
    let mut excluded: Vec<_> =
        query.into_iter().filter(|(key, _)| key == "exclude").map(|(_, check)| check).collect();
    excluded.sort();
    excluded.dedup();
    let (mut lines, mut failed) = (String::new(), false);
    for (check, problem) in found {
        if let Some(at) = excluded.iter().position(|other| other == check) {
            excluded.remove(at);
            lines.push_str(&format!("[+]{check} excluded: ok\n"));
            continue;
        }
        match problem {
            None => lines.push_str(&format!("[+]{check} ok\n")),
            Some(problem) => {
                failed = true;
                tracing::warn!(check, problem, "a health check fails");
                // Why is in the log: these endpoints are open to strangers.
                lines.push_str(&format!("[-]{check} failed: reason withheld\n"));
            }
        }
    }
    if !excluded.is_empty() {
        let unknown: Vec<_> = excluded.iter().map(|check| format!("{check:?}")).collect();
        let text = "warn: some health checks cannot be excluded: no matches for";
        lines.push_str(&format!("{text} {}\n", unknown.join(",")));
    }
    if failed {
        return reply::text(StatusCode::INTERNAL_SERVER_ERROR, &format!("{lines}{name} check failed"));
    }
    let text = if verbose { format!("{lines}{name} check passed\n") } else { "ok".to_owned() };
    let mut response = reply::bytes(StatusCode::OK, text, TEXT);
    response.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
