"""A server whose clock is moved, with the clouds' services beside it; volumes as `tokensmith project` writes them; and an issuer of
a test's own, which signs whatever it is asked to."""

import base64
import datetime
import http.server
import json
import os
import pathlib
import re
import ssl
import subprocess
import threading
import time
import urllib.request

import jwt
from conftest import BINARY, Server
from cryptography.hazmat.primitives.asymmetric import rsa

# As a cloud would see it: nobody on this machine has the name.
ISSUER = "https://oidc.example.com"
ELSEWHERE = "https://elsewhere.example.com"
SUBJECT = "system:serviceaccount:default:caller"


class Federation(Server):
    """`serve --sts`. Its time stands still, and begins with the system's."""

    def __init__(self, home: pathlib.Path, clouds: str, config: dict, *flags: str):
        self.roots: set[pathlib.Path] = set()
        self.config = home / "sts.yaml"
        self.config.write_text(json.dumps(config))
        super().__init__(home, "--ephemeral", "--test-clock", f"--service-account-issuer={ISSUER}", f"--sts={clouds}",
                         f"--sts-config={self.config}", "--sts-port=0", *flags)
        self.ca = self.ca_file()
        self.admin = self.kubectl("config", "view", "--raw", "-o", "jsonpath={.users[0].user.token}")
        deadline = time.monotonic() + 10
        while not (found := re.search(r"^sts +(https://\S+)", (home / "log").read_text(), re.MULTILINE)):
            assert time.monotonic() < deadline, (home / "log").read_text()
            time.sleep(0.05)
        self.sts = found.group(1)

    def ask(self, method: str, path: str, body=None) -> str:
        request = urllib.request.Request(self.url + path, method=method, data=None if body is None else json.dumps(body).encode(),
                                         headers={"Authorization": "Bearer " + self.admin, "Content-Type": "application/json"})
        with urllib.request.urlopen(request, context=ssl.create_default_context(cafile=self.ca), timeout=60) as reply:
            return reply.read().decode()

    def now(self) -> datetime.datetime:
        return datetime.datetime.fromisoformat(json.loads(self.ask("GET", "/testing/v1/clock"))["now"])

    def advance(self, **span) -> None:
        now = self.now() + datetime.timedelta(**span)
        self.ask("PUT", "/testing/v1/clock", {"now": now.isoformat()})

    def answered(self, cloud: str, code: int) -> int:
        """How many requests of a cloud's SDK were answered so."""
        found = re.search(rf'^tokensmith_sts_requests_total{{cloud="{cloud}",code="{code}"}} (\d+)', self.ask("GET", "/metrics"), re.MULTILINE)
        return int(found.group(1)) if found else 0

    def token(self, *audiences: str, account: str = "default/caller", duration: str = "1h") -> str:
        """A token of an account, as TokenRequest gives it."""
        namespace, name = account.split("/")
        self.kubectl("apply", "-f", "-", stdin=json.dumps(
            {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": namespace}}))
        wanted = [f"--audience={audience}" for audience in audiences]
        done = subprocess.run([BINARY, "token", "create", account, f"--duration={duration}", *wanted], env=self.env(), check=True,
                              capture_output=True, text=True, timeout=60)
        return done.stdout.strip()

    def project(self, root: pathlib.Path, audience: str, name="client") -> pathlib.Path:
        """The file of a pod's projected token, written anew: at the same place each time, as the kubelet does it."""
        if root in self.roots:
            self.remove(root)
        self.roots.add(root)
        source = {"serviceAccountToken": {"audience": audience, "expirationSeconds": 3600, "path": "token"}}
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": {
            "serviceAccountName": "caller",
            "containers": [{"name": "app", "image": "app:1.0", "volumeMounts": [{"name": "tokens", "mountPath": "/var/run/secrets/tokens"}]}],
            "volumes": [{"name": "tokens", "projected": {"sources": [source]}}]}}
        manifest = self.home / "pod.yaml"
        manifest.write_text(json.dumps(pod))
        subprocess.run([BINARY, "project", "-f", manifest, "--ensure", f"--root={root}", "--tmpfs=never", "--once"], env=self.env(),
                       check=True, capture_output=True, timeout=60)
        return root / f"default/{name}/rootfs/app/var/run/secrets/tokens/token"

    def remove(self, root: pathlib.Path) -> None:
        subprocess.run([BINARY, "project", "remove", f"--root={root}"], check=True, capture_output=True, timeout=60)

    def stop(self):
        # Their mounts stay otherwise.
        for root in self.roots:
            self.remove(root)
        super().stop()
        assert self.process.returncode == 0, (self.home / "log").read_text()


class Elsewhere:
    """An issuer for each of many names, `https://elsewhere.example.com/NAME`, with one key; what it publishes is a test's."""

    def __init__(self):
        self.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.sets: dict[str, list] = {}
        elsewhere = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                name, _, what = self.path.lstrip("/").partition("/")
                document = {"keys": elsewhere.sets[name]} if what == "jwks" else {
                    "issuer": f"{ELSEWHERE}/{name}", "jwks_uri": f"{ELSEWHERE}/{name}/jwks"}
                body = json.dumps(document).encode()
                self.send_response(200 if name in elsewhere.sets else 404)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def jwk(self, **members) -> dict:
        """The key as a JWK, with other members; None takes one away."""
        numbers = self.key.public_key().public_numbers()

        def encoded(number):
            return base64.urlsafe_b64encode(number.to_bytes((number.bit_length() + 7) // 8, "big")).rstrip(b"=").decode()

        jwk = {"kty": "RSA", "use": "sig", "kid": "key", "n": encoded(numbers.n), "e": encoded(numbers.e), **members}
        return {name: value for name, value in jwk.items() if value is not None}

    def publish(self, name: str, *keys: dict) -> dict:
        """Publishes keys; gives the entry of `issuers`."""
        self.sets[name] = list(keys)
        return {"issuer": f"{ELSEWHERE}/{name}", "documents": f"{self.url}/{name}"}

    def sign(self, name: str, now: datetime.datetime, header=None, key=None, algorithm="RS256", **claims) -> str:
        """A token for an hour, with other claims; None takes one away."""
        at = int(now.timestamp())
        every = {"iss": f"{ELSEWHERE}/{name}", "sub": "someone", "iat": at, "nbf": at, "exp": at + 3600, **claims}
        every = {name: value for name, value in every.items() if value is not None}
        return jwt.encode(every, key or self.key, algorithm, headers={"kid": "key", "typ": None, **(header or {})})

    def stop(self):
        self.server.shutdown()


class App:
    """A program that logs in when it is told to, a line each time: the seconds that time moves on before. It has the environment that
    the cloud's documentation asks for, and nothing else."""

    def __init__(self, program: pathlib.Path, home: pathlib.Path, **env: str):
        import sys
        self.log = open(home / f"{program.stem}.log", "w+")
        self.process = subprocess.Popen([sys.executable, program], env={"PATH": os.environ["PATH"], "HOME": str(home), **env}, text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log)

    def after(self, **span) -> dict:
        self.process.stdin.write(f"{datetime.timedelta(**span).total_seconds()}\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        self.log.seek(0)
        assert line, self.log.read()
        return json.loads(line)

    def stop(self):
        self.process.stdin.close()
        self.process.wait(10)
        self.log.close()
