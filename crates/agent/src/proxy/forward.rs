//! Forward mode: every request goes on with the token.

use http::header::AUTHORIZATION;
use http::{Request, Response, StatusCode};
use tokensmith_listen::{Lifetime, RequestBody};

use super::body::ReplyBody;
use super::failure::Failure;
use super::guard::Guard;
use super::metrics::Metrics;
use super::pass::{pass, target};
use super::upstream::Upstream;
use crate::source::TokenSource;

/// Puts a token on every request and passes it on.
pub struct ForwardMode {
    /// Where tokens come from.
    pub source: TokenSource,
    /// For whom they are; `None` for the source's default.
    pub audience: Option<String>,
    /// Where requests go.
    pub upstream: Upstream,
    /// Who may use it.
    pub guard: Guard,
}

impl ForwardMode {
    pub(super) async fn answer(
        &self,
        mut request: Request<RequestBody>,
        lifetime: &Lifetime,
        metrics: &Metrics,
    ) -> Result<Response<ReplyBody>, Failure> {
        let (parts, body) = request.into_parts();
        let path = target(&parts)?;
        request = Request::from_parts(parts, body);
        if let Some((name, _)) = &self.guard.require_header {
            self.guard.check_header(request.headers()).map_err(|refused| {
                metrics.refused(refused.label());
                Failure::Forbidden(refused.message().into())
            })?;
            // Between client and proxy.
            request.headers_mut().remove(name);
        }
        let audience = self.audience.as_deref();
        // Never without: the upstream would take it for somebody who has none.
        let token = self.source.token(audience).await.map_err(|e| Failure::Unavailable(e.to_string()))?;
        let answer = pass(request, path, &self.upstream, lifetime, metrics, |headers| {
            headers.insert(AUTHORIZATION, token.header().clone());
        })
        .await?;
        // The answer goes to the client as it is: the body of its request is gone, and can't be sent twice.
        if answer.status() == StatusCode::UNAUTHORIZED {
            self.source.rejected(audience, &token);
        }
        Ok(answer)
    }
}
