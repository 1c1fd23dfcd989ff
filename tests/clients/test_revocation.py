"""`keys revoke` with a verifier whose cache is warm, as an operator does it: what the answer promises is what go-oidc does. And a
poke opens nothing anywhere. What each verifier does, tests/verifiers measures."""

import json
import os
import ssl
import subprocess
import time
import urllib.error
import urllib.request

import jwt
import pytest
from conftest import BINARY, Server

AUDIENCE = "https://reader.example"


class Issuer(Server):
    """A server, and its operator."""

    def run(self, *args: str, code: int = 0) -> str:
        env = {**os.environ, "KUBECONFIG": str(self.kubeconfig)}
        done = subprocess.run([BINARY, *args], env=env, capture_output=True, text=True, timeout=60)
        assert done.returncode == code, f"{args}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        self.told = done.stderr
        return done.stdout.strip()

    def phase(self, phase: str) -> str:
        """The one key in a phase, once there is one."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            keys = json.loads(self.run("keys", "list", "-o", "json"))["keys"]
            found = [key["id"] for key in keys if key["phase"] == phase]
            if found:
                return found[0]
            time.sleep(0.05)
        raise AssertionError(f"no key is {phase}")

    def mint(self) -> str:
        return self.run("token", "create", "default", "--audience", AUDIENCE)

    def poke(self) -> str:
        return self.run("keys", "poke", "--audience", AUDIENCE)

    def revoke(self, *flags: str):
        self.run("keys", "revoke", self.phase("active"), *flags, "--force", "--reason=stolen")


@pytest.fixture
def issuer(tmp_path):
    started = Issuer(tmp_path, "--anonymous-oidc", "--ephemeral", "--signing-algorithm=ES256")
    # So that who fetches from now on knows it.
    started.phase("prepared")
    yield started
    started.stop()


@pytest.fixture
def go_oidc(issuer):
    """Asks a go-oidc v3 verifier that was started once."""
    name = json.loads(issuer.kubectl("get", "--raw", "/.well-known/openid-configuration"))["issuer"]
    program = os.environ["TOKENSMITH_GO"] + "/verifiers"
    verifier = subprocess.Popen([program, f"-issuer={name}", f"-audience={AUDIENCE}", f"-ca={issuer.ca_file()}", "go-oidc"],
                                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert verifier.stdout.readline().startswith("ready ")

    def ask(token: str) -> str:
        print("verify " + token, file=verifier.stdin, flush=True)
        return verifier.stdout.readline().strip()

    yield ask
    verifier.stdin.close()
    assert verifier.wait(10) == 0


def refuses(ask, token: str) -> str:
    """What it says in the end: go-oidc answers who has waited for a key set a moment before it keeps it."""
    deadline = time.monotonic() + 5
    while (said := ask(token)) == "taken" and time.monotonic() < deadline:
        time.sleep(0.01)
    return said


def test_go_oidc_v3_goes_on_until_it_is_poked(issuer, go_oidc):
    stolen = issuer.mint()
    assert go_oidc(stolen) == "taken"
    issuer.revoke()
    assert "go-oidc v3" in issuer.told and "keys poke" in issuer.told
    # The spare that signs now is known: nothing makes it fetch.
    good = issuer.mint()
    assert [go_oidc(good), go_oidc(stolen)] == ["taken", "taken"]
    assert go_oidc(issuer.poke()).startswith("refused: failed to verify signature")
    assert refuses(go_oidc, stolen).startswith("refused: failed to verify signature")
    assert go_oidc(good) == "taken"


def test_go_oidc_v3_follows_the_first_token_of_a_fresh_key(issuer, go_oidc):
    stolen = issuer.mint()
    assert go_oidc(stolen) == "taken"
    refusal = issuer.run("keys", "revoke", issuer.phase("active"), "--fresh", code=3)
    assert refusal == "" and "PyJWT" in issuer.told and "--force --reason" in issuer.told
    spare = issuer.phase("prepared")
    issuer.revoke("--fresh")
    assert "PyJWT (PyJWKClient), until" in issuer.told
    assert issuer.phase("prepared") == spare != issuer.phase("active")
    assert "FORCED (revoke --fresh): stolen" in issuer.run("keys", "history")
    assert go_oidc(stolen) == "taken"
    assert go_oidc(issuer.mint()) == "taken", "it asks at once"
    assert refuses(go_oidc, stolen).startswith("refused")


def test_a_poke_opens_nothing(issuer):
    """Not even where the key is not looked for by its kid: no key of the set verifies it."""
    poke = issuer.poke()
    tls = ssl.create_default_context(cafile=issuer.ca_file())
    request = urllib.request.Request(issuer.url + "/api", headers={"Authorization": "Bearer " + poke})
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, context=tls)
    assert refused.value.code == 401
    keys = jwt.PyJWKClient(issuer.url + "/openid/v1/jwks", ssl_context=tls).get_signing_keys()
    assert len(keys) == 2
    for key in keys:
        with pytest.raises(jwt.InvalidSignatureError):
            jwt.decode(poke, key, algorithms=["ES256"], audience=AUDIENCE)
    # All but the signature is as in a real one.
    options = {"verify_signature": False, "verify_exp": True, "verify_nbf": True, "verify_iat": True, "verify_aud": True}
    claims = jwt.decode(poke, audience=AUDIENCE, options=options)
    real = jwt.decode(issuer.mint(), options={"verify_signature": False})
    assert claims["iss"] == real["iss"] and claims["exp"] - claims["iat"] == real["exp"] - real["iat"]
    assert len(poke.split(".")[2]) == len(issuer.mint().split(".")[2])
