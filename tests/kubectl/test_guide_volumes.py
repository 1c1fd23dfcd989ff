"""Every manifest of tests/guide-volumes, created by an unmodified kubectl with validation on: taken, or refused in Kubernetes' words."""

import pathlib
import re

import pytest

GUIDE = pathlib.Path(__file__).parents[1] / "guide-volumes"
SHORT = ("spec.volumes[0].projected.sources[{}].serviceAccountToken.expirationSeconds: "
         "Invalid value: 300: may not specify a duration less than 10 minutes")
REFUSED = {
    "custom-expiration": SHORT.format(1),
    "expiration-levels": SHORT.format(0),
    "extended-token-without-containers": "spec.containers: Required value",
    "zero-trust": SHORT.format(0),
}


def test_all_refusals_are_of_files():
    assert REFUSED.keys() <= {path.stem for path in GUIDE.glob("*.yaml")}


@pytest.mark.parametrize("path", sorted(GUIDE.glob("*.yaml")), ids=lambda path: path.stem)
def test_manifest(server, path):
    namespace, text = "guide-" + path.stem, path.read_text()
    server.kubectl("create", "namespace", namespace)
    for account in {*re.findall(r"serviceAccountName: *(\S+)", text)} - {"default"}:
        server.kubectl("create", "-n", namespace, "serviceaccount", account)
    name = re.search(r"^metadata:\n  name: (\S+)", text, re.M)[1]
    create = ["create", "-n", namespace, "-f", str(path)]
    if refusal := REFUSED.get(path.stem):
        assert server.kubectl(*create, code=1) == f'The Pod "{name}" is invalid: {refusal}\n'
        return
    server.kubectl(*create)
    assert (server.stdout, server.stderr) == (f"pod/{name} created\n", "")
    # What was sent is there as it was sent, among what has been added.
    sent = server.json("create", "--dry-run=client", "-n", namespace, "-f", str(path))
    found = server.json("get", "pod", "-n", namespace, name)
    assert holds(found["spec"], sent["spec"])


def holds(found, sent) -> bool:
    """Whether all that was sent is there."""
    if isinstance(sent, dict):
        return isinstance(found, dict) and all(key in found and holds(found[key], value) for key, value in sent.items())
    if isinstance(sent, list):
        return len(found) >= len(sent) and all(map(holds, found, sent))
    return found == sent
