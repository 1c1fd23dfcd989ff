//! A POST to an address that the policy names, and nowhere else.

use std::time::Duration;

use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, StatusCode};
use serde_json::Value;
use tokensmith_client::{Route, Trust, Web};
use url::Url;
use url::form_urlencoded::Serializer;

use super::UpstreamError;

/// How long an answer may take as a whole.
const PATIENCE: Duration = Duration::from_secs(10);
/// How many bytes it may have: any token with what is said of it.
const LONGEST: usize = 64 << 10;

/// Asks.
pub(super) struct Poster {
    web: Web,
}

/// An answer.
pub(super) struct Posted {
    pub(super) status: StatusCode,
    pub(super) body: Vec<u8>,
}

impl Poster {
    /// `cas` (PEM) count besides the system's.
    pub(super) fn new(cas: Option<&[u8]>) -> Result<Poster, UpstreamError> {
        let web = Web::by(Route::of_the_process(), Some(PATIENCE), &Trust::System, cas);
        Ok(Poster { web: web.map_err(|e| UpstreamError::Block(format!("caFile: {e}")))? })
    }

    /// Fields in a form.
    pub(super) async fn form(
        &self,
        to: &Url,
        accept: &'static str,
        fields: &[(&str, &str)],
    ) -> Result<Posted, UpstreamError> {
        let body = Serializer::new(String::new()).extend_pairs(fields).finish();
        self.post(to, accept, "application/x-www-form-urlencoded", None, body).await
    }

    /// A JSON object, with a bearer token where one is given.
    pub(super) async fn json(
        &self,
        to: &Url,
        bearer: Option<&str>,
        body: &Value,
    ) -> Result<Posted, UpstreamError> {
        self.post(to, "application/json", "application/json", bearer, body.to_string()).await
    }

    async fn post(
        &self,
        to: &Url,
        accept: &'static str,
        content_type: &'static str,
        bearer: Option<&str>,
        body: String,
    ) -> Result<Posted, UpstreamError> {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static(accept));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        if let Some(token) = bearer {
            let mut value = HeaderValue::try_from(format!("Bearer {token}"))
                .map_err(|_| UpstreamError::Unavailable("its token is none".into()))?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        let page = self.web.post(to, headers, body.into(), LONGEST).await;
        let page = page.map_err(|e| UpstreamError::Unavailable(e.to_string()))?;
        Ok(Posted { status: page.status, body: page.body })
    }
}
