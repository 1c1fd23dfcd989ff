//! A Unix socket: never open to others, never taken from a living process, gone at the end.

use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use tokensmith_listen::socket::{Private, Taken, check_free, identity};
use tokio::net::UnixListener;

/// A socket's file and this process' claim to it; both go when it is dropped.
#[derive(Debug)]
pub(super) struct Placed {
    _socket: tokensmith_listen::socket::Placed,
    _turn: Turn,
}

/// Listens at a path. A socket that a dead process has left there is replaced, nothing else is.
pub(super) async fn bind(path: &Path) -> io::Result<(UnixListener, Placed)> {
    let turn = Turn::take(path)?;
    check_free(path).await.map_err(|taken| match taken {
        Taken::InUse => in_use(),
        Taken::NotASocket => io::Error::new(ErrorKind::AlreadyExists, taken),
        Taken::System(e) => e,
    })?;
    let (listener, socket) = Private::beside(path)?.place(path)?;
    Ok((listener, Placed { _socket: socket, _turn: turn }))
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

fn in_use() -> io::Error {
    io::Error::new(ErrorKind::AddrInUse, Taken::InUse)
}
