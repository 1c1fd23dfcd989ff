//! Whether a store can be used, and what has made an end of it.

use std::error::Error;
use std::io;
use std::sync::OnceLock;

/// Shared by a store and its writer. What has failed once stays so until a restart.
#[derive(Debug, Default)]
pub(crate) struct Health {
    cause: OnceLock<String>,
}

impl Health {
    /// Nothing has failed.
    pub(crate) fn is_good(&self) -> bool {
        self.cause.get().is_none()
    }

    /// It is of no use any more. The first cause is kept: the others follow from it.
    pub(crate) fn fail(&self, cause: impl Into<String>) {
        let _ = self.cause.set(cause.into());
    }

    /// Why, for whoever writes and for readiness.
    pub(crate) fn problem(&self) -> Option<String> {
        self.cause.get().map(|cause| format!("{cause}; nothing is written until a restart"))
    }
}

/// What the system says of an error, in its own words, for clients: other texts of an error may hold paths or bytes of a
/// record.
pub(crate) fn words(error: &(dyn Error + 'static)) -> String {
    let mut next = Some(error);
    let mut kind = None;
    while let Some(e) = next {
        let io = match e.downcast_ref::<sled::Error>() {
            Some(sled::Error::Io(io)) => Some(io),
            _ => e.downcast_ref::<io::Error>(),
        };
        // sled copies an error's text and kind, and breaks off with it: the number is in the text alone.
        if let Some(code) = io.and_then(io::Error::raw_os_error).or_else(|| code(&e.to_string())) {
            return io::Error::from_raw_os_error(code).to_string();
        }
        kind = kind.or(io.map(io::Error::kind));
        next = e.source();
    }
    kind.map_or_else(|| "the database has broken off".into(), |kind| kind.to_string())
}

/// The number in `Os { code: 28, … }`.
fn code(text: &str) -> Option<i32> {
    let digits = text.split_once("Os { code: ")?.1;
    digits.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use rustix::io::Errno;

    use super::*;
    use crate::database::Fault;

    #[test]
    fn what_the_system_says_is_told_and_no_path() {
        let (io, dquot) = (Errno::IO.raw_os_error(), Errno::DQUOT.raw_os_error());
        let told = |code| io::Error::from_raw_os_error(code).to_string();
        assert!(told(dquot).contains("quota"), "{}", told(dquot));
        let plain = io::Error::from_raw_os_error(dquot);
        assert_eq!(words(&plain), told(dquot));
        let copied = sled::Error::Io(io::Error::from_raw_os_error(io)).clone();
        assert_eq!(words(&Fault::Sled(copied)), told(io));
        let broken =
            format!("called `Result::unwrap()` on an `Err` value: {:?}", io::Error::from_raw_os_error(io));
        assert_eq!(words(&Fault::Broken(broken)), told(io));
        let full = io::Error::new(io::ErrorKind::StorageFull, "/secret/path");
        assert_eq!(words(&full), io::ErrorKind::StorageFull.to_string());
        assert_eq!(words(&Fault::Broken("page 7 of /secret/path".into())), "the database has broken off");
    }
}
