//! Who gets the socket, and what is left alone.

use std::fs;
use std::os::unix::fs::{FileTypeExt, PermissionsExt, symlink};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokensmith_core::keys::Algorithm;
use tokensmith_core::random;
use tokensmith_signer::{Address, ExternalSigner, Socket, SocketError, serve};
use tokio::sync::watch;

use crate::api_server::Client;
use crate::world::World;

async fn bind(path: &Path) -> Result<Socket, SocketError> {
    Socket::bind(&Address::Path(path.to_owned())).await
}

fn names(dir: &Path) -> Result<Vec<String>> {
    let entries: Result<Vec<_>, _> = fs::read_dir(dir)?.collect();
    Ok(entries?.iter().map(|e| e.file_name().to_string_lossy().into_owned()).collect())
}

/// What a process leaves that was killed.
fn dead(path: &Path) -> Result<()> {
    drop(std::os::unix::net::UnixListener::bind(path)?);
    ensure!(fs::symlink_metadata(path)?.file_type().is_socket());
    Ok(())
}

#[tokio::test]
async fn it_is_private_and_alone_and_goes_with_its_owner() -> Result<()> {
    let world = World::new(Algorithm::ES256, None).await?;
    ensure!(fs::metadata(&world.socket)?.permissions().mode() & 0o7777 == 0o600);
    ensure!(names(world.dir.path())? == ["signer.sock"], "nothing else is left");
    let dir = world.stop().await?;
    ensure!(names(dir.path())?.is_empty());
    Ok(())
}

/// A thread looks all the time while sockets come and go.
#[tokio::test]
async fn it_is_private_from_the_first_moment() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("s");
    let done = Arc::new(AtomicBool::new(false));
    let (watched, end) = (path.clone(), done.clone());
    let watcher = std::thread::spawn(move || {
        let mut modes = std::collections::BTreeMap::new();
        while !end.load(Ordering::Relaxed) {
            if let Ok(found) = fs::symlink_metadata(&watched) {
                *modes.entry(found.permissions().mode() & 0o7777).or_insert(0) += 1;
            }
        }
        modes
    });
    for _ in 0..500 {
        drop(bind(&path).await?);
    }
    done.store(true, Ordering::Relaxed);
    let modes = watcher.join().ok().context("the watcher panicked")?;
    ensure!(modes.keys().eq(&[0o600]), "{modes:?}");
    Ok(())
}

#[tokio::test]
async fn a_dead_socket_is_replaced_and_a_living_one_is_not() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("s");
    dead(&path)?;
    let first = bind(&path).await?;
    let refused = bind(&path).await.err().context("taken")?;
    ensure!(matches!(refused, SocketError::InUse(_)));
    let text = refused.to_string();
    ensure!(text.contains(&path.display().to_string()) && text.lines().count() == 1, "{text}");
    std::os::unix::net::UnixStream::connect(&path).context("the first still listens")?;
    drop(first);
    ensure!(names(dir.path())?.is_empty());
    drop(bind(&path).await?);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_many_gets_it() -> Result<()> {
    for _ in 0..20 {
        let dir = tempfile::tempdir()?;
        let path = dir.path().join("s");
        dead(&path)?;
        let mut starts = tokio::task::JoinSet::new();
        for _ in 0..4 {
            let path = path.clone();
            starts.spawn(async move { bind(&path).await });
        }
        let results = starts.join_all().await;
        let won = results.iter().filter(|r| r.is_ok()).count();
        ensure!(won == 1, "{won} got it");
        std::os::unix::net::UnixStream::connect(&path).context("who got it listens")?;
    }
    Ok(())
}

#[tokio::test]
async fn what_is_no_socket_is_left_alone() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let path = |name: &str| dir.path().join(name);
    fs::write(path("file"), "precious")?;
    fs::create_dir(path("dir"))?;
    dead(&path("dead"))?;
    symlink(path("dead"), path("link"))?;
    symlink(path("nowhere"), path("dangling"))?;
    for name in ["file", "dir", "link", "dangling"] {
        let refused = bind(&path(name)).await.err().context("taken")?;
        ensure!(matches!(refused, SocketError::NotASocket(_)), "{name}: {refused}");
        ensure!(refused.to_string().contains(name));
    }
    ensure!(fs::read_to_string(path("file"))? == "precious");
    ensure!(names(dir.path())?.len() == 5 && path("link").is_symlink());
    let nowhere = bind(&path("none/s")).await.err().context("made")?;
    ensure!(nowhere.to_string().contains("none/s"));
    ensure!(bind(&path(&"x".repeat(200))).await.is_err(), "longer than an address");
    ensure!(names(dir.path())?.len() == 5, "a failure leaves nothing");
    Ok(())
}

/// Whoever may read a directory may lock it.
#[tokio::test]
async fn a_lock_of_the_directory_holds_nobody_up() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let held = fs::File::open(dir.path())?;
    held.lock()?;
    let bound = tokio::time::timeout(Duration::from_secs(20), bind(&dir.path().join("s"))).await;
    drop(bound.context("it waits for a stranger")??);
    ensure!(names(dir.path())?.is_empty());
    Ok(())
}

#[tokio::test]
async fn a_lock_that_others_could_hold_is_refused() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let (path, lock) = (dir.path().join("s"), dir.path().join(".s.lock"));
    let refused = async |what: &str| -> Result<()> {
        let refused = bind(&path).await.err().context("taken")?;
        ensure!(matches!(refused, SocketError::Lock(_)) && refused.to_string().contains(".s.lock"), "{what}");
        ensure!(names(dir.path())?.contains(&".s.lock".to_owned()) && !path.exists(), "{what} is left alone");
        Ok(())
    };
    fs::write(dir.path().join("mine"), "")?;
    fs::set_permissions(dir.path().join("mine"), fs::Permissions::from_mode(0o600))?;
    symlink(dir.path().join("mine"), &lock)?;
    refused("a link").await?;
    fs::remove_file(&lock)?;
    fs::write(&lock, "")?;
    fs::set_permissions(&lock, fs::Permissions::from_mode(0o644))?;
    refused("one that others may open").await?;
    // What a process leaves that was killed while it bound.
    fs::set_permissions(&lock, fs::Permissions::from_mode(0o600))?;
    drop(bind(&path).await?);
    ensure!(names(dir.path())? == ["mine"]);
    Ok(())
}

#[tokio::test]
async fn anothers_socket_is_not_taken_away_at_the_end() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("s");
    let first = bind(&path).await?;
    fs::remove_file(&path)?;
    let second = bind(&path).await?;
    drop(first);
    ensure!(path.exists());
    drop(second);
    ensure!(!path.exists());
    Ok(())
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_abstract_socket_works() -> Result<()> {
    let world = World::new(Algorithm::ES256, None).await?;
    let name = format!("tokensmith.test-{}", random::suffix(10));
    let address: Address = format!("@{name}").parse()?;
    let signer = ExternalSigner::new(world.keys.clone(), world.clock.clone(), None)?;
    let (stop, stopped) = watch::channel(false);
    let serving = tokio::spawn(serve(
        Socket::bind(&address).await?,
        signer,
        tokensmith_core::Supervisor::alone(),
        stopped,
    ));
    let mut client = Client::v1(Path::new(&format!("\0{name}"))).await?;
    client.metadata().await?;
    let refused = Socket::bind(&address).await.err().context("taken")?;
    ensure!(matches!(refused, SocketError::InUse(_)) && refused.to_string().contains(&name), "{refused}");

    stranger(&name)?;
    stop.send_replace(true);
    serving.await?;
    drop(Socket::bind(&address).await?);
    Ok(())
}

/// Another user is turned away. Only root can become one.
#[cfg(target_os = "linux")]
fn stranger(name: &str) -> Result<()> {
    use std::os::unix::fs::MetadataExt;
    use std::os::unix::process::CommandExt;
    use std::process::Command;

    if fs::metadata("/proc/self")?.uid() != 0 {
        println!("not root: nobody to turn away");
        return Ok(());
    }
    // Reads until the signer hangs up; 0 bytes are the only answer that a stranger gets.
    let program = "import socket,sys\n\
         s = socket.socket(socket.AF_UNIX)\n\
         s.connect('\\0' + sys.argv[1])\n\
         s.settimeout(20)\n\
         try:\n    \
             s.sendall(b'PRI * HTTP/2.0\\r\\n\\r\\nSM\\r\\n\\r\\n\\0\\0\\0\\4\\0\\0\\0\\0\\0')\n    \
             print(len(s.recv(100)))\n\
         except (BrokenPipeError, ConnectionResetError):\n    print(0)\n";
    let run = |uid: u32| -> Result<String> {
        let output =
            Command::new("python3").args(["-c", program, name]).uid(uid).current_dir("/").output()?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    };
    ensure!(run(65534)? == "0", "a stranger was answered");
    ensure!(run(0)? != "0", "root was not");
    Ok(())
}
