"""PyJWT and jose across rotations: the server's clock is moved, theirs is not."""

import datetime
import json
import os
import pathlib
import ssl
import subprocess

import jwt
import pytest
from conftest import Server

AUDIENCE = "https://reader.example"
# A second more: the server's clock is finer than this one.
PERIOD = datetime.timedelta(hours=26, seconds=1)


@pytest.fixture
def server(tmp_path):
    started = Server(tmp_path, "--anonymous-oidc", "--ephemeral", "--test-clock", "--signing-algorithm=ES256",
                     "--key-rotation-period=26h")
    yield started
    started.stop()


def rotate(server):
    """Moves the clock by a period: the published spare signs from then on, and a new one is published."""
    clock = "/testing/v1/clock"
    now = datetime.datetime.fromisoformat(json.loads(server.kubectl("get", "--raw", clock))["now"]) + PERIOD
    server.kubectl("replace", "--raw", clock, "-f", "-", stdin=json.dumps({"now": now.isoformat()}))


def test_pyjwt(server):
    tls = ssl.create_default_context(cafile=server.ca_file())
    client = jwt.PyJWKClient(server.url + "/openid/v1/jwks", ssl_context=tls)
    fetch, fetched = client.fetch_data, []
    client.fetch_data = lambda: fetched.append(1) or fetch()

    def verify(token):
        # Tokens of the server's time are not of this machine's.
        options = {"verify_exp": False, "verify_iat": False, "verify_nbf": False}
        jwt.decode(token, client.get_signing_key_from_jwt(token), algorithms=["ES256"], audience=AUDIENCE, options=options)

    mint = lambda: server.kubectl("create", "token", "default", f"--audience={AUDIENCE}").strip()
    first = mint()
    verify(first)
    assert len(fetched) == 1
    rotate(server)
    second = mint()
    verify(second)
    verify(first)
    assert len(fetched) == 1, "the key was in the set before it signed"
    rotate(server)
    third = mint()
    with pytest.raises(jwt.PyJWKClientError):
        verify(third)
    assert len(fetched) == 1, "it fetches no more for 30 s"
    client.cooldown_duration = 0
    verify(third)
    assert len(fetched) == 2, "a kid that is not in the set makes it fetch once"
    assert len({jwt.get_unverified_header(token)["kid"] for token in (first, second, third)}) == 3


def test_jose(server):
    admin = server.kubectl("config", "view", "--raw", "-o", "jsonpath={.users[0].user.token}")
    env = {**os.environ, "NODE_EXTRA_CA_CERTS": str(server.ca_file()), "URL": server.url, "ADMIN": admin,
           "JOSE": os.environ["TOKENSMITH_NODE"] + "/node_modules/jose/dist/webapi/index.js"}
    script = pathlib.Path(__file__).parent / "node" / "rotation.test.mjs"
    done = subprocess.run(["node", "--test", str(script)], env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "pass 1" in done.stdout, done.stdout
