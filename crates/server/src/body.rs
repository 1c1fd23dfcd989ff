//! Request bodies: read after authorization, never more than the limit.

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, EXPECT};
use http::request::Parts;
use http::{HeaderMap, Version};
use http_body_util::BodyExt;
use serde::de::DeserializeOwned;
use tokensmith_api::Media;
use tokensmith_api::media::As;
use tokensmith_core::Error;
use tokensmith_objects::Object;
use tokensmith_objects::codec::{self, Decoded, Expected};
use tokensmith_registry::{DeleteOptions, WriteOptions};
use zeroize::Zeroize;

use crate::failure::Failure;
use crate::heavy;
use crate::needs::Limit;
use crate::reply::Format;

/// How much of a body that is too long is read and thrown away over HTTP/1 beyond what may be sent, as upstream's server does
/// (`maxPostHandlerReadBytes` of Go's `net/http`): clients that send all before they read would not see the answer. Nothing is
/// read of one that waits for a word (`Expect`). Over HTTP/2 the answer goes out at once, and the connection reads a little behind it.
const DRAIN: usize = 256 << 10;

/// Reads a body whole. Of one that is too long, no more than the limit is ever kept; who has read a large one goes on aside.
///
/// # Errors
/// It is too long, or breaks off.
pub async fn read(
    version: Version,
    headers: &HeaderMap,
    mut body: Body,
    Limit(limit): Limit,
) -> Result<Bytes, Failure> {
    let told =
        headers.get(CONTENT_LENGTH).and_then(|v| v.to_str().ok()).and_then(|v| v.parse::<usize>().ok());
    let mut kept = BytesMut::with_capacity(told.unwrap_or(0).min(limit).min(64 << 10));
    let (mut seen, mut excess) = (0_usize, told.is_some_and(|told| told > limit));
    let mut held = false;
    let at_once = version == Version::HTTP_2 || headers.contains_key(EXPECT);
    let drain = if at_once { 0 } else { limit.saturating_add(DRAIN) };
    while !excess || drain > 0 {
        let Some(frame) = body.frame().await else { break };
        let frame = frame.map_err(|_| Error::BadRequest("the request's body broke off".into()))?;
        let Ok(data) = frame.into_data() else { continue };
        seen = seen.saturating_add(data.len());
        excess |= seen > limit;
        if !excess && !held && seen > heavy::BODY {
            // Before more of it is kept. Who has not told may send as much as is allowed.
            heavy::hold(told.unwrap_or(limit)).await;
            held = true;
        }
        if !excess {
            kept.extend_from_slice(&data);
        } else if seen > drain {
            break;
        }
    }
    if excess {
        return Err(Failure::too_large(limit));
    }
    if kept.len() > heavy::BODY {
        heavy::enter().await;
    }
    Ok(kept.freeze())
}

/// Reads a JSON body of one of our own endpoints. An empty one is `{}`; a field that nobody knows is refused, since a
/// misspelt guard must not be passed over.
///
/// # Errors
/// It is too long, or no such object.
pub async fn json<T: DeserializeOwned>(limit: Limit, headers: &HeaderMap, body: Body) -> Result<T, Failure> {
    let bytes = read(Version::HTTP_11, headers, body, limit).await?;
    let text = if bytes.trim_ascii().is_empty() { b"{}" } else { bytes.trim_ascii_start() };
    let parsed = match text {
        [b'{', ..] => serde_json::from_slice(text).map_err(|e| {
            Error::BadRequest(format!("the body is not what this endpoint takes: {}", unquoted(&e)))
        }),
        // serde would take a list for a struct as well.
        _ => Err(Error::BadRequest("the body is no JSON object".into())),
    };
    // It may have held a private key or a passphrase.
    if let Ok(mut bytes) = bytes.try_into_mut() {
        bytes.zeroize();
    }
    Ok(parsed?)
}

/// serde's text without the value that it quotes: a misplaced one may be a private key, and texts get into logs.
fn unquoted(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match (text.find("string \""), text.rfind("\", expected")) {
        (Some(from), Some(to)) if from < to => format!("{}string{}", &text[..from], &text[to + 1..]),
        _ => text,
    }
}

/// The representation that the headers claim; 415 for one that is not known.
pub(crate) fn media(headers: &HeaderMap) -> Result<Media, Failure> {
    let header = headers.get(CONTENT_TYPE).map(|v| v.to_str().unwrap_or("?"));
    Media::of_content_type(header)
        .ok_or_else(|| Failure::unsupported_media(tokensmith_api::media::UNSUPPORTED))
}

/// A write that carries an object, read.
pub(crate) struct Sent {
    /// How the client wants its reply.
    pub(crate) format: Format,
    /// What its query says.
    pub(crate) options: WriteOptions,
    /// The object.
    pub(crate) object: Object,
    /// What is to be said about it.
    pub(crate) warnings: Vec<String>,
}

/// Reads a create in upstream's order (apiserver `handlers/create.go`): `Accept`, `Content-Type`, body, query, object.
pub(crate) async fn create(
    limit: Limit,
    parts: &Parts,
    body: Body,
    expected: &Expected<'_>,
    convertible: impl Fn(&As) -> bool,
) -> Result<Sent, Failure> {
    let query = parts.uri.query().unwrap_or("");
    let format = Format::of(&parts.headers, query, convertible)?;
    let media = media(&parts.headers)?;
    let bytes = read(parts.version, &parts.headers, body, limit).await?;
    let options = WriteOptions::create(query)?;
    let Decoded { object, warnings, .. } =
        codec::decode(&bytes, media, expected, options.field_validation())?;
    format.judge()?;
    Ok(Sent { format, options, object, warnings })
}

/// Reads an update (`handlers/update.go`), which looks at its `Content-Type` last.
pub(crate) async fn update(
    limit: Limit,
    parts: &Parts,
    body: Body,
    expected: &Expected<'_>,
    convertible: impl Fn(&As) -> bool,
) -> Result<Sent, Failure> {
    let query = parts.uri.query().unwrap_or("");
    let format = Format::of(&parts.headers, query, convertible)?;
    let bytes = read(parts.version, &parts.headers, body, limit).await?;
    let options = WriteOptions::update(query)?;
    let media = media(&parts.headers)?;
    let Decoded { object, warnings, .. } =
        codec::decode(&bytes, media, expected, options.field_validation())?;
    format.judge()?;
    Ok(Sent { format, options, object, warnings })
}

/// Reads the options of a delete (`handlers/delete.go`): they come in the body or, when that is empty, in the query.
pub(crate) async fn delete_options(
    limit: Limit,
    parts: &Parts,
    body: Body,
) -> Result<DeleteOptions, Failure> {
    let bytes = read(parts.version, &parts.headers, body, limit).await?;
    if bytes.is_empty() {
        return Ok(DeleteOptions::from_query(parts.uri.query().unwrap_or(""))?);
    }
    let sent = codec::decode_delete_options(&bytes, media(&parts.headers)?)?;
    Ok(DeleteOptions::from_body(&sent)?)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures::StreamExt;
    use http::HeaderValue;

    use super::*;

    const PIECE: usize = 16 << 10;
    const LIMIT: usize = 40_000;

    /// How much is taken of a body that is too long.
    async fn taken(version: Version, headers: &[(http::HeaderName, &'static str)]) -> usize {
        let taken = Arc::new(AtomicUsize::new(0));
        let count = taken.clone();
        let pieces = futures::stream::iter(0..1000).map(move |_| {
            count.fetch_add(PIECE, Ordering::Relaxed);
            Ok::<_, Infallible>(Bytes::from(vec![b'x'; PIECE]))
        });
        let headers = headers.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value)));
        let headers = headers.collect();
        let read = read(version, &headers, Body::from_stream(pieces), Limit(LIMIT)).await;
        assert_eq!(read.unwrap_err().0.code, 413);
        taken.load(Ordering::Relaxed)
    }

    #[tokio::test]
    async fn of_a_body_that_is_too_long_little_is_read_away() {
        let told = (CONTENT_LENGTH, "16384000");
        assert_eq!(taken(Version::HTTP_2, std::slice::from_ref(&told)).await, 0);
        // Reading would be the word that it waits for.
        assert_eq!(taken(Version::HTTP_11, &[told.clone(), (EXPECT, "100-continue")]).await, 0);
        for headers in [&[told][..], &[]] {
            let taken = taken(Version::HTTP_11, headers).await;
            assert!((LIMIT + DRAIN..LIMIT + DRAIN + 2 * PIECE).contains(&taken), "{taken}");
        }
        assert!(taken(Version::HTTP_2, &[]).await <= LIMIT + PIECE);
    }
}
