"""A real kube-apiserver whose keys are our external signer's: what it makes of rotations, revocations, and of a signer that is gone.

    kube_apiserver.py           prints a row for each thing that was shown, with how long it took; ends with 1 where one does not hold

The key set's max-age is 40 s, and so the signer's hint: what follows it within 310 s by default does so within 50 s here. Needs
kube-apiserver and etcd of tests/differ/build; tests/verifiers/more/run starts it."""

import base64
import contextlib
import json
import os
import pathlib
import re
import ssl
import sys
import tempfile
import time
import urllib.error
import urllib.request

HERE = pathlib.Path(__file__).parent
ROOT = HERE.parents[2]
sys.path[:0] = [str(HERE.parent), str(ROOT / "tests"), str(ROOT / "tests/differ")]

import grpc  # noqa: E402
import jwt  # noqa: E402
import servers  # noqa: E402
from issuer import AUDIENCE, MAX_AGE, OTHER, Issuer  # noqa: E402

ACCOUNT = "/api/v1/namespaces/default/serviceaccounts/app"
PODS = "/api/v1/namespaces/default/pods"
# For how long kube-apiserver remembers a token that it has taken, and some for a slow machine.
REMEMBERS, SLACK = 10, 5
SYNCED = "fetch_keys_success_timestamp"


def row(what: str, said: str) -> None:
    print(f"{time.strftime('%H:%M:%S')}  {what:<58} {said}", flush=True)


def since(begun: float) -> str:
    return f"{time.monotonic() - begun:.1f} s"


class Refused(Exception):
    pass


class KubeAPIServer:
    """kube-apiserver with etcd; its accounts' tokens are signed by the issuer's socket."""

    def __init__(self, stack: contextlib.ExitStack, folder: pathlib.Path, programs: pathlib.Path, issuer: Issuer):
        (folder / "users.csv").write_text(servers.USERS)
        self.folder, self.issuer = folder, issuer
        self.url = servers.kubernetes(stack, folder, programs, [
            f"--service-account-issuer={issuer.name}", f"--api-audiences={issuer.name}", f"--service-account-signing-endpoint={issuer.socket}",
            f"--service-account-jwks-uri={issuer.name}/openid/v1/jwks"])
        self.tls = ssl._create_unverified_context()

    def ask(self, method: str, path: str, body=None, token: str = servers.ADMIN, timeout: float = 90):
        request = urllib.request.Request(self.url + path, method=method, data=None if body is None else json.dumps(body).encode(),
                                         headers={"Authorization": "Bearer " + token, "Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, context=self.tls, timeout=timeout) as reply:
                text = reply.read().decode()
                return json.loads(text) if text[:1] in "{[" else text
        except urllib.error.HTTPError as refused:
            said = refused.read().decode()
            with contextlib.suppress(ValueError):
                said = json.loads(said).get("message", said)
            raise Refused(f"{refused.code} {said}") from None
        except TimeoutError:
            raise Refused(f"no answer for {timeout} s") from None

    def mint(self, *audiences: str, pod: dict | None = None, timeout: float = 90) -> str:
        spec = {"audiences": list(audiences) or [self.issuer.name], "expirationSeconds": 3600}
        if pod:
            spec["boundObjectRef"] = {"apiVersion": "v1", "kind": "Pod", "name": pod["metadata"]["name"], "uid": pod["metadata"]["uid"]}
        return self.ask("POST", ACCOUNT + "/token", {"spec": spec}, timeout=timeout)["status"]["token"]

    def takes(self, token: str, audience: str | None = None) -> bool:
        """As a credential; for another audience, by a TokenReview."""
        if audience:
            spec = {"token": token, "audiences": [audience]}
            return bool(self.ask("POST", "/apis/authentication.k8s.io/v1/tokenreviews", {"spec": spec})["status"].get("authenticated"))
        try:
            return self.ask("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", {}, token)["status"]["userInfo"]["username"].endswith(":app")
        except Refused as refused:
            assert str(refused).startswith("401"), refused
            return False

    def metrics(self) -> dict[str, float]:
        """What it counts of the signer."""
        lines = re.findall(r"^apiserver_externaljwt_(\S+?) (\S+)$", self.ask("GET", "/metrics"), re.MULTILINE)
        return {name: float(value) for name, value in lines if "_bucket" not in name}

    def failures(self) -> float:
        """How many syncs of keys have failed."""
        return sum(value for name, value in self.metrics().items() if name.startswith("fetch_keys_request_total") and 'code="OK"' not in name)

    def keys(self) -> set[str]:
        return {key["kid"] for key in self.ask("GET", "/openid/v1/jwks")["keys"]}


def published(issuer: Issuer) -> dict:
    with urllib.request.urlopen(issuer.name + "/openid/v1/jwks", context=issuer.tls, timeout=20) as reply:
        return json.load(reply)


def verified(issuer: Issuer, token: str, audience: str) -> str:
    """By a library that has our published keys alone; gives the key's id."""
    kid = jwt.get_unverified_header(token)["kid"]
    key = jwt.PyJWKSet.from_dict(published(issuer))[kid]
    jwt.decode(token, key, algorithms=[key.algorithm_name], audience=audience, issuer=issuer.name)
    return kid


def signed(issuer: Issuer, token: str, expired: int) -> str:
    """A token with the claims of another, that expired so many seconds ago, signed by the socket as kube-apiserver has it sign."""
    claims = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))
    exp = int(time.time()) - expired
    claims |= {"iat": exp - 600, "nbf": exp - 600, "exp": exp}
    text = base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=")
    assert 1 << 7 <= len(text) < 1 << 14
    with grpc.insecure_channel(f"unix:{issuer.socket}") as channel:
        reply = channel.unary_unary("/v1.ExternalJWTSigner/Sign")(b"\x0a" + bytes([len(text) & 0x7F | 0x80, len(text) >> 7]) + text, timeout=20)
    # Header and signature: field 1 and 2, both texts.
    parts, at = [], 0
    while at < len(reply):
        length, shift, at = 0, 0, at + 1
        while True:
            byte, at = reply[at], at + 1
            length, shift = length | (byte & 0x7F) << shift, shift + 7
            if byte < 0x80:
                break
        parts.append(reply[at:at + length].decode())
        at += length
    return f"{parts[0]}.{text.decode()}.{parts[1]}"


def until(holds, limit: float, what: str) -> str:
    """How long it takes until it does."""
    begun = time.monotonic()
    while not holds():
        if time.monotonic() - begun > limit:
            raise SystemExit(f"not within {limit} s: {what}")
        time.sleep(0.2)
    return since(begun)


def refused_after(api: KubeAPIServer, token: str, limit: float, what: str) -> str:
    return until(lambda: not api.takes(token), limit + SLACK, what)


def claims(api: KubeAPIServer) -> None:
    issuer = api.issuer
    good = api.mint()
    assert verified(issuer, good, issuer.name) == issuer.active() and api.takes(good)
    row("a token that it had signed", "verifies at our published keys, and is taken")
    assert api.keys() == {key["kid"] for key in published(issuer)["keys"]}
    row("its own key set", "the keys that we publish")
    two = api.mint(OTHER, AUDIENCE)
    assert verified(issuer, two, AUDIENCE) and api.takes(two, AUDIENCE)
    assert not api.takes(two) and not api.takes(api.mint(OTHER), AUDIENCE)
    row("two audiences; another audience", "taken for each of the two; refused")
    assert api.takes(signed(issuer, good, expired=30)) and not api.takes(signed(issuer, good, expired=90))
    row("expired 30 s ago; 90 s ago", "taken (its skew is 60 s); refused")
    pod = api.ask("POST", PODS, {"metadata": {"name": "web"}, "spec": {"serviceAccountName": "app", "containers": [{"name": "app", "image": "app"}]}})
    bound = api.mint(pod=pod)
    assert verified(issuer, bound, issuer.name) and api.takes(bound)
    api.ask("DELETE", f"{PODS}/web", {"gracePeriodSeconds": 0})
    row("a deleted pod's", f"refused after {refused_after(api, bound, REMEMBERS, 'a deleted pod')}")


def rotations(api: KubeAPIServer) -> None:
    issuer = api.issuer
    for number in (1, 2):
        old, begun = api.mint(), issuer.active()
        issuer.rotate()
        new = api.mint()
        assert verified(issuer, new, issuer.name) == issuer.active() != begun
        assert api.takes(old) and api.takes(new) and verified(issuer, old, issuer.name) == begun
        row(f"scheduled rotation {number}", "tokens of the key of before and of the new one taken at once, here and there")
    took = until(lambda: api.keys() == {key["kid"] for key in published(issuer)["keys"]}, MAX_AGE + SLACK, "its key set is ours")
    row("its key set is ours again", f"after {took}")
    old = api.mint()
    issuer.force()
    begun = time.monotonic()
    new = api.mint()
    assert verified(issuer, new, issuer.name) == issuer.active() and api.takes(new) and api.takes(old)
    row("forced rotation, to a key that it had not fetched", f"a token of it minted and taken after {since(begun)}; the key of before taken")


def revocations(api: KubeAPIServer) -> None:
    issuer = api.issuer
    # It fetches, so that it knows the spare.
    issuer.wait_for_spares()
    fetched = api.metrics()[SYNCED]
    until(lambda: api.metrics()[SYNCED] > fetched, MAX_AGE + SLACK, "a sync")
    stolen = api.mint()
    assert api.takes(stolen)
    issuer.revoke()
    new = api.mint()
    assert verified(issuer, new, issuer.name) == issuer.active() and api.takes(new)
    with contextlib.suppress(KeyError):
        verified(issuer, stolen, issuer.name)
        raise SystemExit("a revoked key is published")
    row("revoked, the spare signs", "no longer published; new tokens taken at once")
    row("  the revoked key's token", f"refused after {refused_after(api, stolen, MAX_AGE + REMEMBERS, 'a revoked key')} (a sync within {MAX_AGE} s, and 10 s)")

    issuer.wait_for_spares()
    stolen = api.mint()
    assert api.takes(stolen)
    issuer.revoke()
    assert not api.takes(issuer.poke())
    row("revoked, and poked", f"refused after {refused_after(api, stolen, REMEMBERS, 'a revoked key, poked')}")

    issuer.wait_for_spares()
    stolen = api.mint()
    assert api.takes(stolen)
    issuer.revoke(fresh=True)
    new = api.mint()
    assert verified(issuer, new, issuer.name) == issuer.active() and api.takes(new)
    row("revoked --fresh", f"new tokens taken at once, the revoked key's refused after {refused_after(api, stolen, REMEMBERS, 'a revoked key')}")


def killed(api: KubeAPIServer, stack: contextlib.ExitStack) -> None:
    issuer = api.issuer
    old, unseen = api.mint(), api.mint()
    assert api.takes(old)
    port = int(issuer.url.rsplit(":", 1)[1])
    issuer.process.kill()
    issuer.process.wait()
    down, failures = time.monotonic(), api.failures()
    assert api.takes(old) and api.takes(unseen)
    row("the signer killed (SIGKILL)", "tokens go on being taken")
    asked = time.monotonic()
    try:
        api.mint()
        raise SystemExit("it minted without a signer")
    except Refused as refused:
        row("  asked for a token", f"after {since(asked)}: {refused}")
    assert api.ask("GET", "/livez") == "ok" and api.ask("GET", "/readyz") == "ok"
    row("  /livez, /readyz", "ok")
    # It waits a minute for an answer.
    took = until(lambda: api.failures() > failures, MAX_AGE + 60 + SLACK, "a sync that fails")
    log = (api.folder / "kube-apiserver.log").read_text()
    says = re.findall(r"] \"?(when syncing supported public keys[^\n]*)", log)
    row("  a sync of its keys fails", f"after {took}: {says[-1] if says else 'nothing is said'}")
    assert api.takes(old)
    row("  a token of before, meanwhile", "taken")
    anew = Issuer(issuer.home, keeps=True, port=port)
    stack.callback(anew.stop)
    api.issuer, begun = anew, time.monotonic()
    row("the signer started again", f"after {since(down)}")

    def mints() -> bool:
        try:
            return bool(api.mint(timeout=20))
        except Refused:
            return False
    took = until(mints, 150, "it mints again")
    new = api.mint()
    assert verified(anew, new, anew.name) == anew.active() and api.takes(new) and api.takes(old)
    row("  asked for a token", f"minted again after {took}, by our keys; tokens of before taken")
    synced = api.metrics()[SYNCED]
    until(lambda: api.metrics()[SYNCED] > synced, MAX_AGE + SLACK, "a sync")
    row("  its keys", f"synced again within {since(begun)}")
    anew.force()
    assert verified(anew, api.mint(), anew.name) == anew.active()
    row("  forced rotation", "a token of the new key minted and taken")
    counted = api.metrics()
    row("what it counted", ", ".join(f"{name} {value:.0f}" for name, value in sorted(counted.items()) if "_total" in name))


def pair(stack: contextlib.ExitStack, programs: pathlib.Path, keeps: bool) -> KubeAPIServer:
    """An issuer, and a kube-apiserver whose tokens it signs."""
    home = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="external-signer-")))
    for part in ("issuer", "kube"):
        (home / part).mkdir()
    issuer = Issuer(home / "issuer", keeps=keeps)
    stack.callback(lambda: issuer.process.poll() is None and issuer.stop())
    begun = time.monotonic()
    api = KubeAPIServer(stack, home / "kube", programs, issuer)
    version = api.ask("GET", "/version")["gitVersion"]
    row(f"kube-apiserver {version}, --service-account-signing-endpoint", f"ready after {since(begun)}")
    api.ask("POST", "/api/v1/namespaces/default/serviceaccounts", {"metadata": {"name": "app"}})
    return api


def main() -> None:
    programs = pathlib.Path(os.environ.get("KUBE_APISERVER", ROOT / "target/differ/bin"))
    with contextlib.ExitStack() as stack:
        api = pair(stack, programs, keeps=False)
        claims(api)
        rotations(api)
        revocations(api)
    with contextlib.ExitStack() as stack:
        killed(pair(stack, programs, keeps=True), stack)


if __name__ == "__main__":
    main()
