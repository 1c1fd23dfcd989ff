"""Kubeconfigs of many shapes: tokensmith takes what kubectl takes, as the same user, and refuses what kubectl refuses.

Each shape is a file in kubeconfigs/, whose first line says what comes of it: `as USER`, `refused`, or where the two differ and
why. crates/client/tests/client/kubeconfigs.rs reads the same files without kubectl."""

import base64
import json
import os
import pathlib
import re
import shutil
import socket
import string
import subprocess
import threading
import time

import pytest

from conftest import BINARY, Server

SHAPES = pathlib.Path(__file__).parent / "kubeconfigs"
TOKEN = "a-token-of-the-administrator"


def openssl(at: pathlib.Path, *args: str):
    subprocess.run(["openssl", *args], cwd=at, check=True, capture_output=True)


def certificate(at: pathlib.Path, name: str, subject: str, *extensions: str):
    openssl(at, "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", f"{name}.key")
    openssl(at, "req", "-new", "-key", f"{name}.key", "-subj", subject, "-out", f"{name}.csr")
    openssl(at, "x509", "-req", "-in", f"{name}.csr", "-CA", "clients.crt", "-CAkey", "clients.key", "-days", "2",
            "-out", f"{name}.crt", *extensions)


def pump(a: socket.socket, b: socket.socket):
    try:
        while data := a.recv(65536):
            b.sendall(data)
    except OSError:
        pass
    for end in (a, b):
        try:
            end.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass


class Proxy:
    """A proxy that speaks CONNECT, or SOCKS 5; it counts its tunnels."""

    def __init__(self, socks: bool):
        self.socks, self.tunnels = socks, 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        while True:
            client, _ = self.listener.accept()
            threading.Thread(target=self.serve, args=(client,), daemon=True).start()

    def serve(self, client: socket.socket):
        if self.socks:
            methods = client.recv(2)[1]
            client.recv(methods)
            client.sendall(b"\5\0")
            head = client.recv(4)
            host = socket.inet_ntoa(client.recv(4)) if head[3] == 1 else client.recv(client.recv(1)[0]).decode()
            port = int.from_bytes(client.recv(2), "big")
            answer = b"\5\0\0\1\0\0\0\0\0\0"
        else:
            head = b""
            while b"\r\n\r\n" not in head:
                head += client.recv(65536)
            host, port = re.match(rb"CONNECT ([^:]+):(\d+) ", head).groups()
            host, port, answer = host.decode(), int(port), b"HTTP/1.1 200 OK\r\n\r\n"
        upstream = socket.create_connection((host, port))
        self.tunnels += 1
        client.sendall(answer)
        threading.Thread(target=pump, args=(upstream, client), daemon=True).start()
        pump(client, upstream)


class World:
    def __init__(self, at: pathlib.Path):
        self.at = at
        openssl(at, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", "/CN=clients",
                "-keyout", "clients.key", "-out", "clients.crt", "-days", "2")
        (at / "client.ext").write_text("extendedKeyUsage=clientAuth\n")
        certificate(at, "client", "/CN=cert/O=system:masters", "-extfile", "client.ext")
        # Without extensions openssl writes the first version of X.509.
        certificate(at, "v1", "/CN=cert-v1/O=system:masters")
        (at / "tokens").write_text(f'{TOKEN},admin,1,"system:masters"\n')
        self.server = Server(at, f"--client-ca-file={at}/clients.crt", f"--token-auth-file={at}/tokens",
                             "--tls-san=kubernetes.default.svc")
        self.server.kubectl("create", "clusterrole", "minter", "--verb=create", "--resource=serviceaccounts/token")
        self.server.kubectl("create", "clusterrolebinding", "minter", "--clusterrole=minter", "--user=jane")
        ca = self.server.ca_file().read_bytes()
        (at / "bundle.crt").write_bytes(b"# our own CA\n" + ca + (at / "clients.crt").read_bytes() + b"that is all\n")
        shutil.copy(at / "clients.crt", at / "other.crt")
        (at / "token").write_text(TOKEN + "\n")
        (at / "empty").write_text("")
        shutil.copy(SHAPES / "plugin", at / "plugin")
        self.proxies = {"PROXY": Proxy(False), "SOCKS": Proxy(True)}
        text = lambda data: base64.b64encode(data).decode()
        self.values = {
            "SERVER": self.server.url, "PORT": self.server.url.rsplit(":", 1)[1], "TOKEN": TOKEN,
            "CA_DATA": text(ca), "CA_WRAPPED": "\n      ".join(re.findall(".{1,64}", text(ca))),
            "CERT_DATA": text((at / "client.crt").read_bytes()), "KEY_DATA": text((at / "client.key").read_bytes()),
            "PROXY": f"http://127.0.0.1:{self.proxies['PROXY'].port}",
            "SOCKS": f"socks5://127.0.0.1:{self.proxies['SOCKS'].port}",
        }

    def write(self, shape: pathlib.Path) -> pathlib.Path:
        path = self.at / "config"
        filled = string.Template(shape.read_bytes().decode()).substitute(self.values)
        path.write_bytes(filled.encode())
        return path

    def ask(self, program: str, kubeconfig, *args: str, **more: str) -> subprocess.CompletedProcess:
        environment = {k: v for k, v in os.environ.items() if "proxy" not in k.lower()}
        environment |= {"KUBECONFIG": str(kubeconfig), "HOME": str(self.at / "nobody"), **more}
        words = ["create", "token", "default"] if program == "kubectl" else ["token", "create", "default"]
        command = [program if program == "kubectl" else BINARY, *words, *args]
        return subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              timeout=60, cwd=self.at)

    def outcome(self, done: subprocess.CompletedProcess) -> str:
        """Who the server was asked by, which its ledger tells; or that nobody got a token."""
        if done.returncode != 0:
            assert done.returncode in (1, 2), done
            return "refused"
        payload = done.stdout.strip().split(".")[1]
        jti = json.loads(base64.urlsafe_b64decode(payload + "=="))["jti"]
        for _ in range(100):
            listed = subprocess.run([BINARY, "token", "list", "--output", "json"], env=self.server.env(),
                                    capture_output=True, text=True, check=True)
            for token in json.loads(listed.stdout)["tokens"]:
                if token["jti"] == jti:
                    return "as " + token["requester"]
            time.sleep(0.05)
        raise AssertionError(f"the ledger does not have {jti}")


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    made = World(tmp_path_factory.mktemp("kubeconfigs"))
    yield made
    made.server.stop()


def wanted(shape: pathlib.Path) -> tuple[str, str]:
    """What comes of it with kubectl and with tokensmith."""
    first = shape.read_text().splitlines()[0]
    if not first.startswith("# "):
        return "as admin", "as admin"
    differs = re.match("# kubectl (.+), tokensmith (.+): .+", first)
    return differs.groups() if differs else (first[2:], first[2:])


@pytest.mark.parametrize("shape", sorted(SHAPES.glob("*.yaml")), ids=lambda shape: shape.stem)
def test_as_kubectl_does(world, shape):
    path = world.write(shape)
    for program, want in zip(("kubectl", "tokensmith"), wanted(shape)):
        done = world.ask(program, path)
        assert world.outcome(done) == want, f"{program}: {done.stderr}"
        if program == "tokensmith":
            said = done.stderr.splitlines()
            assert TOKEN not in done.stderr and "s3cret" not in done.stderr, done.stderr
            if want == "refused":
                assert said[-1].startswith("error: ") and not any(line.startswith("error") for line in said[:-1]), said


def test_proxies_were_gone_through(world):
    assert all(proxy.tunnels >= 2 for proxy in world.proxies.values()), "kubectl and tokensmith both"


def test_several_files(world):
    """The first file that has a name, or a current context, wins; files that are not there are passed over."""
    whole = world.write(SHAPES / "token.yaml").read_text()
    first, second = world.at / "first", world.at / "second"
    first.write_text('users: [{name: u, user: {token: nobodys}}]\n')
    second.write_text(whole)
    for files, want in [
        ([world.at / "nowhere", second], "as admin"),
        ([first, second], "refused"),
        ([second, first], "as admin"),
        ([second, second, "", first], "as admin"),
        ([world.at / "nowhere"], "refused"),
    ]:
        kubeconfig = ":".join(map(str, files))
        for program in ("kubectl", "tokensmith"):
            done = world.ask(program, kubeconfig)
            assert world.outcome(done) == want, f"{program} {kubeconfig}: {done.stderr}"


@pytest.mark.parametrize("flags,want", [
    (["--as=jane"], "as jane"),
    (["--as=jane", "--as-group=devs", "--as-group=ops", "--as-uid=7"], "as jane"),
    (["--as=jane", "--as-user-extra=why=tests"], "as jane"),
    (["--as-group=devs"], "refused"),
    (["--as=bob"], "refused"),
    (["--user=nobody"], "refused"),
    (["--cluster=nowhere"], "refused"),
    (["--context=nowhere"], "refused"),
    (["--context=c", "--cluster=k", "--user=u"], "as admin"),
    (["--insecure-skip-tls-verify"], "as admin"),
    (["--certificate-authority=other.crt"], "refused"),
    (["--certificate-authority=nowhere"], "refused"),
    (["--certificate-authority=ca.crt", "--insecure-skip-tls-verify"], "refused"),
    (["--tls-server-name=kubernetes.default.svc"], "as admin"),
    (["--tls-server-name=elsewhere.example"], "refused"),
    (["--request-timeout=30s"], "as admin"),
    (["--request-timeout=30"], "as admin"),
    (["--request-timeout=0"], "as admin"),
    (["--request-timeout=soon"], "refused"),
    (["--proxy-url=http://127.0.0.1:1"], "refused"),
    (["--proxy-url=ftp://127.0.0.1:1"], "refused"),
    (["--server=https://127.0.0.1:1"], "refused"),
])
def test_flags(world, flags, want):
    path = world.write(SHAPES / "token.yaml")
    for program in ("kubectl", "tokensmith"):
        done = world.ask(program, path, *flags)
        assert world.outcome(done) == want, f"{program}: {done.stderr}"


def test_environment_of_proxies(world):
    """This machine is behind no proxy, whatever the environment says."""
    path = world.write(SHAPES / "token.yaml")
    for variables in ({"HTTPS_PROXY": "http://127.0.0.1:1"}, {"https_proxy": "socks5://127.0.0.1:1", "NO_PROXY": "x"},
                      {"HTTP_PROXY": "http://127.0.0.1:1", "REQUEST_METHOD": "GET"}):
        for program in ("kubectl", "tokensmith"):
            assert world.outcome(world.ask(program, path, **variables)) == "as admin", (program, variables)


def test_the_words(world):
    """What is refused says what is wrong and how to mend it, in one line."""
    for shape, words in {
        "exec-not-installed": "no-such-plugin not found: get it from example.com",
        "exec-fails": "failed with exit code 3",
        "auth-provider": 'auth-provider "gcp"',
        "user-missing": 'there is no user "u"',
        "unknown-field-of-the-user": "fields that kubeconfigs do not have: impersonate",
        "token-number": "users[0].user.token must be text",
        "proxy-url-unreachable": "through the proxy http://127.0.0.1:1 (the kubeconfig's proxy-url)",
        "token-file-empty": "holds no token",
        "as-nobody-with-groups": "without a user",
    }.items():
        done = world.ask("tokensmith", world.write(SHAPES / f"{shape}.yaml"))
        assert words in done.stderr, f"{shape}: {done.stderr}"
