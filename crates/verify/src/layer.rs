//! Verification as a tower layer: a service behind it sees only requests whose token holds.
//!
//! ```
//! use std::sync::Arc;
//!
//! use axum::{Extension, Router, routing::get};
//! use tokensmith_verify::{Verified, Verifier, VerifyLayer};
//!
//! async fn hello(Extension(caller): Extension<Arc<Verified>>) -> String {
//!     caller.username.clone()
//! }
//!
//! fn app(verifier: Arc<Verifier>) -> Router {
//!     Router::new().route("/", get(hello)).layer(VerifyLayer::new(verifier))
//! }
//! ```

use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use http::{Request, Response};
use http_body_util::{Either, Full};
use tower::{Layer, Service};

use super::Verifier;

/// Puts a [`Verifier`] before a service. The service finds the caller as `Arc<Verified>` in the request's extensions;
/// requests that are not let in are answered here, with a `Status`.
#[derive(Clone)]
pub struct VerifyLayer {
    verifier: Arc<Verifier>,
}

impl VerifyLayer {
    /// For any number of services.
    pub fn new(verifier: Arc<Verifier>) -> Self {
        VerifyLayer { verifier }
    }
}

impl<S> Layer<S> for VerifyLayer {
    type Service = Verify<S>;

    fn layer(&self, inner: S) -> Verify<S> {
        Verify { verifier: self.verifier.clone(), inner }
    }
}

/// A service behind a [`VerifyLayer`].
#[derive(Clone)]
pub struct Verify<S> {
    verifier: Arc<Verifier>,
    inner: S,
}

/// The service's own answer, or the refusal.
pub type VerifyBody<R> = Either<R, Full<Bytes>>;

impl<S, B, R> Service<Request<B>> for Verify<S>
where
    S: Service<Request<B>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send,
    B: Send + 'static,
{
    type Response = Response<VerifyBody<R>>;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        // The one that said it was ready is taken; its clone may not be.
        let clone = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, clone);
        let verifier = self.verifier.clone();
        async move {
            match verifier.verify_request(request.headers()).await {
                Ok(verified) => {
                    request.extensions_mut().insert(verified);
                    Ok(inner.call(request).await?.map(Either::Left))
                }
                Err(rejection) => Ok(rejection.response().map(Either::Right)),
            }
        }
        .boxed()
    }
}
