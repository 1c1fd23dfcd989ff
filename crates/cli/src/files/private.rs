//! Folders that are nobody else's business: made so, found so, or refused.

use std::fs::{self, DirBuilder, File, Metadata, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, open, openat};

use super::modes::{Fault, Found, Others, Reach, Verdict, judge};
use crate::failure::Failure;
use crate::output::shell;

/// So deep sled's files lie in the store's folder.
const DEEPEST: usize = 4;

/// What this process makes from now on is private, whoever makes it: sled opens its files itself, with no mode in mind.
/// To be called while there is one thread.
pub fn set_umask(others: Others) {
    rustix::process::umask(Mode::from_raw_mode(others.forbidden()));
}

/// Makes a private folder where there is none, with those above it and those `inside` it, or sees to it that the one that
/// is there is private, and all that is in those.
///
/// # Errors
/// A guard's refusal: others may have written there, there is a link in it, or it cannot be made private. It, and what is
/// in it, is then as it was. Or it cannot be made.
pub fn private_dir(path: &Path, inside: &[&str], others: Others) -> Result<(), Failure> {
    let mode = 0o770 & !others.forbidden();
    let made = DirBuilder::new().recursive(true).mode(mode).create(path);
    let cannot = |verb: &str, path: &Path, e: &io::Error| {
        Failure::failed(format!("cannot {verb} the data directory {}: {e}", path.display()))
    };
    made.map_err(|e| cannot("make", path, &e))?;
    warn_of_parents(path);
    let me = rustix::process::geteuid().as_raw();
    // The directory itself may be given as a link: by the operator.
    let top = fs::metadata(path).map(|meta| found(&meta)).map_err(|e| cannot("read", path, &e))?;
    let mut to_mend = Vec::new();
    note(path, top, me, others, Reach::ALL, &mut to_mend)?;
    for entry in fs::read_dir(path).map_err(|e| cannot("read", path, &e))? {
        let entry = entry.map_err(|e| cannot("read", path, &e))?;
        check_file(&entry.path(), me, others)?;
    }
    for name in inside {
        walk(&path.join(name), me, others, Reach::ALL.through(top), DEEPEST, &mut to_mend)?;
    }
    // Only now, when nothing is refused.
    for (inner, was, mode) in &to_mend {
        mend(path, inner, *was, *mode)?;
    }
    tell(path, &to_mend, others);
    for name in inside {
        let inner = path.join(name);
        DirBuilder::new()
            .recursive(true)
            .mode(mode)
            .create(&inner)
            .map_err(|e| cannot("make", &inner, &e))?;
    }
    Ok(())
}

/// Judges what a flag names. What everyone may write is refused: a token, a key or a CA in it may be anyone's. Says whether
/// everyone may read it.
///
/// # Errors
/// A guard's refusal.
pub fn check_given(path: &Path) -> Result<bool, Failure> {
    // What is not there is said by who reads it; a pipe or a terminal is the operator's own.
    let Some(meta) = fs::metadata(path).ok().filter(fs::Metadata::is_file) else { return Ok(false) };
    if meta.mode() & 0o002 != 0 {
        let at = shell(&path.to_string_lossy());
        return Err(Failure::guard(format!(
            "{} may be written by everyone (mode {:o}): see to it that what it says is yours, then `chmod o-w {at}`",
            path.display(),
            meta.mode() & 0o7777
        )));
    }
    Ok(meta.mode() & 0o004 != 0)
}

/// A path, its mode, and what it is to be.
type ToMend = (PathBuf, u32, u32);

fn walk(
    path: &Path,
    me: u32,
    others: Others,
    reach: Reach,
    deeper: usize,
    to_mend: &mut Vec<ToMend>,
) -> Result<(), Failure> {
    let cannot = |e: &io::Error| Failure::failed(format!("cannot read {}: {e}", path.display()));
    let Some(meta) = no_link(path)? else { return Ok(()) };
    let here = found(&meta);
    note(path, here, me, others, reach, to_mend)?;
    if deeper == 0 || !meta.is_dir() {
        return Ok(());
    }
    let mut entries = fs::read_dir(path).map_err(|e| cannot(&e))?;
    entries.try_for_each(|entry| {
        let entry = entry.map_err(|e| cannot(&e))?;
        walk(&entry.path(), me, others, reach.through(here), deeper - 1, to_mend)
    })
}

/// What is there, if anything. A link is refused: whoever laid it would have this process read, write and change the mode
/// of what it leads to.
fn no_link(path: &Path) -> Result<Option<Metadata>, Failure> {
    match fs::symlink_metadata(path) {
        Ok(meta) if meta.is_symlink() => {
            let at = shell(&path.to_string_lossy());
            Err(Failure::guard(format!(
                "{} is a link, and none is followed in the data directory: put what it leads to in its place, or `rm {at}`",
                path.display()
            )))
        }
        Ok(meta) => Ok(Some(meta)),
        // A dead process' draft that sled has just renamed, or a first start.
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(Failure::failed(format!("cannot read {}: {e}", path.display()))),
    }
}

/// Judges a file of the data directory itself. Some are for everyone to read, and who reads a secret looks to that; none is
/// for others to write, not even where they do not get there now: what it says may be theirs.
fn check_file(path: &Path, me: u32, others: Others) -> Result<(), Failure> {
    let Some(meta) = no_link(path)?.filter(Metadata::is_file) else { return Ok(()) };
    let (found, at) = (found(&meta), shell(&path.to_string_lossy()));
    let (who, bits, or) = match judge(found, me, others, Reach::ALL) {
        Verdict::Fine | Verdict::Mend(_) => return Ok(()),
        Verdict::Refuse(Fault::World) => ("everyone", "go-w", ""),
        Verdict::Refuse(Fault::Group) => {
            ("its group", "g-w", ", or say --allow-group-access if that group is meant")
        }
        Verdict::Refuse(fault @ Fault::Owner(_)) => return Err(refusal(path, found, fault, me)),
    };
    Err(Failure::guard(format!(
        "{} may be written by {who} (mode {:o}): see to it that what it says is yours, then `chmod {bits} {at}`{or}",
        path.display(),
        found.mode
    )))
}

fn found(meta: &Metadata) -> Found {
    Found { mode: meta.mode() & 0o7777, owner: meta.uid() }
}

fn note(
    path: &Path,
    found: Found,
    me: u32,
    others: Others,
    reach: Reach,
    to_mend: &mut Vec<ToMend>,
) -> Result<(), Failure> {
    match judge(found, me, others, reach) {
        Verdict::Fine => {}
        Verdict::Mend(mode) => to_mend.push((path.to_owned(), found.mode, mode)),
        Verdict::Refuse(fault) => return Err(refusal(path, found, fault, me)),
    }
    Ok(())
}

fn refusal(path: &Path, found: Found, fault: Fault, me: u32) -> Failure {
    let (name, mode, at) = (path.display(), found.mode, shell(&path.to_string_lossy()));
    Failure::guard(match fault {
        Fault::Group => format!(
            "{name} may be written by its group (mode {mode:o}): make it private with `chmod -R go-rwx {at}`, or say --allow-group-access if that group is meant"
        ),
        Fault::Owner(owner) => format!(
            "{name} belongs to user {owner}, who may replace what is in it: start tokensmith as that user, or `chown -R {me} {at}`"
        ),
        Fault::World => format!(
            "{name} may be written by everyone (mode {mode:o}), so keys in it may be anyone's: give another --data-dir, or, if all in it is yours, `chmod -R go-rwx {at}`"
        ),
    })
}

/// Opens what is in a folder, or the folder itself, and follows no link below it: one may have been laid since all was
/// judged.
fn open_below(top: &Path, path: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let mut file = open(top, flags | OFlags::DIRECTORY, Mode::empty())?;
    for part in path.strip_prefix(top).map_err(io::Error::other)? {
        file = openat(&file, part, flags | OFlags::NOFOLLOW, Mode::empty())?;
    }
    Ok(file.into())
}

fn mend(top: &Path, path: &Path, was: u32, mode: u32) -> Result<(), Failure> {
    let kept = open_below(top, path).and_then(|file| {
        file.set_permissions(Permissions::from_mode(mode))?;
        // Some file systems take a mode and forget it.
        file.metadata().map(|meta| found(&meta))
    });
    let why = match kept {
        Ok(now) if now.mode & 0o077 == mode & 0o077 => return Ok(()),
        Ok(_) => "this file system keeps no modes".to_owned(),
        Err(e) => e.to_string(),
    };
    let at = shell(&path.to_string_lossy());
    Err(Failure::guard(format!(
        "{} is open to others (mode {was:o}) and cannot be made private ({why}): `chmod {mode:o} {at}`",
        path.display()
    )))
}

/// A line for the folder, and one for all that is in it.
fn tell(top: &Path, mended: &[ToMend], others: Others) {
    let hint = match others {
        Others::Nobody => "; --allow-group-access would leave its group in",
        Others::Group => "",
    };
    if let Some((_, was, mode)) = mended.iter().find(|(path, ..)| path == top) {
        tracing::warn!("{} could be read by others (mode {was:o}): it is {mode:o} now{hint}", top.display());
    }
    let inside = mended.iter().filter(|(path, ..)| path != top).count();
    if inside > 0 {
        tracing::warn!(
            "{inside} files and folders in {} had wider modes: they are private now",
            top.display()
        );
    }
}

/// Whoever may rename a folder can put another one in its place. Its owner and mode are looked at at each start, and in a
/// container such a folder (an `emptyDir`) is nobody else's, so this is no reason to refuse.
fn warn_of_parents(path: &Path) {
    let given = std::path::absolute(path).ok();
    let real = fs::canonicalize(path).ok();
    let mut parents: Vec<_> =
        [given, real].iter().flatten().filter_map(|p| Some(p.parent()?.to_owned())).collect();
    parents.dedup();
    for parent in parents {
        if fs::metadata(&parent).is_ok_and(|meta| meta.mode() & 0o1002 == 0o0002) {
            tracing::warn!(
                "{} may be written by everyone: anyone can put another folder in the place of {}",
                parent.display(),
                path.display()
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn mode(path: &Path) -> u32 {
        found(&fs::metadata(path).unwrap()).mode
    }

    fn set(path: &Path, mode: u32) {
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    /// A data directory with a file of the store in it.
    fn place(dir: u32, store: u32, file: u32) -> (tempfile::TempDir, PathBuf) {
        let temp = tempfile::tempdir().unwrap();
        let data = temp.path().join("data");
        fs::create_dir_all(data.join("store/sled")).unwrap();
        fs::write(data.join("store/sled/db"), "x").unwrap();
        for (path, mode) in [("store/sled/db", file), ("store/sled", store), ("store", store), ("", dir)] {
            set(&data.join(path), mode);
        }
        (temp, data)
    }

    fn modes(data: &Path) -> [u32; 4] {
        ["", "store", "store/sled", "store/sled/db"].map(|name| mode(&data.join(name)))
    }

    #[test]
    fn what_was_open_is_private_afterwards() {
        for (dir, store, file) in [(0o700, 0o777, 0o666), (0o755, 0o755, 0o644), (0o750, 0o750, 0o640)] {
            let (_temp, data) = place(dir, store, file);
            private_dir(&data, &["store"], Others::Nobody).unwrap();
            assert_eq!(modes(&data), [0o700, 0o700, 0o700, 0o600], "{dir:o} {store:o} {file:o}");
        }
        let (_temp, data) = place(0o2770, 0o2770, 0o660);
        private_dir(&data, &["store"], Others::Group).unwrap();
        assert_eq!(modes(&data), [0o2770, 0o2770, 0o2770, 0o660]);
    }

    #[test]
    fn what_others_could_have_written_is_refused_and_left() {
        for (dir, store, file, others, says) in [
            (0o777, 0o700, 0o600, Others::Nobody, "data may be written by everyone (mode 777)"),
            (0o1777, 0o700, 0o600, Others::Group, "data may be written by everyone (mode 1777)"),
            (0o2770, 0o700, 0o600, Others::Nobody, "--allow-group-access"),
            (0o755, 0o755, 0o666, Others::Nobody, "db may be written by everyone (mode 666)"),
            (0o711, 0o777, 0o600, Others::Nobody, "store may be written by everyone (mode 777)"),
            (0o750, 0o750, 0o660, Others::Nobody, "db may be written by its group (mode 660)"),
        ] {
            let (_temp, data) = place(dir, store, file);
            let refused = private_dir(&data, &["store"], others).unwrap_err();
            assert!(matches!(&refused, Failure::Guard(text) if text.contains(says)), "{refused}");
            assert_eq!(modes(&data), [dir, store, store, file], "nothing has been changed");
        }
    }

    #[test]
    fn a_new_one_is_private_and_a_link_is_followed() {
        let temp = tempfile::tempdir().unwrap();
        let new = temp.path().join("a/b");
        private_dir(&new, &["store"], Others::Nobody).unwrap();
        assert_eq!((mode(&new), mode(&temp.path().join("a"))), (0o700, 0o700));
        let link = temp.path().join("link");
        symlink(&new, &link).unwrap();
        set(&new, 0o755);
        private_dir(&link, &["store"], Others::Nobody).unwrap();
        assert_eq!(mode(&new), 0o700);
        set(&new, 0o777);
        assert!(matches!(private_dir(&link, &[], Others::Nobody), Err(Failure::Guard(_))));
    }

    #[test]
    fn no_link_is_followed_to_change_a_mode() {
        let (temp, data) = place(0o700, 0o700, 0o600);
        let outside = temp.path().join("outside");
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("db"), "x").unwrap();
        set(&outside.join("db"), 0o644);
        symlink(outside.join("db"), data.join("store/link")).unwrap();
        symlink(&outside, data.join("store/folder")).unwrap();
        for path in ["store/link", "store/folder", "store/folder/db"] {
            assert!(matches!(mend(&data, &data.join(path), 0o644, 0o600), Err(Failure::Guard(_))), "{path}");
        }
        assert_eq!(mode(&outside.join("db")), 0o644);
        mend(&data, &data.join("store/sled/db"), 0o600, 0o400).unwrap();
        assert_eq!(mode(&data.join("store/sled/db")), 0o400);
    }

    #[test]
    fn a_file_that_everyone_may_write_is_no_configuration() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("users");
        fs::write(&path, "x").unwrap();
        for (mode, want) in [(0o600, Some(false)), (0o640, Some(false)), (0o644, Some(true)), (0o666, None)] {
            set(&path, mode);
            assert_eq!(check_given(&path).ok(), want, "{mode:o}");
        }
        assert_eq!(check_given(Path::new("/dev/null")).ok(), Some(false));
        assert_eq!(check_given(&temp.path().join("none")).ok(), Some(false));
    }
}
