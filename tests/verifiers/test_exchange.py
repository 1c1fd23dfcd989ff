"""The guide's token exchange, as processes: a projected file's token is exchanged for another one, which a service takes that
verifies with go-oidc; for an hour of a clock that is moved. The file is kept by `tokensmith project`, at its own time, by libfaketime."""

import contextlib
import datetime
import json
import os
import pathlib
import subprocess
import urllib.parse
import urllib.request

import pytest

from conftest import BINARY
from issuer import AUDIENCE, Issuer
from running import Program

MANIFEST = pathlib.Path(__file__).parents[1] / "guide-volumes" / "token-exchange.yaml"
FAKETIME = next(iter(sorted(pathlib.Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))), None)
POLICY = f"""
serviceAccounts: {{audiences: ['https://auth.example.com']}}
rules:
- name: guide
  from: {{serviceAccount: {{namespace: default, name: my-service-account}}}}
  audiences: ['{AUDIENCE}']
  scopes: [orders.read]
  lifetime: 10m
"""
STEP = 300


class Application:
    """As the guide's: reads K8S_TOKEN_PATH, asks TOKEN_EXCHANGE_URL, and uses the answer until four fifths of its life are over."""

    def __init__(self, issuer: Issuer, path: pathlib.Path):
        self.issuer, self.path, self.token, self.until, self.exchanges = issuer, path, None, 0, 0

    def current(self, now: float) -> str:
        if now >= self.until:
            form = {"grant_type": "urn:ietf:params:oauth:grant-type:token-exchange", "subject_token": self.path.read_text(),
                    "subject_token_type": "urn:ietf:params:oauth:token-type:jwt", "audience": AUDIENCE, "scope": "orders.read"}
            request = urllib.request.Request(self.issuer.url + "/oauth2/token", data=urllib.parse.urlencode(form).encode())
            with urllib.request.urlopen(request, context=self.issuer.tls, timeout=60) as reply:
                answer = json.load(reply)
            assert (answer["token_type"], answer["expires_in"]) == ("Bearer", 600), answer
            self.token, self.until, self.exchanges = answer["access_token"], now + 0.8 * answer["expires_in"], self.exchanges + 1
        return self.token


@pytest.mark.skipif(FAKETIME is None, reason="libfaketime is not there")
def test_a_projected_token_is_exchanged_for_one_that_go_oidc_takes_for_an_hour(tmp_path):
    policy, root = tmp_path / "policy.yaml", tmp_path / "volumes"
    policy.write_text(POLICY)
    with contextlib.ExitStack() as ends:
        issuer = Issuer(tmp_path, f"--exchange-policy-file={policy}")
        ends.callback(issuer.stop)
        program = [os.environ["TOKENSMITH_GO"] + "/verifiers", f"-issuer={issuer.name}", f"-audience={AUDIENCE}", f"-ca={issuer.ca}", "go-oidc"]
        service = Program(program)
        ends.callback(service.stop)
        service.ready()

        def project(ahead: int) -> None:
            """What a kubelet would have done by that time."""
            done = subprocess.run(
                [BINARY, "project", "-f", MANIFEST, "--ensure", "--once", f"--root={root}", f"--kubeconfig={issuer.kubeconfig}", "--tmpfs=never"],
                env={**os.environ, "LD_PRELOAD": str(FAKETIME), "FAKETIME": f"+{ahead}s", "DONT_FAKE_MONOTONIC": "1"}, capture_output=True, text=True, timeout=60)
            assert done.returncode == 0, done.stderr

        projected, used, path = [], [], root / "default" / "token-exchange" / "volumes" / "k8s-token" / "token"
        application = Application(issuer, path)
        for ahead in range(0, 3900, STEP):
            issuer.move(issuer.began + datetime.timedelta(seconds=ahead))
            if ahead:
                service.advance(STEP)
            project(ahead)
            token = application.current(ahead)
            assert service.verify(token) == "taken", f"after {ahead} s"
            if token not in used:
                used.append(token)
            if path.read_text() not in projected:
                projected.append(path.read_text())
        # Kept fresh, each by its own rule: the file's at four fifths of an hour at the latest, the exchanged one each ten minutes.
        assert len(projected) >= 2 and application.exchanges == len(used) == 7, (len(projected), application.exchanges)
        assert service.verify(used[0]).startswith("refused: oidc: token is expired"), service.verify(used[0])
        # Each token opens its own door: the file's is for the exchange, the other one for the service.
        assert service.verify(projected[-1]).startswith("refused: oidc: expected audience")
        header = {"Authorization": f"Bearer {used[-1]}"}
        with pytest.raises(urllib.error.HTTPError, match="401"):
            urllib.request.urlopen(urllib.request.Request(issuer.url + "/api/v1/namespaces", headers=header), context=issuer.tls, timeout=60)
