//! Real processes, and waiting for what they do.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

/// A server, ended when dropped.
pub struct Running {
    child: Child,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Running {
    pub fn signal(&self, name: &str) {
        Command::new("kill").args([format!("-{name}"), self.child.id().to_string()]).status().unwrap();
    }

    pub fn running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends SIGTERM and waits for the end.
    pub fn stop(&mut self) -> Option<i32> {
        self.signal("TERM");
        until("it ends", || self.child.try_wait().unwrap().is_some());
        self.child.wait().unwrap().code()
    }
}

pub fn tokensmith(dir: &Path) -> Command {
    with_umask(dir, "022")
}

/// The command in a shell's umask.
pub fn with_umask(dir: &Path, umask: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", "umask \"$0\"; exec \"$@\"", umask, env!("CARGO_BIN_EXE_tokensmith")]);
    command.current_dir(dir).env_remove("KUBECONFIG").env_remove("TOKENSMITH_LOG").stdin(Stdio::null());
    command
}

/// Runs a command that must end by itself.
pub fn run(dir: &Path, args: &[&str]) -> Output {
    ended(tokensmith(dir).args(args))
}

/// Waits for the end of a command.
pub fn ended(command: &mut Command) -> Output {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut waited = 0;
    until("the command ends", || {
        waited += 1;
        let ended = child.try_wait().unwrap().is_some();
        if !ended && waited == LOOKS {
            let _ = child.kill();
        }
        ended
    });
    child.wait_with_output().unwrap()
}

pub fn serve(dir: &Path, args: &[&str]) -> Running {
    serve_with(tokensmith(dir), dir, args)
}

/// Starts a server and waits until it is ready.
pub fn serve_with(mut command: Command, dir: &Path, args: &[&str]) -> Running {
    let _ = fs::remove_file(dir.join("ready"));
    command.args(["serve", "--secure-port=0", "--ready-file=ready", "--signing-algorithm=ES256"]).args(args);
    let mut running = spawn(&mut command, dir);
    until("it is ready", || {
        assert!(running.child.try_wait().unwrap().is_none(), "it ended: {}", log_of(dir));
        fs::read_to_string(dir.join("ready")).is_ok_and(|s| !s.is_empty())
    });
    running
}

/// Starts what stays; it writes into `log`.
pub fn spawn(command: &mut Command, dir: &Path) -> Running {
    let log = fs::File::options().create(true).append(true).open(dir.join("log")).unwrap();
    Running { child: command.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap() }
}

/// A refusal in one line.
#[track_caller]
pub fn refused(output: &Output, code: i32, says: &str) {
    let error = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{error}");
    let one = error.lines().filter(|l| l.starts_with("error: ")).count() == 1;
    assert!(one && error.contains(says), "{error}");
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

pub fn log_of(dir: &Path) -> String {
    fs::read_to_string(dir.join("log")).unwrap_or_default()
}

/// As often a condition is looked at, every 50 ms.
const LOOKS: usize = 600;

pub fn until(what: &str, mut condition: impl FnMut() -> bool) {
    for _ in 0..LOOKS {
        if condition() {
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("never: {what}");
}
