//! A tower layer for clients: every request gets the token.

use std::sync::Arc;
use std::task::{Context, Poll};

use futures::FutureExt;
use futures::future::{BoxFuture, Either, MapErr, TryFutureExt};
use http::Request;
use http::header::AUTHORIZATION;
use tower::{Layer, Service};

use super::TokenSource;

/// What a client or the source says is wrong.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Puts `Authorization: Bearer …` on requests, in place of one that is there.
#[derive(Clone)]
pub struct BearerLayer {
    source: TokenSource,
    audience: Option<Arc<str>>,
}

/// A client whose requests carry the token. See [`BearerLayer`].
#[derive(Clone)]
pub struct Bearer<S> {
    inner: S,
    layer: BearerLayer,
}

impl BearerLayer {
    /// With the source's default token.
    pub fn new(source: TokenSource) -> Self {
        BearerLayer { source, audience: None }
    }

    /// With the token for an audience.
    pub fn audience(self, audience: &str) -> Self {
        BearerLayer { audience: Some(audience.into()), ..self }
    }
}

impl<S> Layer<S> for BearerLayer {
    type Service = Bearer<S>;

    fn layer(&self, inner: S) -> Bearer<S> {
        Bearer { inner, layer: self.clone() }
    }
}

impl<S, B> Service<Request<B>> for Bearer<S>
where
    S: Service<Request<B>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Into<BoxError>,
    B: Send + 'static,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = Either<
        MapErr<S::Future, fn(S::Error) -> BoxError>,
        BoxFuture<'static, Result<S::Response, BoxError>>,
    >;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let BearerLayer { source, audience } = &self.layer;
        if let Some(token) = source.cached(audience.as_deref()) {
            request.headers_mut().insert(AUTHORIZATION, token.header().clone());
            return Either::Left(self.inner.call(request).map_err(Into::into as fn(S::Error) -> BoxError));
        }
        // The service that was polled ready makes the call; its clone is for the next.
        let next = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, next);
        let (source, audience) = (source.clone(), audience.clone());
        Either::Right(
            async move {
                let token = source.token(audience.as_deref()).await?;
                request.headers_mut().insert(AUTHORIZATION, token.header().clone());
                inner.call(request).await.map_err(Into::into)
            }
            .boxed(),
        )
    }
}
