//! Volumes at their real mount paths. Without the test harness, whose threads would share one namespace: this program
//! starts itself again for each case.

#![expect(clippy::unwrap_used, reason = "a test that fails here says where")]

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;

use tokensmith_agent::disk::{Root, Tmpfs};
use tokensmith_agent::payload::{File, Payload, Secret};
use tokensmith_agent::pod::Ownership;
use tokensmith_core::clock::SystemClock;
use tokensmith_exec::namespace::{Placement, enter};
use tokensmith_objects::LocalPath;

/// The command, and before it the placements: `volume`, `sub_path` or nothing, `target`, then `--`.
const CHILD: &str = "--enter";

type Case = fn(&World);

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args.first().is_some_and(|arg| arg == CHILD) {
        child(&args[1..]);
    }
    // What the harness would answer.
    if args.iter().any(|arg| arg == "--list") {
        println!("namespace: test");
        return;
    }
    let world = World::new();
    let cases: [(&str, Case); 9] = [
        ("puts a volume where it is expected", exists),
        ("makes a mount path that does not exist", missing),
        ("makes several of them in one folder", several),
        ("follows the machine's links", var_run),
        ("shows a part of a volume", part),
        ("sees updates", updates),
        ("names what it cannot do", errors),
        ("is the user's own who is not root", ordinary),
        ("leaves nothing behind", leaves_nothing),
    ];
    for (name, case) in cases {
        case(&world);
        println!("namespace: {name} ... ok");
    }
}

/// A fresh process: enters, and becomes the command.
fn child(args: &[String]) -> ! {
    use std::os::unix::process::CommandExt;
    let end = args.iter().position(|arg| arg == "--").expect("a command");
    let placements: Vec<Placement> =
        args[..end].iter().map(|text| serde_json::from_str(text).expect("a placement")).collect();
    if let Err(error) = enter(&placements) {
        eprintln!("{error}");
        std::process::exit(if error.to_string().contains("no mount namespace") { 77 } else { 1 });
    }
    let error = Command::new(&args[end + 1]).args(&args[end + 2..]).exec();
    panic!("{error}");
}

struct World {
    dir: tempfile::TempDir,
    root: Root,
}

impl World {
    fn new() -> World {
        let dir = tempfile::tempdir().unwrap();
        // An ordinary user must get here, too.
        fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o755)).unwrap();
        for (folder, mode) in [("etc", 0o755), ("etc/below", 0o755), ("there", 0o755)] {
            fs::create_dir(dir.path().join(folder)).unwrap();
            fs::set_permissions(dir.path().join(folder), PermissionsExt::from_mode(mode)).unwrap();
        }
        fs::write(dir.path().join("etc/hosts"), "hosts").unwrap();
        fs::write(dir.path().join("etc/below/file"), "below").unwrap();
        symlink("hosts", dir.path().join("etc/link")).unwrap();
        let root = Root::open(&dir.path().join("root"), Tmpfs::Never, Arc::new(SystemClock::new())).unwrap();
        fs::set_permissions(dir.path().join("root"), PermissionsExt::from_mode(0o755)).unwrap();
        let world = World { dir, root };
        world.write("t");
        world
    }

    fn write(&self, token: &str) {
        let mut payload = Payload::default();
        for path in ["token", "sub/file"] {
            let data = Secret::new(token.as_bytes().to_vec());
            payload.insert(LocalPath::try_from(path).unwrap(), File { data, mode: 0o644, user: None });
        }
        self.root.volume("n", "p", "v").unwrap().write(&payload, &Ownership::default()).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn placement(&self, sub_path: Option<&str>, target: impl AsRef<Path>) -> Placement {
        Placement {
            volume: self.root.volume("n", "p", "v").unwrap().path(),
            sub_path: sub_path.map(str::to_owned),
            target: target.as_ref().to_owned(),
        }
    }

    fn command(&self, program: &Path, placements: &[Placement], script: &str) -> Command {
        let mut command = Command::new(program);
        command.arg(CHILD);
        command.args(placements.iter().map(|placement| serde_json::to_string(placement).unwrap()));
        command.args(["--", "sh", "-c", script]).current_dir(self.dir.path());
        command
    }

    /// What a script sees with volumes in their places; `None` where no namespace can be had.
    fn sees(&self, placements: &[Placement], script: &str) -> Option<String> {
        let exe = std::env::current_exe().unwrap();
        seen(self.command(&exe, placements, script).output().unwrap())
    }
}

fn seen(output: Output) -> Option<String> {
    let error = String::from_utf8(output.stderr).unwrap();
    if output.status.code() == Some(77) {
        println!("skipped: {}", error.trim());
        return None;
    }
    assert!(output.status.success(), "{error}");
    Some(String::from_utf8(output.stdout).unwrap())
}

fn expect(seen: Option<String>, want: &str) {
    if let Some(seen) = seen {
        assert_eq!(seen, want);
    }
}

fn exists(world: &World) {
    let target = world.path("there");
    let placements = [world.placement(None, &target)];
    expect(
        world.sees(&placements, "cat there/token; cat there/sub/file; pwd"),
        &format!("tt{}\n", world.dir.path().display()),
    );
    // Read-only, and for this process alone.
    let script = "echo x 2>/dev/null >there/..data/token || echo refused";
    expect(world.sees(&placements, script), "refused\n");
    assert_eq!(fs::read_dir(&target).unwrap().count(), 0);
}

fn missing(world: &World) {
    let placements = [world.placement(None, world.path("etc/secrets/deep/tokens"))];
    let script = "cat etc/secrets/deep/tokens/token etc/hosts etc/link etc/below/file; ls etc | tr '\\n' ' '";
    expect(world.sees(&placements, script), "thostshostsbelowbelow hosts link secrets ");
    // What is below that folder is the machine's; what is put into it is not.
    if world.sees(&placements, "echo x > etc/below/new; echo x > etc/new; rm etc/below/new").is_some() {
        assert!(!world.path("etc/new").exists());
    }
}

fn several(world: &World) {
    let targets = ["etc/a/x", "etc/a/y", "etc/b", "etc/below/c/d"];
    let placements = targets.map(|target| world.placement(None, world.path(target)));
    let script = "for d in etc/a/x etc/a/y etc/b etc/below/c/d; do cat $d/token; done; cat etc/below/file";
    expect(world.sees(&placements, script), "ttttbelow");
}

fn var_run(world: &World) {
    // As on a machine: /var/run -> /run, and nothing of secrets in it.
    symlink(world.path("etc"), world.path("run")).unwrap();
    let placements = [world.placement(None, world.path("run/secrets/tokens"))];
    expect(world.sees(&placements, "cat run/secrets/tokens/token etc/secrets/tokens/token"), "tt");
    let placements = [world.placement(None, "/var/run/secrets/tokensmith-test/serviceaccount")];
    let before = fs::read_dir("/var/run/").unwrap().count();
    expect(world.sees(&placements, "cat /var/run/secrets/tokensmith-test/serviceaccount/token"), "t");
    assert_eq!(fs::read_dir("/var/run/").unwrap().count(), before, "no litter");
}

fn part(world: &World) {
    let placements = [
        world.placement(Some("token"), world.path("etc/new-file")),
        world.placement(Some("token"), world.path("etc/hosts")),
        world.placement(Some("sub"), world.path("there")),
    ];
    expect(world.sees(&placements, "cat etc/new-file etc/hosts there/file"), "ttt");
}

fn updates(world: &World) {
    use std::io::{BufRead, BufReader, Write};
    use std::process::Stdio;
    let exe = std::env::current_exe().unwrap();
    let placements = [world.placement(None, world.path("etc/secrets/tokens"))];
    let script = "cat etc/secrets/tokens/token; echo; read x; cat etc/secrets/tokens/token";
    let mut child = world
        .command(&exe, &placements, script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::with_capacity(1, child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    world.write("t2");
    let _ = child.stdin.take().unwrap().write_all(b"go\n");
    expect(seen(child.wait_with_output().unwrap()).map(|rest| line + &rest), "t\nt2");
    world.write("t");
}

fn errors(world: &World) {
    let exe = std::env::current_exe().unwrap();
    let says = |placement: Placement, want: String| {
        let output = world.command(&exe, &[placement], "true").output().unwrap();
        if output.status.code() != Some(77) {
            assert_eq!(String::from_utf8(output.stderr).unwrap().trim(), want);
            assert_eq!(output.status.code(), Some(1));
        }
    };
    says(
        world.placement(None, "/no-such-folder-of-tokensmith/x"),
        "there is no /no-such-folder-of-tokensmith/x and it cannot be made: the root folder cannot be made anew".into(),
    );
    let hosts = world.path("etc/hosts");
    says(
        world.placement(None, &hosts),
        format!("cannot mount at {}: Not a directory (os error 20)", hosts.display()),
    );
    let inside = world.path("etc/hosts/x");
    says(
        world.placement(None, &inside),
        format!("cannot mount at {}: Not a directory (os error 20)", inside.display()),
    );
    let mut gone = world.placement(None, world.path("there"));
    gone.volume = world.path("gone");
    says(
        gone,
        format!(
            "cannot open volume {}: No such file or directory (os error 2)",
            world.path("gone").display()
        ),
    );
    symlink("/etc", world.path("planted")).unwrap();
    let mut link = world.placement(None, world.path("there"));
    link.volume = world.path("planted");
    says(
        link,
        format!("cannot open volume {}: Not a directory (os error 20)", world.path("planted").display()),
    );
}

/// As `nobody`, if this is root; else all of the above was it.
fn ordinary(world: &World) {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let exe = world.path("copy");
    fs::copy(std::env::current_exe().unwrap(), &exe).unwrap();
    fs::set_permissions(&exe, PermissionsExt::from_mode(0o755)).unwrap();
    let run = |placements: &[Placement], script: &str| {
        let inner = world.command(&exe, placements, script);
        let mut command = Command::new("setpriv");
        command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]);
        command.arg(inner.get_program()).args(inner.get_args()).current_dir(world.dir.path());
        match command.output() {
            Ok(output) => seen(output),
            Err(error) => {
                println!("skipped: setpriv: {error}");
                None
            }
        }
    };
    let placements = [
        world.placement(None, world.path("there")),
        world.placement(None, world.path("etc/secrets/tokens")),
        world.placement(None, "/var/run/secrets/tokensmith-test/serviceaccount"),
    ];
    let script = "cat there/token etc/secrets/tokens/token etc/below/file; id -u; \
                  cat /var/run/secrets/tokensmith-test/serviceaccount/token; \
                  umount there 2>/dev/null || echo stays; echo x 2>/dev/null >there/x || echo refused";
    expect(run(&placements, script), "ttbelow65534\ntstays\nrefused\n");
}

fn leaves_nothing(world: &World) {
    let mut names: Vec<_> =
        fs::read_dir(world.path("etc")).unwrap().map(|e| e.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["below", "hosts", "link"]);
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!table.contains(world.dir.path().to_str().unwrap()), "{table}");
    assert!(!Path::new("/run/secrets/tokensmith-test").exists());
}
