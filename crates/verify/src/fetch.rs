//! The port to the web: how an issuer's documents come here.

use async_trait::async_trait;
use bytes::Bytes;
use tokensmith_client::{Web, target};

use crate::FetchError;

/// Gets a document. The real one is `tokensmith-client`'s; tests have one in memory.
#[async_trait]
pub trait Fetch: Send + Sync {
    /// GET without credentials. Redirects are not followed: a document must not come from where its issuer never
    /// pointed to.
    ///
    /// # Errors
    /// There is no answer, or its body is beyond [`MAX_DOCUMENT`]; why, in one line.
    async fn get(&self, url: &str, etag: Option<&str>) -> Result<Fetched, FetchError>;
}

/// No issuer's document is anywhere near this, bytes.
pub const MAX_DOCUMENT: usize = 1 << 20;

/// An answer.
#[derive(Clone, Debug, Default)]
pub struct Fetched {
    /// The HTTP status; 304 says that what the `etag` named is still so.
    pub status: u16,
    /// The body.
    pub body: Bytes,
    /// `Cache-Control`
    pub cache_control: Option<String>,
    /// `ETag`
    pub etag: Option<String>,
}

#[async_trait]
impl Fetch for Web {
    async fn get(&self, url: &str, etag: Option<&str>) -> Result<Fetched, FetchError> {
        let url = target::parse_url(url, "the URL")?;
        let page = Web::get(self, &url, None, etag, MAX_DOCUMENT).await?;
        Ok(Fetched {
            status: page.status.as_u16(),
            body: page.body.into(),
            cache_control: page.cache_control,
            etag: page.etag,
        })
    }
}
