//! Documents from anywhere: an issuer's discovery document and key set.

use reqwest::header::{ACCEPT, AUTHORIZATION, CACHE_CONTROL, ETAG, HeaderValue, IF_NONE_MATCH};
use reqwest::{StatusCode, Url, redirect};

use crate::Error;
use crate::http::{builder, read};
use crate::target::{Credentials, Trust};
use crate::tls;
use crate::unreachable::{cause, unreachable};

/// Fetches what is public, with no identity of its own. Redirects are not followed: whoever names a URL has to name the
/// right one, and a document must not be had from where its issuer never pointed to.
pub struct Web {
    http: reqwest::Client,
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Page {
    /// The HTTP status.
    pub status: StatusCode,
    /// The body.
    pub body: Vec<u8>,
    /// `Cache-Control`
    pub cache_control: Option<String>,
    /// `ETag`
    pub etag: Option<String>,
}

impl Web {
    /// A client that trusts what `trust` says, and the certificates in `extra` (PEM) besides.
    ///
    /// # Errors
    /// A certificate cannot be used.
    pub fn new(trust: &Trust, extra: Option<&[u8]>) -> Result<Web, Error> {
        let http = builder(tls::config(trust, extra, &Credentials::default())?)
            .redirect(redirect::Policy::none())
            .build()
            .map_err(|e| Error::failed(format!("cannot set up HTTP: {}", cause(&e))))?;
        Ok(Web { http })
    }

    /// GET, with a bearer token where one is given; 304 is an answer when `etag` names what is known already.
    ///
    /// # Errors
    /// There is no answer, or a body that is far too long.
    pub async fn get(
        &self,
        url: &Url,
        bearer: Option<HeaderValue>,
        etag: Option<&str>,
        longest: usize,
    ) -> Result<Page, Error> {
        let mut request =
            self.http.get(url.clone()).header(ACCEPT, "application/json, application/jwk-set+json");
        if let Some(bearer) = bearer {
            request = request.header(AUTHORIZATION, bearer);
        }
        if let Some(etag) = etag {
            request = request.header(IF_NONE_MATCH, etag);
        }
        let response = request.send().await.map_err(|e| unreachable(url, &e))?;
        let header = |name| response.headers().get(name).and_then(|v| v.to_str().ok()).map(str::to_owned);
        Ok(Page {
            status: response.status(),
            cache_control: header(CACHE_CONTROL),
            etag: header(ETAG),
            body: read(response, longest).await?,
        })
    }
}
