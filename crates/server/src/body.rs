//! Request bodies: read after authorization, never more than the limit.

use axum::body::Body;
use bytes::Bytes;
use http::HeaderMap;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use tokensmith_api::Media;
use tokensmith_core::Error;
use tokensmith_objects::codec::{self, Decoded, Expected, FieldValidation};

use crate::failure::Failure;

/// Reads a body whole. One that says it is too long is refused before a byte of it is read.
pub(crate) async fn read(headers: &HeaderMap, body: Body, limit: usize) -> Result<Bytes, Failure> {
    let told =
        headers.get(CONTENT_LENGTH).and_then(|v| v.to_str().ok()).and_then(|v| v.parse::<usize>().ok());
    if told.is_some_and(|told| told > limit) {
        return Err(Failure::too_large(limit));
    }
    match Limited::new(body, limit).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(e) if e.is::<LengthLimitError>() => Err(Failure::too_large(limit)),
        Err(_) => Err(Error::BadRequest("the request's body broke off".into()).into()),
    }
}

/// The representation that the headers claim; 415 for one that is not known.
pub(crate) fn media(headers: &HeaderMap) -> Result<Media, Failure> {
    let header = headers.get(CONTENT_TYPE).map(|v| v.to_str().unwrap_or("?"));
    Media::of_content_type(header)
        .ok_or_else(|| Failure::unsupported_media(tokensmith_api::media::UNSUPPORTED))
}

/// Decodes a body as an object of the expected kind.
pub(crate) fn decode(
    bytes: &[u8],
    media: Media,
    expected: &Expected<'_>,
    validation: FieldValidation,
) -> Result<Decoded, Failure> {
    Ok(codec::decode(bytes, media, expected, validation)?)
}
