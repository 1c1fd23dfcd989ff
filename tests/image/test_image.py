"""The image that is built without a daemon, run as the strictest runtime would: a stranger's uid, a read-only root, no
capabilities. What it prints says how large it is."""

import gzip
import hashlib
import io
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import tarfile
import time

import pytest

import layout
from conftest import BINARY

HERE = pathlib.Path(__file__).parent
STRANGER = 12345


class Image:
    """A layout, read as a runtime reads it, and unpacked."""

    def __init__(self, folder: pathlib.Path, root: pathlib.Path):
        self.folder, self.root = folder, root
        assert json.loads((folder / "oci-layout").read_text()) == {"imageLayoutVersion": "1.0.0"}
        [described] = json.loads((folder / "index.json").read_text())["manifests"]
        self.manifest = json.loads(self.blob(described))
        self.config = json.loads(self.blob(self.manifest["config"]))
        [packed] = self.manifest["layers"]
        plain = gzip.decompress(self.blob(packed))
        assert self.config["rootfs"]["diff_ids"] == [f"sha256:{hashlib.sha256(plain).hexdigest()}"]
        with tarfile.open(fileobj=io.BytesIO(plain)) as tar:
            self.entries = {entry.name: entry for entry in tar}
            tar.extractall(root, filter=None) if sys.version_info >= (3, 12) else tar.extractall(root)
        for name, entry in self.entries.items():
            os.chown(root / name, entry.uid, entry.gid)
            os.chmod(root / name, entry.mode)
        # Where a runtime mounts its own.
        for name in ("proc", "dev"):
            (root / name).mkdir()

    def blob(self, described: dict) -> bytes:
        kind, digest = described["digest"].split(":")
        data = (self.folder / "blobs" / kind / digest).read_bytes()
        assert (hashlib.new(kind, data).hexdigest(), len(data)) == (digest, described["size"])
        return data


@pytest.fixture(scope="module")
def image(tmp_path_factory, request):
    home = tmp_path_factory.mktemp("image")
    done = subprocess.run(
        [sys.executable, HERE / "layout.py", "--strip", "--binary", BINARY, "--to", home / "layout"],
        check=True, capture_output=True, text=True)
    with request.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
        print(f"\n{done.stdout}", end="")
    (home / "root").mkdir()
    return Image(home / "layout", home / "root")


@pytest.fixture
def place(image, tmp_path):
    """Where a container's own folders are; skipped where none may be made."""
    allowed = os.geteuid() == 0 and subprocess.run(["unshare", "--mount", "--pid", "--fork", "true"], capture_output=True).returncode == 0
    if not allowed:
        pytest.skip("namespaces are not permitted here: the image is built, and not run")
    return Place(image, tmp_path)


class Place:
    def __init__(self, image: Image, home: pathlib.Path):
        self.image, self.home, self.running = image, home, []
        self.shm, self.data = home / "shm", home / "data"
        self.shm.mkdir()
        self.shm.chmod(0o1777)
        self.data.mkdir()
        os.chown(self.data, STRANGER, STRANGER)
        # A stranger has to come by.
        for parent in [image.root, *image.root.parents, *home.parents, home]:
            if parent.stat().st_mode & 0o001 == 0:
                parent.chmod(parent.stat().st_mode | 0o011)

    def command(self, *args: str, volume: bool, env=()) -> list:
        settings = self.image.config["config"]
        values = json.dumps([*settings["Env"], *env])
        data = str(self.data) if volume else "-"
        return ["unshare", "--mount", "--pid", "--fork", "--kill-child", sys.executable, HERE / "inside.py", self.image.root, str(STRANGER), self.shm, data, values, "--",
                *settings["Entrypoint"], *args]

    def run(self, *args: str, volume: bool, code: int = 0) -> str:
        done = subprocess.run(self.command(*args, volume=volume), capture_output=True, text=True, timeout=120)
        assert done.returncode == code, (args, done.stdout, done.stderr, self.log())
        return done.stdout if code == 0 else done.stderr

    def start(self, *args: str, volume: bool):
        with open(self.home / "log", "ab") as log:
            self.running.append(subprocess.Popen(self.command(*args, volume=volume), stdout=log, stderr=log))

    def log(self) -> str:
        path = self.home / "log"
        return path.read_text() if path.exists() else ""

    def stop(self) -> int:
        """As a runtime stops the first process."""
        outer = self.running.pop()
        [inner] = [int(pid) for pid in pathlib.Path(f"/proc/{outer.pid}/task/{outer.pid}/children").read_text().split()]
        os.kill(inner, signal.SIGTERM)
        return outer.wait(60)

    def status(self) -> dict:
        children = pathlib.Path(f"/proc/{self.running[-1].pid}/task/{self.running[-1].pid}/children").read_text().split()
        text = pathlib.Path(f"/proc/{children[0]}/status").read_text()
        return dict(line.split(":\t", 1) for line in text.splitlines())


def test_the_same_binary_makes_the_same_image(image, tmp_path):
    subprocess.run([sys.executable, HERE / "layout.py", "--strip", "--binary", BINARY, "--to", tmp_path / "again"], check=True, capture_output=True)
    files = lambda folder: {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    assert files(image.folder) == files(tmp_path / "again")


def test_it_holds_what_the_dockerfile_says(image):
    settings, dockerfile = image.config["config"], (HERE.parents[1] / "Dockerfile").read_text()
    assert f"USER {settings['User']}" in dockerfile
    assert f"ENTRYPOINT {json.dumps(settings['Entrypoint'])}" in dockerfile
    assert f"CMD {json.dumps(settings['Cmd'])}" in dockerfile
    assert f"ENV {settings['Env'][0]}" in dockerfile
    for name, value in settings["Labels"].items():
        assert name in dockerfile, "a label is there, too"
        assert value and value != "0"
    for name in ("tokensmith", "data", "tmp", layout.ROOTS, "etc/passwd", "etc/group"):
        assert name in image.entries
    assert all(entry.mode & 0o6000 == 0 and entry.mtime == 0 for entry in image.entries.values())
    writable = {name for name, entry in image.entries.items() if entry.mode & 0o002}
    assert writable == {"tmp"}
    # A verifier in it trusts public issuers.
    assert (image.root / layout.ROOTS).read_text().count("BEGIN CERTIFICATE") > 50


def test_it_keeps_nothing_and_needs_no_folder(place):
    place.start("serve", "--bind-address=127.0.0.1", "--secure-port=0", "--ephemeral", "--signing-algorithm=ES256", volume=False)
    place.run("healthcheck", "--wait", "60s", volume=False)
    status = place.status()
    assert {status["Uid"].split()[0], status["Gid"].split()[0]} == {str(STRANGER)}
    assert {int(status[f"Cap{name}"], 16) for name in ("Inh", "Prm", "Eff", "Bnd", "Amb")} == {0}
    kubeconfig = re.search(r"^kubeconfig +(/dev/shm/\S+)", place.log(), re.M).group(1)
    token = place.run("token", "create", "default", "--kubeconfig", kubeconfig, volume=False)
    assert token.count(".") == 2
    assert place.stop() == 0, place.log()
    assert list(place.shm.iterdir()) == [], "it leaves nothing"
    assert "/data" in place.run("healthcheck", volume=False, code=1)


def test_its_volume_keeps_what_it_has(place):
    tokens = []
    for _ in range(2):
        place.start("serve", "--bind-address=127.0.0.1", "--secure-port=0", "--signing-algorithm=ES256", volume=True)
        place.run("healthcheck", "--wait", "60s", volume=True)
        tokens.append(place.run("token", "create", "default", "--audience", "vault", volume=True))
        (place.data / "minted").write_text(tokens[0])
        place.run("token", "inspect", "--file", "minted", "--server", "--audience", "vault", volume=True)
        assert place.stop() == 0, place.log()
    assert {path.stat().st_uid for path in place.data.iterdir() if path.name != "minted"} == {STRANGER}
    assert "no server runs on /data" in place.run("healthcheck", volume=True, code=1)


def test_without_a_volume_it_says_what_it_needs(place):
    error = place.run("serve", "--bind-address=127.0.0.1", "--secure-port=0", volume=False, code=1)
    assert re.search(r"^error: .*/data", error, re.M), error
