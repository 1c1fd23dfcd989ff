//! The Unix socket: never open to others, never taken from a living process, gone at the end.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::os::unix::net::SocketAddr;
use std::path::{Path, PathBuf};

use tokensmith_listen::socket::{Placed, Private, Taken, check_free, identity};
use tokensmith_listen::{Accept, Accepted};
use tokio::net::{UnixListener, UnixStream};

use crate::Address;

/// A socket that listens.
#[derive(Debug)]
pub struct Socket {
    listener: UnixListener,
    access: Access,
}

/// What keeps others out.
#[derive(Debug)]
enum Access {
    /// The file's mode.
    File(#[expect(dead_code, reason = "held for its drop, which removes the file")] Placed),
    /// An abstract socket has no mode: the user on the other side must be this one, or root.
    User(u32),
}

/// Why there is no socket.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// This system has paths only.
    #[error("{0} cannot be used: only Linux has abstract sockets; give a path")]
    Abstract(Address),
    /// Somebody answers there.
    #[error("{0} is served by another process: stop it, or give another socket")]
    InUse(Address),
    /// Whoever made it could hold it for ever.
    #[error("{} is not a file of this process' user: remove it, or put the socket where only that user may write", .0.display())]
    Lock(PathBuf),
    /// Something else is there.
    #[error("{} is there and is no socket: remove it, or give another path", .0.display())]
    NotASocket(PathBuf),
    /// The system refuses.
    #[error("cannot listen on {address}")]
    System {
        /// Where.
        address: Address,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl Socket {
    /// Listens on `address`. A socket that a dead process has left there is replaced, nothing else is.
    ///
    /// # Errors
    /// Somebody or something else is there, or the system refuses; nothing has been changed then.
    pub async fn bind(address: &Address) -> Result<Self, SocketError> {
        match address {
            Address::Abstract(name) => abstract_socket(address, name),
            Address::Path(path) => file_socket(address, path).await,
        }
    }
}

impl Accept for Socket {
    async fn accept(&self) -> io::Result<Option<Accepted>> {
        let (stream, _) = self.listener.accept().await?;
        let welcome = match self.access {
            Access::File(_) => true,
            Access::User(me) => [me, 0].contains(&stream.peer_cred()?.uid()),
        };
        Ok(welcome.then(|| Accepted { socket: tokensmith_listen::Socket::Unix(stream), from: None }))
    }
}

async fn file_socket(address: &Address, path: &Path) -> Result<Socket, SocketError> {
    let failed = |source| SocketError::System { address: address.clone(), source };
    // The name that it gets by renaming must be one that others can use, too.
    SocketAddr::from_pathname(path).map_err(failed)?;
    let private = Private::beside(path).map_err(failed)?;
    // Two that start at once must not both find a dead socket and replace each other's.
    let _turn = Turn::take(address, path, &private).await?;
    check_free(path).await.map_err(|taken| match taken {
        Taken::InUse => SocketError::InUse(address.clone()),
        Taken::NotASocket => SocketError::NotASocket(path.to_owned()),
        Taken::System(e) => failed(e),
    })?;
    let (listener, placed) = private.place(path).map_err(failed)?;
    Ok(Socket { listener, access: Access::File(placed) })
}

/// A locked file beside the socket, removed when dropped. The directory would do, but whoever may read it may lock it,
/// and this process would wait for them.
struct Turn {
    path: PathBuf,
    _file: File,
}

impl Turn {
    /// Waits for another process of this user that is just binding the same socket.
    async fn take(address: &Address, socket: &Path, private: &Private) -> Result<Self, SocketError> {
        let failed = |source| SocketError::System { address: address.clone(), source };
        let name = socket.file_name().unwrap_or_default().to_string_lossy();
        let path = socket.with_file_name(format!(".{name}.lock"));
        let me = private.owner().map_err(failed)?;
        loop {
            let mut options = File::options();
            // For both: the writing end alone of somebody's FIFO would wait for its reader.
            options.read(true).write(true).create(true).truncate(false).mode(0o600);
            let file = options.open(&path).map_err(failed)?;
            let opened = file.metadata().map_err(failed)?;
            let linked = fs::symlink_metadata(&path).is_ok_and(|found| found.is_symlink());
            if linked || !opened.is_file() || opened.uid() != me || opened.mode() & 0o077 != 0 {
                return Err(SocketError::Lock(path));
            }
            let locking = tokio::task::spawn_blocking(|| file.lock().map(|()| file));
            let file = locking.await.map_err(io::Error::other).flatten().map_err(failed)?;
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

/// Connects to a signer.
///
/// # Errors
/// Nobody listens there, or not for this user.
#[cfg(target_os = "linux")]
pub async fn connect(address: &Address) -> io::Result<UnixStream> {
    match address {
        // Tokio's notation for it. Unlike the standard library's it does not block while a process that hangs has the
        // queue full.
        Address::Abstract(name) => UnixStream::connect(format!("\0{name}")).await,
        Address::Path(path) => UnixStream::connect(path).await,
    }
}

/// Connects to a signer.
///
/// # Errors
/// Nobody listens there, or not for this user.
#[cfg(not(target_os = "linux"))]
pub async fn connect(address: &Address) -> io::Result<UnixStream> {
    match address {
        Address::Abstract(_) => Err(ErrorKind::Unsupported.into()),
        Address::Path(path) => UnixStream::connect(path).await,
    }
}

#[cfg(target_os = "linux")]
fn abstract_socket(address: &Address, name: &str) -> Result<Socket, SocketError> {
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::UnixListener as Blocking;

    let listen = || {
        let listener = Blocking::bind_addr(&SocketAddr::from_abstract_name(name)?)?;
        listener.set_nonblocking(true)?;
        // Both ends of a pair are ours: this is how to learn one's own user without unsafe code.
        let me = UnixStream::pair()?.0.peer_cred()?.uid();
        Ok(Socket { listener: UnixListener::from_std(listener)?, access: Access::User(me) })
    };
    listen().map_err(|source: io::Error| match source.kind() {
        ErrorKind::AddrInUse => SocketError::InUse(address.clone()),
        _ => SocketError::System { address: address.clone(), source },
    })
}

#[cfg(not(target_os = "linux"))]
fn abstract_socket(address: &Address, _: &str) -> Result<Socket, SocketError> {
    Err(SocketError::Abstract(address.clone()))
}
