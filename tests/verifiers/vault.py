"""The server of Vault, set up as docs/recipes.md says, but over its HTTP API; tests/docs runs the recipes themselves."""

import json
import os
import pathlib
import socket
import subprocess
import time
import urllib.error
import urllib.request

from running import Go

# Worth nothing: of a server that listens on loopback for minutes.
ROOT = "root"


def ports() -> int:
    """A free port, the next of which is free, too: the server takes that for its cluster."""
    while True:
        with socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", 0))
            port = first.getsockname()[1]
            try:
                second.bind(("127.0.0.1", port + 1))
            except OSError:
                continue
            return port


class Vault(Go):
    """One that tokens are shown to by logging in."""

    def __init__(self, issuer, method: str):
        self.method, self.issuer = method, issuer
        programs = pathlib.Path(os.environ["TOKENSMITH_VAULT"])
        self.binary, address = programs / "vault", f"127.0.0.1:{ports()}"
        self.url = f"http://{address}/v1/"
        super().__init__([self.binary, "server", "-dev", "-dev-no-store-token", f"-dev-root-token-id={ROOT}", f"-dev-listen-address={address}",
                          f"-dev-plugin-dir={programs / 'plugins'}", "-log-level=warn"], env={"HOME": str(issuer.home)}, home=issuer.home)

    def ask(self, path: str, body: dict | None = None) -> dict:
        """POST with a body, GET without."""
        request = urllib.request.Request(self.url + path, data=None if body is None else json.dumps(body).encode(), headers={"X-Vault-Token": ROOT})
        with urllib.request.urlopen(request, timeout=60) as reply:
            return json.loads(reply.read() or b"{}")

    def ready(self) -> str:
        deadline = time.monotonic() + 120
        while True:
            try:
                self.ask("sys/health")
                break
            except OSError:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(self.said()) from None
                time.sleep(0.1)
        self.ask(f"sys/auth/{self.method}", {"type": self.method})
        self.configure()
        self.ask(f"auth/{self.method}/role/api", {
            "jwt": {"role_type": "jwt", "user_claim": "sub", "bound_audiences": self.issuer.audience, "bound_subject": "system:serviceaccount:default:default"},
            "kubernetes": {"bound_service_account_names": "default", "bound_service_account_namespaces": "default", "audience": self.issuer.audience},
        }[self.method])
        said = subprocess.run(["go", "version", "-m", self.binary], capture_output=True, text=True, check=True).stdout
        self.version = next(" ".join(line.split()[1:3]) for line in said.split("\n") if line.startswith("\tmod\t"))
        return self.version

    def configure(self) -> None:
        """Also with a token that it asks by, of whom the issuer's administrator says."""
        ca = self.issuer.ca.read_text()
        self.ask(f"auth/{self.method}/config", {
            "jwt": {"oidc_discovery_url": self.issuer.name, "oidc_discovery_ca_pem": ca},
            "kubernetes": {"kubernetes_host": self.issuer.url, "kubernetes_ca_cert": ca, "disable_local_ca_jwt": True, "token_reviewer_jwt": self.issuer.reviewer},
        }[self.method])

    def verify(self, token: str) -> str:
        try:
            self.ask(f"auth/{self.method}/login", {"role": "api", "jwt": token})
            return "taken"
        except urllib.error.HTTPError as refused:
            said = refused.read().decode().replace("\n", " ")
            return f"refused: {said}" if refused.code in (400, 403) else f"{refused.code}: {said}"
