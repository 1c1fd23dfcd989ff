//! `timeout`, which every request but a watch may have (apiserver `endpoints/filters/request_deadline.go`).

use std::time::Duration;

use tokensmith_api::duration::GoDuration;

use super::query::Query;
use tokensmith_core::error::Error;

/// Reads after how long the client wants to be told that it took too long; nothing where that is the server's to say.
pub fn timeout(query: &str) -> Result<Option<Duration>, Error> {
    let asked = Query::read(query).text("timeout");
    if asked.is_empty() {
        return Ok(None);
    }
    let asked: GoDuration = asked.parse().map_err(|cause| {
        Error::BadRequest(format!("invalid timeout specified in the request URL - {cause}"))
    })?;
    Ok(Duration::try_from(asked).ok().filter(|asked| !asked.is_zero()))
}
