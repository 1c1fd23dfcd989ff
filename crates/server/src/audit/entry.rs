//! The line of one request on its way: begun at the gate, told more by the handler, written when the answer is known.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::Request;
use http::header::{AUTHORIZATION, SEC_WEBSOCKET_PROTOCOL, USER_AGENT};
use time::format_description::well_known::Rfc3339;
use tokensmith_core::access::RequestInfo;

use super::Line;
use super::about::about;
use super::secrets::Secrets;
use crate::app::App;
use crate::failure::Failure;
use crate::listener::{Peer, PeerCertificates};

/// What the gate finds out about a request.
#[derive(Clone, Debug, Default)]
pub(crate) struct Known {
    /// Who asks, or as whom, once that is known.
    pub(crate) user: String,
    /// Who really asks.
    pub(crate) impersonated_by: String,
    /// As whom they wanted to act, and may not.
    pub(crate) impersonated_user: String,
    /// Why a credential was refused: for the log alone, it would help who guesses.
    pub(crate) why: String,
}

/// The line of a request, written exactly once: with the answer, or when the last who knows of it is gone, for a caller
/// may hang up.
pub(crate) struct Entry {
    app: Arc<App>,
    arrived: Duration,
    /// It did not pass the gate.
    refused: bool,
    /// Of the request, to be kept out of the line.
    secrets: Secrets,
    line: Mutex<Option<Line>>,
}

/// What nginx calls a request whose client went away; there is no better code.
const GONE: u16 = 499;

impl Entry {
    /// Begins the line of a request that has passed the gate, or was refused there with this code. `None` for one that
    /// decides nothing about a token or a key.
    pub(crate) fn begin(
        app: &Arc<App>,
        request: &Request,
        info: &RequestInfo,
        audit_id: &str,
        arrived: Duration,
        known: Known,
        refused: Option<u16>,
    ) -> Option<Arc<Self>> {
        let (headers, a) = (request.headers(), &info.attributes);
        // Where it is known who asks, the credential has passed: what is refused then is something else.
        let credential = || refused.is_some() && known.user.is_empty() && shows_a_credential(request);
        let line = match about(request.method(), info) {
            Some(about) => about.line(),
            None if credential() => {
                Line { action: "authenticate", verb: a.verb.clone(), path: a.path.clone(), ..Line::default() }
            }
            None => return None,
        };
        let agent = headers.get(USER_AGENT).map(|v| String::from_utf8_lossy(v.as_bytes()));
        let certificate = request.extensions().get::<PeerCertificates>().is_some();
        let secrets = Secrets::of(headers, !known.user.is_empty(), certificate);
        let line = Line {
            time: app.clock.now().format(&Rfc3339).unwrap_or_default(),
            audit_id: audit_id.into(),
            user: known.user,
            impersonated_by: known.impersonated_by,
            impersonated_user: known.impersonated_user,
            source_ips: request.extensions().get::<Peer>().map(|p| p.0.to_string()).into_iter().collect(),
            user_agent: agent.unwrap_or_default().into_owned(),
            reason: known.why,
            ..line
        };
        let (app, refused) = (app.clone(), refused.is_some());
        Some(Arc::new(Entry { app, arrived, refused, secrets, line: Mutex::new(Some(line)) }))
    }

    /// What the handler knows: all but where the request came from.
    pub(crate) fn tell(&self, line: Line) {
        let mut begun = self.lock();
        let Some(before) = begun.take() else { return };
        *begun = Some(Line { source_ips: before.source_ips, user_agent: before.user_agent, ..line });
    }

    /// The answer is known.
    pub(crate) fn answered(&self, code: u16, failure: Option<&Failure>) {
        let Some(mut line) = self.lock().take() else { return };
        line.code = code;
        if code >= 400 {
            if let Some(failure) = failure.filter(|_| line.reason.is_empty() || line.decision == "allow") {
                line.reason.clone_from(&failure.0.message);
            }
            line.decision = "deny";
        } else if line.decision.is_empty() {
            line.decision = "allow";
        }
        self.write(line);
    }

    fn write(&self, mut line: Line) {
        if line.latency_micros == 0 {
            let took = self.app.clock.monotonic().saturating_sub(self.arrived);
            line.latency_micros = took.as_micros().try_into().unwrap_or(u64::MAX);
        }
        self.secrets.hide_in(&mut line);
        match self.refused {
            true => self.app.audit.write_refused(&line),
            false => self.app.audit.write(&line),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Line>> {
        self.line.lock().unwrap_or_else(|e| e.into_inner())
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let Some(mut line) = self.lock().take() else { return };
        // What was decided before the caller went stays so: a token may have been given out.
        if line.decision.is_empty() {
            (line.decision, line.code) = ("deny", GONE);
            line.reason = "the caller went away before there was an answer".into();
        }
        self.write(line);
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Entry(…)")
    }
}

/// Whether a request shows who it is from: then its refusal is a decision on that credential.
pub(crate) fn shows_a_credential(request: &Request) -> bool {
    let headers = request.headers();
    // Whether or not it can be read: a token that was spoilt on its way is one.
    let in_protocol = |v: &http::HeaderValue| v.as_bytes().windows(7).any(|w| w == b"bearer.");
    headers.contains_key(AUTHORIZATION)
        || headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter().any(in_protocol)
        || request.extensions().get::<PeerCertificates>().is_some()
}
