//! Reading and writing the files that a user or this program owns.

mod draft;
mod form;
mod lock;
pub mod modes;
mod private;

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use tokensmith_core::random;

pub use draft::Draft;
pub use form::{form, unreadable};
pub use lock::locked;
use modes::Others;
pub use private::{check_given, private_dir, set_umask};

/// Who may read a file that this program writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Mode 0600: keys, tokens, kubeconfigs.
    Owner,
    /// Mode 0660: the same, in a data directory that a group shares.
    Group,
    /// Mode 0644: certificates, addresses.
    Everyone,
}

impl Access {
    fn mode(self) -> u32 {
        match self {
            Access::Group => 0o660,
            Access::Owner => 0o600,
            Access::Everyone => 0o644,
        }
    }
}

impl From<Others> for Access {
    fn from(others: Others) -> Self {
        match others {
            Others::Group => Access::Group,
            Others::Nobody => Access::Owner,
        }
    }
}

/// Writes a file so that a reader (and a machine that loses power) sees the old content or the new one, never
/// half of it, and so that a secret is at no time readable by others. A symbolic link is followed.
///
/// # Errors
/// The directory is not writable, the disk is full, and so on; the old file is then as it was.
pub fn write(path: &Path, content: &[u8], access: Access) -> Result<()> {
    put(path, content, access, true)
}

/// The same of what each start writes anew: a machine that loses power may lose it, so no start waits for the disk for it.
///
/// # Errors
/// As [`write`].
pub fn write_passing(path: &Path, content: &[u8], access: Access) -> Result<()> {
    put(path, content, access, false)
}

fn put(path: &Path, content: &[u8], access: Access, lasting: bool) -> Result<()> {
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
    let (dir, name) = split(&path)?;
    let draft = dir.join(format!(".{name}.{}", random::suffix(8)));
    let filled =
        fill(&draft, content, access).and_then(|file| if lasting { file.sync_all() } else { Ok(()) });
    let written = filled.and_then(|()| fs::rename(&draft, &path));
    if written.is_err() {
        // Nothing to say about this one: the first error is the one to mend.
        let _ = fs::remove_file(&draft);
    }
    written.with_context(|| format!("cannot write {}", path.display()))?;
    if lasting {
        // Makes the rename itself durable; not every file system can, and none needs it to be correct.
        let _ = File::open(dir).and_then(|d| d.sync_all());
    }
    Ok(())
}

/// Reads a file that may be absent.
///
/// # Errors
/// It is there, but cannot be read.
pub fn read_if_there(path: &Path) -> Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(content) => Ok(Some(content)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e).with_context(|| format!("cannot read {}", path.display())),
    }
}

/// Reads a secret that may be absent. One that others may read is refused: it may not be a secret any more.
///
/// # Errors
/// It is there, but cannot be read, or is open to others.
pub fn read_secret(path: &Path, others: Others) -> Result<Option<Vec<u8>>> {
    let Some(bytes) = read_if_there(path)? else { return Ok(None) };
    let mode = fs::metadata(path).map(|m| m.permissions().mode() & 0o777).unwrap_or(0);
    if mode & others.forbidden() != 0 {
        let path = path.display();
        bail!("{path} is open to others (mode {mode:o}): make it private with `chmod 600 {path}`");
    }
    Ok(Some(bytes))
}

/// An absolute form of a path, for texts that are pasted elsewhere; symbolic links stay.
pub fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf())
}

fn fill(path: &Path, content: &[u8], access: Access) -> io::Result<File> {
    let mode = access.mode();
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    // What everyone may read is to be readable under any umask.
    file.set_permissions(Permissions::from_mode(mode))?;
    file.write_all(content)?;
    Ok(file)
}

fn split(path: &Path) -> Result<(&Path, &str)> {
    let name = path.file_name().and_then(|n| n.to_str());
    let name = name.with_context(|| format!("{} is no name for a file", path.display()))?;
    let dir = path.parent().filter(|d| !d.as_os_str().is_empty()).unwrap_or(Path::new("."));
    Ok((dir, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_private_and_replaced_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        write(&path, b"one", Access::Owner).unwrap();
        write(&path, b"two", Access::Owner).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "no draft is left");
    }

    #[test]
    fn a_link_is_followed() {
        let dir = tempfile::tempdir().unwrap();
        let (real, link) = (dir.path().join("real"), dir.path().join("link"));
        write(&real, b"one", Access::Owner).unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        write(&link, b"two", Access::Owner).unwrap();
        assert_eq!(fs::read(&real).unwrap(), b"two");
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    }

    #[test]
    fn a_failure_names_the_file() {
        let error = write(Path::new("/nowhere/at/all"), b"", Access::Everyone).unwrap_err();
        assert!(format!("{error:#}").starts_with("cannot write /nowhere/at/all: "));
    }
}
