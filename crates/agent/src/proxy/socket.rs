//! A Unix socket: never open to others, never taken from a living process, gone at the end.

use std::fs::{self, DirBuilder, File, Permissions, TryLockError};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use tokensmith_core::random;
use tokio::net::{UnixListener, UnixStream};

/// A socket's file, removed when dropped unless somebody has put another one in its place.
#[derive(Debug)]
pub(super) struct Placed {
    path: PathBuf,
    identity: (u64, u64),
    _turn: Turn,
}

impl Drop for Placed {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|found| found == self.identity) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Listens at a path. A socket that a dead process has left there is replaced, nothing else is.
pub(super) async fn bind(path: &Path) -> io::Result<(UnixListener, Placed)> {
    let parent = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let turn = Turn::take(path)?;
    check_free(path).await?;
    // Nobody else can come in here, so that nobody connects before the mode is set.
    let private = Private::new(parent)?;
    let made = private.0.join("s");
    let listener = UnixListener::bind(&made)?;
    fs::set_permissions(&made, Permissions::from_mode(0o600))?;
    let identity = identity(&made)?;
    fs::rename(&made, path)?;
    Ok((listener, Placed { path: path.to_owned(), identity, _turn: turn }))
}

/// A locked file beside the socket, for as long as it listens: two that start at once must not both find a dead socket.
#[derive(Debug)]
struct Turn {
    path: PathBuf,
    _file: File,
}

impl Turn {
    fn take(socket: &Path) -> io::Result<Self> {
        let name = socket.file_name().unwrap_or_default().to_string_lossy();
        let path = socket.with_file_name(format!(".{name}.lock"));
        loop {
            let mut options = File::options();
            options.read(true).write(true).create(true).truncate(false).mode(0o600);
            // Neither somebody's link nor their pipe.
            options.custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits() as i32);
            let file = options.open(&path)?;
            let opened = file.metadata()?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Err(in_use()),
                Err(TryLockError::Error(e)) => return Err(e),
            }
            // Who had it before has removed it: then it is no use, and another one may be there.
            if identity(&path).is_ok_and(|found| found == (opened.dev(), opened.ino())) {
                return Ok(Turn { path, _file: file });
            }
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        // Still locked.
        let _ = fs::remove_file(&self.path);
    }
}

/// Whether there is nothing, or what a dead process has left.
async fn check_free(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(e),
        Ok(found) if !found.file_type().is_socket() => {
            return Err(io::Error::new(ErrorKind::AlreadyExists, "something is there that is no socket"));
        }
        Ok(_) => {}
    }
    match UnixStream::connect(path).await {
        Err(e) if matches!(e.kind(), ErrorKind::ConnectionRefused | ErrorKind::NotFound) => Ok(()),
        // Too busy to answer, or not for streams: alive.
        Ok(_) | Err(_) => Err(in_use()),
    }
}

fn in_use() -> io::Error {
    io::Error::new(ErrorKind::AddrInUse, "it is served by another process")
}

/// A directory of ours alone, removed when dropped.
struct Private(PathBuf);

impl Private {
    fn new(parent: &Path) -> io::Result<Self> {
        // Short: an address takes some hundred bytes only.
        let path = parent.join(format!(".ts-{}", random::suffix(8)));
        DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Private(path))
    }
}

impl Drop for Private {
    fn drop(&mut self) {
        let _ = fs::remove_file(self.0.join("s"));
        let _ = fs::remove_dir(&self.0);
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|found| (found.dev(), found.ino()))
}
