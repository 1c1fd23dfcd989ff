//! Reverse mode: only requests with a valid token go on, with who it is in headers that no client can set.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use http::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use http::{Request, Response};
use http_body_util::Full;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use prometheus_client::registry::Registry;
use tokensmith_listen::{Lifetime, RequestBody};

use super::body::ReplyBody;
use super::failure::Failure;
use super::metrics::Metrics;
use super::pass::{pass, target};
use super::upstream::Upstream;
use crate::observe::Unwell;

/// Lets in requests with a valid token.
pub struct ReverseMode {
    /// Who says so.
    pub gate: Arc<dyn Gate>,
    /// Where requests go.
    pub upstream: Upstream,
    /// Passes the client's `Authorization` on. The upstream, and whoever reads its log, can then use the token
    /// themselves.
    pub pass_token: bool,
}

/// Who says whether a request is let in.
#[async_trait]
pub trait Gate: Send + Sync {
    /// Judges a request by its headers.
    async fn admit(&self, headers: &HeaderMap) -> Result<Arc<ForwardedUser>, Denied>;

    /// Whether it can judge.
    ///
    /// # Errors
    /// Its keys are old, or whom it asks does not answer.
    async fn health(&self) -> Result<(), Unwell> {
        Ok(())
    }

    /// Shows its counters beside the proxy's.
    fn register(&self, _: &mut Registry) {}
}

/// Why a request is not let in.
#[derive(Debug)]
pub struct Denied {
    code: &'static str,
    /// Large, and rare.
    reply: Box<Response<Full<Bytes>>>,
}

impl Denied {
    /// `code` is for metrics: one of few words. `reply` is what the client is told.
    pub fn new(code: &'static str, reply: Response<Full<Bytes>>) -> Self {
        Denied { code, reply: Box::new(reply) }
    }
}

/// Who a request comes from, as headers in the API server's words (`--requestheader-*-headers`):
/// `X-Remote-User`, `X-Remote-Uid`, `X-Remote-Group` (one for each), `X-Remote-Extra-KEY`.
#[derive(Debug, PartialEq, Eq)]
pub struct ForwardedUser {
    headers: Vec<(HeaderName, HeaderValue)>,
}

/// What a header cannot hold.
#[derive(Debug, thiserror::Error)]
#[error("the {0} has characters that a header cannot hold")]
pub struct ForwardedUserError(&'static str);

const USER: HeaderName = HeaderName::from_static("x-remote-user");
const UID: HeaderName = HeaderName::from_static("x-remote-uid");
const GROUP: HeaderName = HeaderName::from_static("x-remote-group");
const EXTRA: &str = "x-remote-extra-";

impl ForwardedUser {
    /// Makes the headers.
    ///
    /// # Errors
    /// Something is not printable ASCII: cut or replaced, it might become somebody else.
    pub fn new<'a>(
        user: &str,
        uid: &str,
        groups: impl IntoIterator<Item = &'a str>,
        extra: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self, ForwardedUserError> {
        let value = |what, text: &str| HeaderValue::from_str(text).map_err(|_| ForwardedUserError(what));
        let mut headers = vec![(USER, value("user name", user)?)];
        if !uid.is_empty() {
            headers.push((UID, value("UID", uid)?));
        }
        for group in groups {
            headers.push((GROUP, value("name of a group", group)?));
        }
        for (key, text) in extra {
            headers.push((extra_name(key)?, value("value of an extra", text)?));
        }
        Ok(ForwardedUser { headers })
    }

    /// Puts it into headers that have none of these.
    fn insert(&self, headers: &mut HeaderMap) {
        headers.reserve(self.headers.len());
        for (name, value) in &self.headers {
            headers.append(name.clone(), value.clone());
        }
    }
}

/// The header of an extra key. As Kubernetes' clients do, what no header's name can have is percent-encoded, and `%` too
/// (client-go `transport/round_trippers.go`, `headerKeyEscape`).
fn extra_name(key: &str) -> Result<HeaderName, ForwardedUserError> {
    // RFC 9110 §5.6.2 without `%`.
    const NO_TOKEN: &AsciiSet = &NON_ALPHANUMERIC
        .remove(b'!')
        .remove(b'#')
        .remove(b'$')
        .remove(b'&')
        .remove(b'\'')
        .remove(b'*')
        .remove(b'+')
        .remove(b'-')
        .remove(b'.')
        .remove(b'^')
        .remove(b'_')
        .remove(b'`')
        .remove(b'|')
        .remove(b'~');
    let name = format!("{EXTRA}{}", utf8_percent_encode(key, NO_TOKEN));
    HeaderName::try_from(name).map_err(|_| ForwardedUserError("key of an extra"))
}

impl ReverseMode {
    pub(super) async fn answer(
        &self,
        request: Request<RequestBody>,
        lifetime: &Lifetime,
        metrics: &Metrics,
    ) -> Result<Response<ReplyBody>, Failure> {
        let (parts, body) = request.into_parts();
        let path = target(&parts)?;
        // Before the body is read, and before `100 Continue` asks for it.
        let identity = match self.gate.admit(&parts.headers).await {
            Ok(identity) => identity,
            Err(denied) => {
                metrics.rejected(denied.code);
                return Ok((*denied.reply).map(ReplyBody::Full));
            }
        };
        let token = self.pass_token.then(|| parts.headers.get(AUTHORIZATION).cloned()).flatten();
        let request = Request::from_parts(parts, body);
        pass(request, path, &self.upstream, lifetime, metrics, |headers| {
            identity.insert(headers);
            if let Some(token) = token {
                headers.insert(AUTHORIZATION, token);
            }
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_becomes_headers_as_kubernetes_writes_them() {
        let extra = [("authentication.kubernetes.io/pod-name", "web-0"), ("A%b", "x")];
        let identity = ForwardedUser::new("system:serviceaccount:a:b", "u1", ["g1", "g2"], extra).unwrap();
        let lines: Vec<_> =
            identity.headers.iter().map(|(n, v)| format!("{n}: {}", v.to_str().unwrap())).collect();
        assert_eq!(
            lines,
            [
                "x-remote-user: system:serviceaccount:a:b",
                "x-remote-uid: u1",
                "x-remote-group: g1",
                "x-remote-group: g2",
                "x-remote-extra-authentication.kubernetes.io%2fpod-name: web-0",
                "x-remote-extra-a%25b: x",
            ]
        );
    }

    #[test]
    fn nobody_becomes_somebody_else() {
        for bad in ["a\r\nX-Remote-Group: system:masters", "a\0", "a\u{7f}"] {
            assert!(ForwardedUser::new(bad, "", [], []).is_err());
            assert!(ForwardedUser::new("a", bad, [], []).is_err());
            assert!(ForwardedUser::new("a", "", [bad], []).is_err());
            assert!(ForwardedUser::new("a", "", [], [("k", bad)]).is_err());
        }
    }
}
