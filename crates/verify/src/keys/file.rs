//! A key set on disk, as if it had come from the web: whoever keeps the file puts another one in its place.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use ring::digest::{SHA256, digest};

use super::super::FetchError;
use super::super::error::KeysError;
use super::super::fetch::MAX_DOCUMENT;
use super::attempt::Page;

/// How long what was read counts. The file is looked at again by itself before that is over, and for a `kid` that is not
/// in it; never for each request.
const MAX_AGE: &str = "max-age=60";

/// The file, but for what `etag` says is known already.
pub(super) async fn page(path: &Path, etag: Option<&str>) -> Result<Page, KeysError> {
    let (opened, etag) = (path.to_owned(), etag.map(str::to_owned));
    let read = tokio::task::spawn_blocking(move || read(&opened)).await;
    let named = |why: String| KeysError::Fetch(FetchError::new(format!("{}: {why}", path.display())));
    let body = read.map_err(|_| KeysError::BrokenOff)?.map_err(|e| named(e.to_string()))?;
    if body.len() > MAX_DOCUMENT {
        return Err(KeysError::Long { url: path.display().to_string(), bytes: body.len() });
    }
    let found = BASE64.encode(digest(&SHA256, &body));
    let body = (etag.as_ref() != Some(&found)).then(|| body.into());
    Ok(Page { body, cache_control: Some(MAX_AGE.into()), etag: Some(found) })
}

/// All of it, or a byte more than may be.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    // A pipe would never end, or never begin.
    if !path.metadata()?.is_file() {
        return Err(io::Error::other("it is no file"));
    }
    let mut body = Vec::new();
    File::open(path)?.take(MAX_DOCUMENT as u64 + 1).read_to_end(&mut body)?;
    Ok(body)
}
