//! Whether a start may make what is missing. A first start makes a store, a key ring, a sealing key, a CA, an
//! administrator's token; any other finds them. One that finds a part of them has lost the rest: making that anew would
//! make every token and every client's trust worthless, silently.
//!
//! A first start that is killed half-way has made a part, too. So its first step, before it makes anything else, is a
//! mark; it is taken away with the last. While it is there, what is missing is made.

use std::path::PathBuf;

use super::data_dir::{ADMIN_TOKEN, CA_CERT, CA_KEY, DataDir, ISSUER, SEAL};
use crate::failure::Failure;
use crate::files::{self, Access};
use crate::output::shell;

/// The mark.
const MARK: &str = ".first-start";
/// What only a server makes, a signer never.
const OF_SERVER: [&str; 4] = [ISSUER, ADMIN_TOKEN, CA_CERT, CA_KEY];

/// Who starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Who {
    /// `tokensmith serve`.
    Server,
    /// `tokensmith signer`, which has neither CA nor administrator.
    Signer,
}

/// What a start may do.
#[derive(Debug)]
pub(super) struct FirstStart {
    /// Whether it may make a store and a key ring.
    pub(super) may_make: bool,
    /// Whether it may make a ring for a store that is in use.
    pub(super) forced: bool,
    /// The mark that it has left.
    mark: Option<PathBuf>,
}

impl FirstStart {
    /// Of a directory that ends with the process.
    pub(super) fn ephemeral() -> Self {
        FirstStart { may_make: true, forced: false, mark: None }
    }

    /// Looks at a data directory; marks it if this is its first start.
    ///
    /// # Errors
    /// A guard's refusal: something was lost, and `--force` was not given. Nothing has been changed then.
    pub(super) fn begin(dir: &DataDir, who: Who, force: bool) -> Result<Self, Failure> {
        let mark = dir.file(MARK);
        if mark.exists() {
            return Ok(FirstStart { may_make: true, forced: force, mark: Some(mark) });
        }
        let there = |name: &str| dir.file(name).exists();
        let store = dir.holds_store();
        let of_server = OF_SERVER.into_iter().any(there);
        let first = !store && !of_server && !there(SEAL);
        // What a signer has used becomes a server's.
        let joins = who == Who::Server && store && !of_server;
        if !first && !joins && !force {
            let missing = missing(who, store, there);
            if !missing.is_empty() {
                return Err(lost(dir, &missing));
            }
            return Ok(FirstStart { may_make: false, forced: false, mark: None });
        }
        files::write(&mark, b"", Access::Owner)?;
        Ok(FirstStart { may_make: first || force, forced: force, mark: Some(mark) })
    }

    /// All is made.
    pub(super) fn done(&self) {
        let Some(mark) = &self.mark else { return };
        if let Err(e) = std::fs::remove_file(mark) {
            tracing::warn!(cause = %e, "remove {}: while it is there, a lost store is not noticed", mark.display());
        }
    }
}

/// Why a start does not go on that may not make a store and finds none.
pub(super) fn lost(dir: &DataDir, missing: &[&str]) -> Failure {
    let found: Vec<_> = [SEAL].into_iter().chain(OF_SERVER).filter(|name| dir.file(name).exists()).collect();
    let (name, at) = (dir.path().display(), shell(&dir.path().to_string_lossy()));
    let found = if found.is_empty() { "a store".to_owned() } else { found.join(", ") };
    let (are, them) = if missing.len() == 1 { ("is", "it") } else { ("are", "them") };
    let missing = missing.join(" and ");
    Failure::guard(format!(
        "{name} holds {found}, but {missing} {are} missing, and what was lost is not made anew silently: put {them} back from a copy or with `tokensmith restore --from BACKUP --data-dir {at}`, look with `tokensmith store check --data-dir {at}`, or begin anew with --force, after which what was signed or trusted before may be refused"
    ))
}

/// Of a lost store nothing else needs to be said: what it takes to put that back puts back the rest.
fn missing(who: Who, store: bool, there: impl Fn(&str) -> bool) -> Vec<&'static str> {
    match (store, who) {
        (false, _) => vec!["its store"],
        (true, Who::Server) => {
            [CA_CERT, CA_KEY, ADMIN_TOKEN].into_iter().filter(|name| !there(name)).collect()
        }
        (true, Who::Signer) => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::files::modes::Others;

    struct Place(tempfile::TempDir);

    impl Place {
        fn with(names: &[&str]) -> (Self, DataDir) {
            let temp = tempfile::tempdir().unwrap();
            let dir = DataDir::open(temp.path(), Others::Nobody).unwrap();
            for name in names {
                fs::write(dir.file(name), "x").unwrap();
            }
            (Place(temp), dir)
        }

        fn marked(&self) -> bool {
            self.0.path().join(MARK).exists()
        }
    }

    const STORE: &str = "store/db";
    const ALL: [&str; 6] = [STORE, SEAL, ISSUER, ADMIN_TOKEN, CA_CERT, CA_KEY];

    #[test]
    fn nothing_is_made_anew_beside_what_is_there() {
        for (names, missing) in [
            (&[SEAL][..], "its store"),
            (&[ISSUER], "its store"),
            (&[ADMIN_TOKEN], "its store"),
            (&[CA_CERT, CA_KEY], "its store"),
            (&[SEAL, ISSUER, ADMIN_TOKEN, CA_CERT, CA_KEY], "its store"),
            (&[STORE, SEAL, ISSUER, ADMIN_TOKEN, CA_CERT], "ca.key"),
            (&[STORE, SEAL, ISSUER, ADMIN_TOKEN], "ca.crt and ca.key"),
            (&[STORE, SEAL, ISSUER, CA_CERT, CA_KEY], "admin.token"),
        ] {
            let (place, dir) = Place::with(names);
            let refused = FirstStart::begin(&dir, Who::Server, false).unwrap_err();
            assert!(
                matches!(&refused, Failure::Guard(text) if text.contains(missing)),
                "{names:?}: {refused}"
            );
            assert!(!place.marked(), "a second try is not a first start, either");
            assert!(FirstStart::begin(&dir, Who::Server, true).unwrap().may_make, "{names:?} with --force");
        }
        let (_place, dir) = Place::with(&[SEAL]);
        assert!(FirstStart::begin(&dir, Who::Signer, false).is_err());
    }

    #[test]
    fn a_first_start_and_what_is_whole_go_on() {
        for who in [Who::Server, Who::Signer] {
            let (place, dir) = Place::with(&[]);
            let first = FirstStart::begin(&dir, who, false).unwrap();
            assert!(first.may_make && place.marked());
            first.done();
            assert!(!place.marked());
            let (place, dir) = Place::with(&ALL);
            assert!(!FirstStart::begin(&dir, who, false).unwrap().may_make && !place.marked());
        }
        // The lock alone is no store: a start that was refused leaves it.
        let (_place, dir) = Place::with(&["store/lock"]);
        assert!(FirstStart::begin(&dir, Who::Signer, false).unwrap().may_make);
    }

    #[test]
    fn a_first_start_that_was_killed_goes_on_wherever_that_was() {
        let order = [CA_KEY, CA_CERT, ISSUER, STORE, SEAL, ADMIN_TOKEN];
        for made in 0..=order.len() {
            let names: Vec<_> = [MARK].into_iter().chain(order[..made].iter().copied()).collect();
            let (place, dir) = Place::with(&names);
            let again = FirstStart::begin(&dir, Who::Server, false).unwrap();
            assert!(again.may_make, "{names:?}");
            again.done();
            assert!(!place.marked());
        }
    }

    #[test]
    fn a_server_takes_a_signers_directory_over() {
        for names in [&[STORE, SEAL][..], &[STORE]] {
            let (place, dir) = Place::with(names);
            let joins = FirstStart::begin(&dir, Who::Server, false).unwrap();
            assert!(!joins.may_make && place.marked(), "a CA and a token, but no ring");
        }
    }
}
