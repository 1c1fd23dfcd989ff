//! A Unix socket put in its place: never open to others, never taken from a living process, gone at the end.
//!
//! Whose turn it is to bind a path is the caller's to settle, by a lock of its own: the signer waits for the other one, the
//! sidecar does not.

use std::fs::{self, DirBuilder, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tokensmith_core::random;
use tokio::net::{UnixListener, UnixStream};

/// A socket's file, removed when dropped unless somebody has put another one in its place.
#[derive(Debug)]
pub struct Placed {
    path: PathBuf,
    identity: (u64, u64),
}

impl Drop for Placed {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|found| found == self.identity) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Why a path is not free.
#[derive(Debug, thiserror::Error)]
pub enum Taken {
    /// Somebody answers there.
    #[error("it is served by another process")]
    InUse,
    /// Something else is there.
    #[error("something is there that is no socket")]
    NotASocket,
    /// The system does not tell.
    #[error(transparent)]
    System(io::Error),
}

/// Whether there is nothing, or what a dead process has left.
///
/// # Errors
/// See [`Taken`].
pub async fn check_free(path: &Path) -> Result<(), Taken> {
    match fs::symlink_metadata(path) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(Taken::System(e)),
        Ok(found) if !found.file_type().is_socket() => return Err(Taken::NotASocket),
        Ok(_) => {}
    }
    match UnixStream::connect(path).await {
        Err(e) if matches!(e.kind(), ErrorKind::ConnectionRefused | ErrorKind::NotFound) => Ok(()),
        // Too busy to answer, or not for streams: alive.
        Ok(_) | Err(_) => Err(Taken::InUse),
    }
}

/// A directory of ours alone beside a socket, removed when dropped.
#[derive(Debug)]
pub struct Private(PathBuf);

impl Private {
    /// Makes it where the socket at `path` is to be.
    ///
    /// # Errors
    /// The system refuses.
    pub fn beside(path: &Path) -> io::Result<Self> {
        let parent = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        // Short: an address takes some hundred bytes only.
        let path = parent.join(format!(".ts-{}", random::suffix(8)));
        DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Private(path))
    }

    /// The user that makes files here.
    ///
    /// # Errors
    /// It is no longer there.
    pub fn owner(&self) -> io::Result<u32> {
        fs::symlink_metadata(&self.0).map(|found| found.uid())
    }

    /// Listens at `path`, which must be free. Nobody else can come in here, so that nobody connects before the mode is set.
    ///
    /// # Errors
    /// The system refuses; nothing has been changed then.
    pub fn place(&self, path: &Path) -> io::Result<(UnixListener, Placed)> {
        let made = self.0.join("s");
        let listener = UnixListener::bind(&made)?;
        fs::set_permissions(&made, Permissions::from_mode(0o600))?;
        let identity = identity(&made)?;
        fs::rename(&made, path)?;
        Ok((listener, Placed { path: path.to_owned(), identity }))
    }
}

impl Drop for Private {
    fn drop(&mut self) {
        let _ = fs::remove_file(self.0.join("s"));
        let _ = fs::remove_dir(&self.0);
    }
}

/// Which file is at a path, links not followed: device and inode.
///
/// # Errors
/// None is there.
pub fn identity(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|found| (found.dev(), found.ino()))
}
