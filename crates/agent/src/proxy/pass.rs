//! A request's way to the upstream and its answer's way back; forward and reverse mode have it in common.

use http::header::{HOST, HeaderMap, HeaderValue, TE};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{Method, Request, Response, StatusCode, Version};
use tokensmith_listen::{Lifetime, RequestBody};

use super::body::{Passed, ReplyBody};
use super::failure::Failure;
use super::metrics::Metrics;
use super::upstream::Upstream;
use super::{headers, tunnel};

/// Methods besides TRACE, which would show the credential to the client, and CONNECT, which would open a way to elsewhere.
const ALLOWED: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";

/// What of a request's target goes on.
///
/// # Errors
/// It is in a form that asks for another server, or does not say for which.
pub(super) fn target(request: &Parts) -> Result<PathAndQuery, Failure> {
    if [Method::CONNECT, Method::TRACE].contains(&request.method) {
        return Err(Failure::Method(ALLOWED));
    }
    let http1 = request.version <= Version::HTTP_11;
    if http1 && (request.uri.scheme().is_some() || request.uri.authority().is_some()) {
        return Err(Failure::BadRequest(
            "the request's target must be a path: this is no forward proxy".into(),
        ));
    }
    let hosts = request.headers.get_all(HOST).iter().count();
    // RFC 9112, 3.2: else the next one might read another Host than this one did.
    if hosts > 1 || (hosts == 0 && request.version == Version::HTTP_11) {
        return Err(Failure::BadRequest("there must be one Host header".into()));
    }
    match request.uri.path_and_query() {
        Some(path) if path.as_str().starts_with('/') => Ok(path.clone()),
        _ => Err(Failure::BadRequest("the request's target must be a path".into())),
    }
}

/// Passes a request on with the headers that `credentials` adds, once all that speaks for others is gone.
pub(super) async fn pass(
    mut request: Request<RequestBody>,
    path: PathAndQuery,
    upstream: &Upstream,
    lifetime: &Lifetime,
    metrics: &Metrics,
    credentials: impl FnOnce(&mut HeaderMap),
) -> Result<Response<ReplyBody>, Failure> {
    let client = hyper::upgrade::on(&mut request);
    let (mut parts, body) = request.into_parts();
    parts.extensions.clear();
    let asked = tunnel::requested(&parts);
    if parts.version == Version::HTTP_2 {
        headers::join_cookies(&mut parts.headers);
    }
    if headers::strip_request(&mut parts.headers) {
        parts.headers.insert(TE, HeaderValue::from_static("trailers"));
    }
    if let Some(protocol) = &asked {
        tunnel::insert(&mut parts.headers, protocol.clone());
    }
    credentials(&mut parts.headers);
    let request = Request::from_parts(parts, Passed::new(body));
    let mut answer = upstream.send(request, path, asked.is_some()).await?;
    if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
        headers::strip_response(answer.headers_mut());
        *answer.version_mut() = Version::HTTP_11;
        answer.extensions_mut().clear();
        return Ok(answer.map(ReplyBody::Upstream));
    }
    match asked {
        Some(protocol) if tunnel::agreed(answer.headers(), &protocol) => {
            let behind = hyper::upgrade::on(&mut answer);
            tunnel::open(client, behind, lifetime.clone(), metrics.tunnel());
            headers::strip_response(answer.headers_mut());
            tunnel::insert(answer.headers_mut(), protocol);
            answer.extensions_mut().clear();
            Ok(answer.map(ReplyBody::Upstream))
        }
        _ => Err(Failure::UpstreamSwitched),
    }
}
