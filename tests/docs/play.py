"""Runs every command of a page as it stands, in namespaces of its own: `unshare -mnpf … python3 play.py PAGE`.

The network has nothing but loopback, so that a page may use any port; /run, /mnt, /var/lib/tokensmith and the folder that the
commands run in are its own. What a page stands on (a server, an account, a file) its stage in stages.py makes. A command that
serves goes on in the background until the page ends or starts another of its kind; every other one must end as the stage says,
by default with 0."""

import fcntl
import os
import pathlib
import re
import shlex
import signal
import socket
import struct
import subprocess
import sys
import time

import page
import stages

ROOT = pathlib.Path(__file__).resolve().parents[2]
SERVES = re.compile(r"tokensmith (serve|signer|proxy|project(?! (?:status|remove)\b)|issuer publish .*--watch)\b|oauth2-proxy\b|cargo run --release -- serve")


def own_world(home: pathlib.Path) -> None:
    """Loopback, and folders that are gone with the namespaces."""
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as up:
        fcntl.ioctl(up, 0x8914, struct.pack("16sh", b"lo", 1 | 64))  # SIOCSIFFLAGS: IFF_UP | IFF_RUNNING
    for folder in ("/run", "/mnt"):
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", folder], check=True)
    hosts = home / "hosts"
    hosts.write_text("127.0.0.1 localhost tokens.example.com\n127.0.0.2 api.example.com\n127.0.0.3 app.example.com\n::1 localhost\n")
    subprocess.run(["mount", "--bind", str(hosts), "/etc/hosts"], check=True)


class Stage:
    """Where a page is played."""

    def __init__(self, home: pathlib.Path):
        self.home, self.background, self.env = home, {}, dict(os.environ)
        self.work = home / "work"
        self.work.mkdir()
        shims = home / "bin"
        shims.mkdir()
        (shims / "tokensmith").symlink_to(os.environ["TOKENSMITH_BIN"])
        # A clone has its release below target/; the gate itself runs the tests.
        release = self.work / "target" / "release"
        release.mkdir(parents=True)
        (release / "tokensmith").symlink_to(os.environ["TOKENSMITH_BIN"])
        cargo = shims / "cargo"
        cargo.write_text('#!/bin/bash\n[ "$1 $2" = "run --release" ] && { shift 3; exec tokensmith "$@"; }\n'
                         '[ "$*" = "test --workspace" ] && exit 0\necho "no cargo here: $*" >&2; exit 1\n')
        cargo.chmod(0o755)
        self.env["PATH"] = f"{shims}:{self.env['PATH']}"
        self.env["HOME"] = str(home)
        for name in ("KUBECONFIG", "TOKENSMITH_DATA_DIR", "TOKENSMITH_BIN", "TOKENSMITH_NODE", "TOKENSMITH_GO"):
            self.env.pop(name, None)

    def sh(self, command: str, code: int | None = 0, env=None) -> str:
        """Runs a line of bash, gives what it printed (both streams)."""
        done = subprocess.run(["bash", "-o", "pipefail", "-c", command], cwd=self.work, env={**self.env, **(env or {})}, timeout=120,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if code is not None and done.returncode != code:
            raise AssertionError(f"{command}\nended with {done.returncode}, not {code}:\n{done.stdout}")
        return done.stdout

    def start(self, command: str, ready=None) -> None:
        """Starts what serves, and waits until `ready` holds."""
        kind = SERVES.search(command)
        kind = kind.group(1) or kind.group(0) if kind else command
        self.stop(kind)
        log = self.home / f"log-{len(list(self.home.glob('log-*')))}"
        with open(log, "wb") as out:
            process = subprocess.Popen(["bash", "-c", "exec " + command], cwd=self.work, env=self.env, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                                       start_new_session=True)
        self.background[kind] = process
        holds = ready or self.ready(kind, command, log)
        wait(lambda: process.poll() is not None or holds(), lambda: log.read_text())
        if process.poll() not in (None, 0):
            raise AssertionError(f"{command}\nended with {process.returncode}:\n{log.read_text()}")

    def ready(self, kind: str, command: str, log: pathlib.Path):
        def listens(port):
            return lambda: socket.socket().connect_ex(("127.0.0.1", port)) == 0
        if "serve" in kind.split():
            return lambda: "listens on https" in log.read_text()
        if kind == "proxy":
            return listens(8443 if "8443" in command else 8181)
        if kind == "oauth2-proxy":
            return listens(4180)
        if kind == "project":
            if "--exec" in command:
                return lambda: False  # it ends by itself
            root = self.work / re.search(r"--root (\S+)", command).group(1)
            return (lambda: root.exists()) if "--all" in command else lambda: any(root.rglob("token"))
        if kind.startswith("issuer publish"):
            return (self.work / "public" / ".well-known" / "openid-configuration").exists
        return lambda: True

    def stop(self, kind: str) -> None:
        process = self.background.pop(kind, None)
        if process and process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(60)


def wait(condition, said) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError("nothing came of it:\n" + said())
        time.sleep(0.05)


def play(path: pathlib.Path, home: pathlib.Path) -> None:
    text, name = path.read_text(), path.name
    scene = stages.SCENES.get(name, stages.Scene())
    stage = Stage(home)
    for number, subcommands, flags in page.named(text):
        help_ = stage.sh(shlex.join(["tokensmith", *subcommands, "--help"]))
        for flag in flags:
            if not re.search(rf"(?<![\w-]){re.escape(flag)}(?![\w-])", help_):
                raise AssertionError(f"{name}:{number}: tokensmith {' '.join(subcommands)} has no {flag}")
    items = list(page.items(text))
    print(f"{name}: {sum(isinstance(one, page.Command) for one in items)} commands in blocks, {len(list(page.named(text)))} in sentences")
    if items:
        scene.setup(stage)
    for item in items:
        if isinstance(item, page.File):
            scene.file(stage, item)
            continue
        skipped = next((why for start, why in stages.NOT_HERE.items() if item.text.startswith(start) or f"| {start}" in item.text), None)
        if skipped:
            print(f"  {item.line}: {item.text}\n     not run: {skipped}")
            continue
        before = next((do for start, do in scene.before.items() if item.text.startswith(start)), None)
        if before:
            before(stage)
        command = item.text
        for old, new in scene.replace(stage).items():
            command = command.replace(old, new)
        print(f"  {item.line}: {item.text}", flush=True)
        if command.startswith("export "):
            variable, value = command[7:].split("=", 1)
            stage.env[variable] = stage.sh(f"cd {shlex.quote(str(stage.work))}; echo -n {value}")
        elif SERVES.match(command) and "--once" not in command:
            stage.start(re.sub(r"\s+#.*", "", command))
        else:
            code = next((code for start, code in scene.codes.items() if item.text.startswith(start)), 0)
            said = stage.sh(command, code)
            shown = [line for line in item.output if line.strip()]
            if shown and re.fullmatch(r"[A-Z][A-Z ]+", shown[0]):
                # A table: its head is exact, its rows are an example.
                assert said.split("\n")[0].split() == shown[0].split(), f"{item.text}\nsays\n{said}\nand not\n{shown[0]}"
            elif shown and shown[0].startswith("error: "):
                assert said.startswith(" ".join(shown[0].split()[:5])), f"{item.text}\nsays\n{said}\nand not\n{shown[0]}"
        after = next((do for start, do in scene.after.items() if item.text.startswith(start)), None)
        if after:
            after(stage)


if __name__ == "__main__":
    place = pathlib.Path(sys.argv[2])
    own_world(place)
    play(pathlib.Path(sys.argv[1]), place)
