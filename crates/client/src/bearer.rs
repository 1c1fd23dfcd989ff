//! The bearer token that requests carry, read again as its file is renewed.

use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use http::HeaderValue;
use tokensmith_core::clock::{Clock, SystemClock};

use crate::Error;
use crate::http::secret;
use crate::target::Bearer;

/// How long a file's token is used before the file is read again: what client-go does (`transport/token_source.go`).
const KEPT: Duration = Duration::from_secs(60);

/// A bearer header, ready to send.
pub(crate) struct BearerHeader {
    from: Bearer,
    clock: SystemClock,
    kept: Mutex<Option<(Duration, HeaderValue)>>,
}

impl BearerHeader {
    pub(crate) fn new(from: Bearer) -> Self {
        BearerHeader { from, clock: SystemClock::new(), kept: Mutex::new(None) }
    }

    /// The header as it is now.
    pub(crate) fn value(&self) -> Result<HeaderValue, Error> {
        let mut kept = self.kept();
        let now = self.clock.monotonic();
        let for_ever = matches!(self.from, Bearer::Fixed(_));
        if let Some((_, value)) =
            kept.as_ref().filter(|(since, _)| for_ever || now.saturating_sub(*since) < KEPT)
        {
            return Ok(value.clone());
        }
        match (self.read(), kept.as_ref()) {
            (Ok(value), _) => {
                *kept = Some((now, value.clone()));
                Ok(value)
            }
            // The file is being replaced, perhaps: the last good token is as good as it was.
            (Err(_), Some((_, last))) => Ok(last.clone()),
            (Err(why), None) => Err(why),
        }
    }

    /// A server has refused `sent`: whether there is another one by now.
    pub(crate) fn renewed(&self, sent: &HeaderValue) -> bool {
        if matches!(self.from, Bearer::Fixed(_)) {
            return false;
        }
        let Ok(value) = self.read() else { return false };
        let other = value != *sent;
        *self.kept() = Some((self.clock.monotonic(), value));
        other
    }

    fn read(&self) -> Result<HeaderValue, Error> {
        secret(&self.from.read()?)
    }

    fn kept(&self) -> MutexGuard<'_, Option<(Duration, HeaderValue)>> {
        // What it guards is whole at any moment.
        self.kept.lock().unwrap_or_else(|e| e.into_inner())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_token_is_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        std::fs::write(&path, "one\n").unwrap();
        let header = BearerHeader::new(Bearer::File(path.clone()));
        let one = header.value().unwrap();
        assert!(one.is_sensitive() && one == "Bearer one");
        assert!(!header.renewed(&one), "the file holds the same token");

        std::fs::write(&path, "two\n").unwrap();
        assert_eq!(header.value().unwrap(), one, "kept for a minute");
        assert!(header.renewed(&one));
        assert_eq!(header.value().unwrap(), "Bearer two");

        std::fs::remove_file(&path).unwrap();
        assert!(!header.renewed(&one));
        assert_eq!(header.value().unwrap(), "Bearer two", "the last good one");
    }
}
