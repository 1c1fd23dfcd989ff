//! Whether a start may make what is missing. A first start makes a store, a key ring, a sealing key, a CA, an
//! administrator's token; any other finds them. One that finds a part of them has lost the rest: making that anew would
//! make every token and every client's trust worthless, silently.
//!
//! A first start that is killed half-way has made a part, too. So its first step, before it makes anything else, is a
//! mark; it is taken away with the last. The mark says what may be made while it is there: all, where nothing was there;
//! beside something only what was missing then, and never a store or a key ring. Only who holds the store's lock leaves
//! one: a start that is refused because a server runs must not open the way to a new ring later.

use std::path::PathBuf;

use tokensmith_store::lock;

use super::data_dir::{ADMIN_TOKEN, CA_CERT, CA_KEY, DataDir, ISSUER, SEAL};
use super::start::not_opened;
use crate::failure::Failure;
use crate::files::{self, Access};
use crate::output::shell;

/// The mark.
const MARK: &str = ".first-start";
/// How the mark begins that lets only what it names be made.
const BESIDE: &str = "beside";
/// What a start makes beside the store and misses later.
const MADE: [&str; 3] = [CA_CERT, CA_KEY, ADMIN_TOKEN];
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
    mark: Option<(PathBuf, Mark)>,
}

/// What may be made as long as a mark is there.
#[derive(Debug, PartialEq, Eq)]
enum Mark {
    /// All: there was nothing.
    First,
    /// These files, and neither a store nor a ring.
    Beside(Vec<&'static str>),
}

impl Mark {
    fn read(dir: &DataDir) -> Result<Option<Self>, Failure> {
        let Some(text) = files::read_if_there(&dir.file(MARK))? else { return Ok(None) };
        let text = String::from_utf8_lossy(&text);
        let mut words = text.split_whitespace();
        if words.next() != Some(BESIDE) {
            return Ok(Some(Mark::First));
        }
        Ok(Some(Mark::Beside(
            MADE.into_iter().filter(|name| text.split_whitespace().any(|w| w == *name)).collect(),
        )))
    }

    fn write(&self, path: &std::path::Path) -> Result<(), Failure> {
        let text = match self {
            Mark::First => "first\n".to_owned(),
            Mark::Beside(names) => format!("{BESIDE} {}\n", names.join(" ")),
        };
        Ok(files::write(path, text.as_bytes(), Access::Owner)?)
    }
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
        let unmarked = |may_make| Ok(FirstStart { may_make, forced: force, mark: None });
        if let (may_make, None) = judge(dir, who, force)? {
            return unmarked(may_make);
        }
        // Let go again for the store to take; what was looked at before may have been another start's half.
        let held = lock(&dir.store()).map_err(|e| not_opened(&dir.store(), e))?;
        let (may_make, Some(mark)) = judge(dir, who, force)? else { return unmarked(force) };
        let path = dir.file(MARK);
        mark.write(&path)?;
        drop(held);
        Ok(FirstStart { may_make, forced: force, mark: Some((path, mark)) })
    }

    /// There is a key ring now: from here on, a store that is missing is a lost one.
    ///
    /// # Errors
    /// The mark cannot be written.
    pub(super) fn has_ring(&self) -> Result<(), Failure> {
        match &self.mark {
            Some((path, Mark::First)) => Mark::Beside(MADE.into()).write(path),
            _ => Ok(()),
        }
    }

    /// All is made.
    pub(super) fn done(&self) {
        let Some((mark, _)) = &self.mark else { return };
        if let Err(e) = std::fs::remove_file(mark) {
            tracing::warn!(cause = %e, "remove {}: while it is there, a lost store is not noticed", mark.display());
        }
    }
}

/// Whether a start may make a store and a ring, and the mark that it leaves if anything is to be made.
fn judge(dir: &DataDir, who: Who, force: bool) -> Result<(bool, Option<Mark>), Failure> {
    let there = |name: &str| dir.file(name).exists();
    let store = dir.holds_store();
    let of_server = OF_SERVER.into_iter().any(there);
    let known = Mark::read(dir)?;
    if known == Some(Mark::First) || (!store && !of_server && !there(SEAL)) {
        return Ok((true, Some(Mark::First)));
    }
    let marked = known.is_some();
    let mut allowed = match known {
        Some(Mark::Beside(names)) => names,
        _ => Vec::new(),
    };
    // What a signer has used becomes a server's.
    let joins = who == Who::Server && store && !of_server;
    let missing: Vec<_> =
        missing(who, store, there).into_iter().filter(|name| !joins && !allowed.contains(name)).collect();
    if !missing.is_empty() && !force {
        return Err(lost(dir, &missing));
    }
    if who == Who::Server && (joins || force) {
        allowed.extend(MADE.into_iter().filter(|name| !there(name)));
    }
    let mark = (marked || !allowed.is_empty()).then_some(Mark::Beside(allowed));
    Ok((force, mark))
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
        (true, Who::Server) => MADE.into_iter().filter(|name| !there(name)).collect(),
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

    #[test]
    fn a_mark_beside_something_lets_no_store_and_no_ring_be_made() {
        let gone = |dir: &DataDir| {
            fs::remove_dir_all(dir.store()).and_then(|()| fs::create_dir(dir.store())).unwrap()
        };
        // It joined, was forced, or came as far as its ring; and it failed then.
        let (_a, joined) = Place::with(&[STORE, SEAL]);
        FirstStart::begin(&joined, Who::Server, false).unwrap();
        let (_b, forced) = Place::with(&[STORE, SEAL, ISSUER, CA_CERT, ADMIN_TOKEN]);
        assert!(FirstStart::begin(&forced, Who::Server, true).unwrap().may_make);
        let (_c, first) = Place::with(&[]);
        FirstStart::begin(&first, Who::Server, false).unwrap().has_ring().unwrap();
        for name in [STORE, SEAL] {
            fs::write(first.file(name), "x").unwrap();
        }
        for dir in [&joined, &forced, &first] {
            let again = FirstStart::begin(dir, Who::Server, false).unwrap();
            assert!(!again.may_make, "the rest is made, a ring is not");
            gone(dir);
            let refused = FirstStart::begin(dir, Who::Server, false).unwrap_err();
            assert!(matches!(&refused, Failure::Guard(text) if text.contains("its store is missing")));
            assert!(FirstStart::begin(dir, Who::Server, true).unwrap().may_make);
            let refused = FirstStart::begin(dir, Who::Server, false).unwrap_err();
            assert!(matches!(refused, Failure::Guard(_)), "nor has asking once done it for good");
        }
        // Only what was missing then.
        let (_d, forced) = Place::with(&[STORE, SEAL, ISSUER, CA_CERT, ADMIN_TOKEN]);
        FirstStart::begin(&forced, Who::Server, true).unwrap();
        fs::remove_file(forced.file(ADMIN_TOKEN)).unwrap();
        let refused = FirstStart::begin(&forced, Who::Server, false).unwrap_err();
        assert!(refused.to_string().contains("admin.token is missing"), "{refused}");
    }

    #[test]
    fn who_does_not_get_the_lock_leaves_no_mark() {
        for names in [&[STORE, SEAL][..], &[STORE, SEAL, ISSUER, CA_CERT, ADMIN_TOKEN], &[]] {
            let (place, dir) = Place::with(names);
            let held = lock(&dir.store()).unwrap();
            let refused = FirstStart::begin(&dir, Who::Server, true).unwrap_err();
            assert!(refused.to_string().contains("is in use by a server of this very process"), "{refused}");
            assert!(!place.marked());
            drop(held);
        }
        // Where nothing is missing none is needed, whatever is asked for.
        let (place, dir) = Place::with(&ALL);
        assert!(FirstStart::begin(&dir, Who::Server, true).unwrap().may_make && !place.marked());
    }
}
