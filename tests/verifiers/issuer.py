"""A server whose clock is moved, and what it makes: tokens of every age, rotations, revocations."""

import datetime
import json
import pathlib
import ssl
import time
import urllib.error
import urllib.request

from conftest import Server

AUDIENCE, OTHER = "https://reader.example", "https://other.example"
# For how long verifiers may keep the key set: what goes by it is waited for. go-oidc 2.5 takes it for 30 s less.
MAX_AGE = 40
# A second more than the period: the server's clock is finer than this one.
PERIOD = datetime.timedelta(hours=26, seconds=1)
ALGORITHMS = ["RS256", "ES256", "ES384", "ES512"]
DAY = 86_400


class Issuer(Server):
    """Its time stands still, and begins with the system's; but one that keeps its data, and can be started anew in the same folder, has the system's."""

    def __init__(self, home: pathlib.Path, *flags: str, keeps: bool = False, port: int = 0):
        profiles = [{"name": name.lower(), "audiences": [f"by-{name}"], "algorithm": name} for name in ALGORITHMS]
        (home / "profiles").write_text(json.dumps({"profiles": profiles}))
        self.socket = home / "signer.sock"
        (home / "ready").unlink(missing_ok=True)
        super().__init__(home, "--anonymous-oidc", *([] if keeps else ["--ephemeral", "--test-clock"]), "--key-rotation-period=26h", f"--key-set-max-age={MAX_AGE}s",
                         "--key-replica-lag=1s", f"--token-profile-file={home}/profiles", f"--external-signer-socket={self.socket}", *flags, port=port)
        self.ca = self.ca_file()
        self.tls = ssl.create_default_context(cafile=self.ca)
        self.admin = self.kubectl("config", "view", "--raw", "-o", "jsonpath={.users[0].user.token}")
        # Whom verifiers are started as.
        self.audience = AUDIENCE
        # The token by which verifiers ask about tokens.
        self.reviewer = self.admin
        self.name = self.ask("GET", "/.well-known/openid-configuration")["issuer"]
        self.began, self.periods = datetime.datetime.now(datetime.timezone.utc) if keeps else self.now(), 0
        self.wait_for_spares()

    def ask(self, method: str, path: str, body=None):
        request = urllib.request.Request(self.url + path, method=method, data=None if body is None else json.dumps(body).encode(),
                                         headers={"Authorization": "Bearer " + self.admin, "Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, context=self.tls, timeout=120) as reply:
                return json.load(reply)
        except urllib.error.HTTPError as refused:
            raise AssertionError(f"{method} {path}: {refused.code} {refused.read().decode()}") from refused

    def now(self) -> datetime.datetime:
        return datetime.datetime.fromisoformat(self.ask("GET", "/testing/v1/clock")["now"])

    def move(self, to: datetime.datetime, jump: bool = False) -> None:
        self.ask("PUT", "/testing/v1/clock", {"now": to.isoformat(), "jump": jump})

    def keys(self) -> list[dict]:
        return self.ask("GET", "/admin/v1/keys")["keys"]

    def wait_for_spares(self) -> None:
        """Until every key that signs has a published one beside it, so that who fetches from now on knows it."""
        deadline = time.monotonic() + 60
        while True:
            phases = {phase: sum(key["phase"] == phase for key in self.keys()) for phase in ("active", "prepared")}
            if phases["active"] == phases["prepared"] == len(ALGORITHMS):
                return
            assert time.monotonic() < deadline, phases
            time.sleep(0.05)

    def mint(self, *audiences: str, life: int = 30 * DAY, pod: dict | None = None, at: float | None = None) -> str:
        """A token, issued at another time than the server's if it is said."""
        spec = {"audiences": list(audiences) or [self.audience], "expirationSeconds": life}
        if pod:
            spec["boundObjectRef"] = {"apiVersion": "v1", "kind": "Pod", "name": pod["metadata"]["name"], "uid": pod["metadata"]["uid"]}
        if at is not None:
            self.move(datetime.datetime.fromtimestamp(at, datetime.timezone.utc), jump=True)
        token = self.ask("POST", "/api/v1/namespaces/default/serviceaccounts/default/token", {"spec": spec})["status"]["token"]
        if at is not None:
            self.move(self.began, jump=True)
        return token

    def pod(self, name: str) -> dict:
        return self.ask("POST", "/api/v1/namespaces/default/pods",
                        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": {"containers": [{"name": "app", "image": "app:1.0"}]}})

    def delete(self, pod: dict) -> None:
        path = f"/api/v1/namespaces/default/pods/{pod['metadata']['name']}"
        self.ask("DELETE", path, {"apiVersion": "v1", "kind": "DeleteOptions", "gracePeriodSeconds": 0})

    def rotate(self) -> None:
        """Lets a period pass: the published spare signs, by schedule. Then the clock is put back, for tokens must be of the verifiers' time."""
        before = self.active()
        self.periods += 1
        self.move(self.began + self.periods * PERIOD)
        self.wait_for_spares()
        self.move(self.began, jump=True)
        assert self.active() != before

    def force(self) -> None:
        """A rotation that an operator forces: a key signs that was published a moment ago, and that nobody has fetched; the one of before stays."""
        spoken = {"force": True, "reason": "an operator is in a hurry"}
        known = {key["id"] for key in self.keys()}
        self.ask("POST", "/admin/v1/keys/prepare", {"algorithm": "RS256", **spoken})
        new = next(key["id"] for key in self.keys() if key["id"] not in known and key["algorithm"] == "RS256")
        self.ask("POST", f"/admin/v1/keys/{new}/activate", spoken)
        assert self.active() == new

    def active(self) -> str:
        """The key that signs where nothing is said."""
        return next(key["id"] for key in self.keys() if key["phase"] == "active" and key["algorithm"] == "RS256")

    def revoke(self, fresh: bool = False) -> None:
        before = self.active()
        self.ask("POST", f"/admin/v1/keys/{before}/revoke", {"force": True, "reason": "stolen", **({"fresh": True} if fresh else {})})
        assert self.active() != before

    def poke(self) -> str:
        return self.ask("POST", "/admin/v1/keys/poke", {"audience": self.audience})["token"]
