"""A real server for the suites with real clients."""

import json
import os
import pathlib
import subprocess
import time

import pytest

BINARY = os.environ["TOKENSMITH_BIN"]
# Where what kubectl is told and prints is written down, by test: tests/kubectl/older.py compares two such files.
TRANSCRIPT = os.environ.get("TRANSCRIPT")
calls: dict = {}


class Server:
    """A `tokensmith serve` process; `home` holds its data, its kubeconfig and its log."""

    def __init__(self, home: pathlib.Path, *args: str, port: int = 0):
        self.home, self.kubeconfig = home, home / "admin.kubeconfig"
        ready = home / "ready"
        self.log = open(home / "log", "wb")
        self.process = subprocess.Popen(
            [BINARY, "serve", f"--kubeconfig={self.kubeconfig}", f"--ready-file={ready}", f"--secure-port={port}", *args],
            # As an image does: a test may ask for a server that keeps nothing.
            env={**os.environ, "TOKENSMITH_DATA_DIR": f"{home}/data"},
            stdout=self.log, stderr=self.log, cwd=home)
        deadline = time.monotonic() + 60
        while not (ready.exists() and ready.read_text().strip()):
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError((home / "log").read_text())
            time.sleep(0.05)
        self.url = ready.read_text().strip()

    def env(self, kubeconfig=None) -> dict:
        """The environment of a client."""
        return {**os.environ, "KUBECONFIG": str(kubeconfig or self.kubeconfig), "HOME": str(self.home)}

    def kubectl(self, *args: str, code: int = 0, stdin: str | None = None, kubeconfig=None) -> str:
        """Runs kubectl; gives its standard output (its standard error for an expected failure)."""
        done = subprocess.run(["kubectl", *args], env=self.env(kubeconfig), input=stdin, capture_output=True, text=True, timeout=60)
        assert done.returncode == code, f"kubectl {' '.join(args)}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        self.stdout, self.stderr = done.stdout, done.stderr
        test = os.environ.get("PYTEST_CURRENT_TEST", "").split(" ")[0]
        calls.setdefault(test, []).append({"args": args, "code": code, "stdout": done.stdout, "stderr": done.stderr})
        return done.stdout if code == 0 else done.stderr

    def json(self, *args: str):
        return json.loads(self.kubectl(*args, "-o", "json"))

    def ca_file(self) -> pathlib.Path:
        """The server's CA as a file of its own."""
        import base64

        path = self.home / "ca.crt"
        data = self.kubectl("config", "view", "--raw", "-o", "jsonpath={.clusters[0].cluster.certificate-authority-data}")
        path.write_bytes(base64.b64decode(data))
        return path

    def stop(self):
        self.process.terminate()
        self.process.wait(10)
        self.log.close()


def pytest_sessionfinish():
    if TRANSCRIPT:
        pathlib.Path(TRANSCRIPT).write_text(json.dumps(calls))


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    started = Server(tmp_path_factory.mktemp("server"), "--anonymous-oidc")
    yield started
    started.stop()
