//! Unix sockets, in front and behind.

use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;
use std::{fs, io};

use tokensmith_agent::proxy::{Listener, Mode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};

use crate::upstream::Upstream;
use crate::world::*;

async fn ask(path: &Path, request: &str) -> String {
    let mut stream = UnixStream::connect(path).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn a_socket_of_this_user_alone_and_gone_at_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    let proxy = start_at(config(token_mode(source())), &format!("unix:{}", path.display())).await;
    let found = fs::symlink_metadata(&path).unwrap();
    assert!(found.file_type().is_socket());
    assert_eq!(found.permissions().mode() & 0o777, 0o600);
    // Clients write any name into the URL.
    let answer = ask(&path, "GET /token HTTP/1.1\r\nHost: whatever\r\nConnection: close\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let answer =
        ask(&path, "GET /token HTTP/1.1\r\nHost: s\r\nOrigin: null\r\nConnection: close\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
    proxy.stop.send_replace(true);
    proxy.task.await.unwrap();
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is left");
}

#[tokio::test]
async fn the_dead_are_replaced_and_the_living_are_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    let address = format!("unix:{}", path.display()).parse().unwrap();
    // What a process leaves that was killed.
    drop(UnixListener::bind(&path).unwrap());
    let first = Listener::bind(&address).await.unwrap();
    let error = Listener::bind(&address).await.unwrap_err();
    assert_eq!(error.cause.kind(), io::ErrorKind::AddrInUse);
    assert!(!error.to_string().contains('\n'));
    drop(first);
    // Another program's.
    let _other = UnixListener::bind(&path).unwrap();
    assert_eq!(Listener::bind(&address).await.unwrap_err().cause.kind(), io::ErrorKind::AddrInUse);
    fs::remove_file(&path).unwrap();
    fs::write(&path, "precious").unwrap();
    assert_eq!(Listener::bind(&address).await.unwrap_err().cause.kind(), io::ErrorKind::AlreadyExists);
    assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    let nowhere = format!("unix:{}/no/s", folder.path().display()).parse().unwrap();
    assert_eq!(Listener::bind(&nowhere).await.unwrap_err().cause.kind(), io::ErrorKind::NotFound);
}

#[tokio::test]
async fn somebody_elses_lock_is_not_followed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    fs::write(folder.path().join("target"), "").unwrap();
    std::os::unix::fs::symlink("target", folder.path().join(".s.lock")).unwrap();
    let address = format!("unix:{}", path.display()).parse().unwrap();
    assert!(Listener::bind(&address).await.is_err());
    assert!(!path.exists());
}

#[tokio::test]
async fn an_upstream_may_be_behind_a_socket() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app");
    let upstream = Upstream::start_unix(&path);
    let to = upstream_at(&format!("unix:{}", path.display()));
    let proxy = start(config(Mode::Forward(forward_mode(to)))).await;
    for client in [http1(), http2()] {
        let answer = client.request(get(proxy.url("/x?y")).body(empty()).unwrap()).await.unwrap();
        assert_eq!(text(answer).await, "ok");
        assert_eq!(upstream.last().header("authorization").len(), 1);
    }
    assert_eq!(upstream.seen.lock().unwrap()[0].header("host"), ["localhost"]);
}
