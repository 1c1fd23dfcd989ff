"""The guide's uses of projected tokens, by applications in Go, Python and JavaScript, against a service that verifies with
go-oidc; through files that `tokensmith project` keeps, and through the sidecar."""

import datetime
import ipaddress
import json
import os
import pathlib
import signal
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request

import pytest
from conftest import BINARY

HERE = pathlib.Path(__file__).parent
GUIDE = HERE.parent / "guide-volumes"
GO = pathlib.Path(os.environ["TOKENSMITH_GO"])
AUDIENCE = "https://api.example.com"
POD = f"""
apiVersion: v1
kind: Pod
metadata: {{name: client}}
spec:
  serviceAccountName: caller
  containers:
  - name: app
    image: app:1.0
    env:
    - {{name: TOKEN_PATH, value: /var/run/secrets/tokens/token}}
    volumeMounts:
    - {{name: tokens, mountPath: /var/run/secrets/tokens, readOnly: true}}
  volumes:
  - name: tokens
    projected:
      sources:
      - serviceAccountToken: {{audience: "{AUDIENCE}", expirationSeconds: 3600, path: token}}
"""
SUBJECT = "system:serviceaccount:default:caller"


def wait_for(what, limit=30):
    """Waits until `what()` gives something true, and gives it."""
    deadline = time.monotonic() + limit
    while time.monotonic() < deadline:
        if found := what():
            return found
        time.sleep(0.05)
    raise AssertionError("it did not come in time")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """The service's own CA and certificate, for 127.0.0.1 and localhost."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    home = tmp_path_factory.mktemp("certificate")
    now = datetime.datetime.now(datetime.timezone.utc)
    names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]

    def name(text):
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

    def make(subject, key, ca_key, ca):
        return (x509.CertificateBuilder().subject_name(name(subject)).issuer_name(name("CA")).public_key(key.public_key())
                .serial_number(x509.random_serial_number()).not_valid_before(now - datetime.timedelta(minutes=5))
                .not_valid_after(now + datetime.timedelta(days=1))
                .add_extension(x509.BasicConstraints(ca=ca, path_length=None), True)
                .add_extension(x509.SubjectAlternativeName(names), False)
                .sign(ca_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))

    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    (home / "ca.crt").write_bytes(make("CA", ca_key, ca_key, True))
    (home / "tls.crt").write_bytes(make("app", key, ca_key, False))
    (home / "tls.key").write_bytes(key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    return home


@pytest.fixture(scope="module")
def app(server, certificate):
    """The service: (URL, HOST:PORT of its gRPC)."""
    process = subprocess.Popen(
        [GO / "app", f"-issuer={server.url}", f"-audience={AUDIENCE}", f"-ca={server.ca_file()}",
         f"-cert={certificate}/tls.crt", f"-key={certificate}/tls.key"], stdout=subprocess.PIPE, text=True)
    web, rpc = process.stdout.readline().split()
    yield f"https://{web}/", rpc
    process.kill()
    process.wait()


class Agent:
    """A `tokensmith` process that stays: `project` or `proxy`."""

    def __init__(self, server, home, *args):
        self.home, ready = home, home / "ready"
        self.log = open(home / "agent.log", "wb")
        env = {**os.environ, "KUBECONFIG": str(server.kubeconfig)}
        self.process = subprocess.Popen([BINARY, *args, f"--ready-file={ready}"], env=env, cwd=home,
                                        stdout=self.log, stderr=self.log)
        wait_for(lambda: self.process.poll() is not None or (ready.exists() and ready.read_text()))
        assert self.process.poll() is None, (home / "agent.log").read_text()
        self.address = ready.read_text().strip()

    def stop(self):
        self.process.terminate()
        assert self.process.wait(10) == 0, (self.home / "agent.log").read_text()
        self.log.close()


@pytest.fixture(scope="module")
def token_file(server, tmp_path_factory):
    """The file that `tokensmith project` keeps, at its path in the container."""
    home = tmp_path_factory.mktemp("project")
    (home / "pod.yaml").write_text(POD)
    agent = Agent(server, home, "project", "-f", "pod.yaml", "--ensure", "--root=root")
    yield home / "root/default/client/rootfs/app/var/run/secrets/tokens/token"
    agent.stop()
    # Its mounts stay otherwise: a program may be using them.
    subprocess.run([BINARY, "project", "remove", f"--root={home}/root"], check=True)


@pytest.fixture(scope="module")
def sidecar(server, token_file, tmp_path_factory):
    """The sidecar's address; it serves the projected token."""
    agent = Agent(server, tmp_path_factory.mktemp("sidecar"), "proxy", f"--token-file={token_file}", "--listen=127.0.0.1:0")
    yield agent.address
    agent.stop()


def run(*args, certificate, **env):
    done = subprocess.run(args, env={**os.environ, "CA_FILE": f"{certificate}/ca.crt", **env}, capture_output=True,
                          text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_go(app, token_file, certificate):
    assert run(GO / "uses", "http", token_file, app[0], certificate=certificate) == f"200 {SUBJECT}"


def test_go_grpc(app, token_file, certificate):
    assert run(GO / "uses", "grpc", token_file, app[1], certificate=certificate) == f"SERVING {SUBJECT}"


def test_python(app, token_file, certificate):
    assert run(sys.executable, HERE / "python/uses.py", token_file, app[0], certificate=certificate) == SUBJECT


def test_javascript(app, token_file, certificate):
    extra = {"NODE_EXTRA_CA_CERTS": f"{certificate}/ca.crt"}
    assert run("node", HERE / "node/uses.mjs", token_file, app[0], certificate=certificate, **extra) == SUBJECT


def test_no_token_is_refused(app, certificate):
    tls = ssl.create_default_context(cafile=certificate / "ca.crt")
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(app[0], context=tls, timeout=20)
    assert refused.value.code == 401


def test_sidecar_gives_the_token(app, sidecar, token_file):
    with urllib.request.urlopen(f"http://{sidecar}/token", timeout=20) as answer:
        body = json.load(answer)
    assert body["token"] == token_file.read_text()
    assert datetime.datetime.fromisoformat(body["expirationTimestamp"]) > datetime.datetime.now(datetime.timezone.utc)
    browser = urllib.request.Request(f"http://{sidecar}/token", headers={"Origin": "https://evil.example"})
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(browser, timeout=20)
    assert refused.value.code == 403


def test_grpc_through_the_sidecar(server, app, token_file, certificate, tmp_path):
    """The client knows neither token nor TLS."""
    agent = Agent(server, tmp_path, "proxy", f"--token-file={token_file}", "--listen=127.0.0.1:0",
                  f"--upstream=https://{app[1]}", f"--upstream-ca-file={certificate}/ca.crt")
    assert run(GO / "uses", "plain", agent.address, certificate=certificate) == f"SERVING {SUBJECT}"
    agent.stop()


def test_exec(server, app, certificate, tmp_path):
    """The program of the guide, with its paths as they are, and no container around it."""
    (tmp_path / "pod.yaml").write_text(POD)
    env = {**os.environ, "KUBECONFIG": str(server.kubeconfig), "CA_FILE": f"{certificate}/ca.crt", "SERVICE": app[0]}
    script = 'exec "$0" "$1" "$TOKEN_PATH" "$SERVICE"'
    done = subprocess.run([BINARY, "project", "-f", "pod.yaml", "--ensure", "--exec", "sh", "-c", script, sys.executable,
                           HERE / "python/uses.py"], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, SUBJECT), done.stderr


def test_exec_passes_signals_and_the_exit_code_on(server, tmp_path):
    (tmp_path / "pod.yaml").write_text(POD)
    env = {**os.environ, "KUBECONFIG": str(server.kubeconfig)}
    script = "trap 'exit 42' TERM; echo started; while :; do sleep 0.1; done"
    child = subprocess.Popen([BINARY, "project", "-f", "pod.yaml", "--ensure", "--exec", "sh", "-c", script],
                             cwd=tmp_path, env=env, stdout=subprocess.PIPE, text=True)
    assert child.stdout.readline() == "started\n"
    child.send_signal(signal.SIGTERM)
    assert child.wait(20) == 42
