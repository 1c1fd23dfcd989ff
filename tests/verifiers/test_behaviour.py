"""What the verifiers that people use do with our tokens, held against behaviour.json, of which docs/verifiers.md is made.

`WRITE_BEHAVIOUR=1 tests/run -k verifiers` writes both anew, to be judged line by line; `VERIFIERS="pyjwt jose"` chooses."""

import os

import behaviour
import pytest
from issuer import Issuer
from kinds import KINDS, MORE
from measure import measure

CHOSEN = os.environ.get("VERIFIERS", " ".join(KINDS)).split()


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    kinds = {name: (KINDS | MORE)[name] for name in CHOSEN}
    issuer = Issuer(tmp_path_factory.mktemp("issuer"), *sorted({flag for kind in kinds.values() for flag in kind.flags}))
    try:
        found = measure(kinds, issuer)
    finally:
        issuer.stop()
    if os.environ.get("WRITE_BEHAVIOUR"):
        behaviour.write(found, list(KINDS | MORE))
    return found


@pytest.mark.parametrize("name", CHOSEN)
def test_verifiers(measured, name):
    assert measured[name] == behaviour.read()[name]


@pytest.mark.parametrize("name", CHOSEN)
def test_verifiers_take_what_they_must(measured, name):
    """Whatever behaviour.json says."""
    assert measured[name]["rotation"]["scheduled"] and measured[name]["revocation"]["takesGoodAtOnce"]
    if (KINDS | MORE)[name].keys_alone:
        return
    takes = measured[name]["takes"]
    assert takes["good"] and not takes["anotherAudience"] and not takes["spoiltSignature"]
    assert takes["twoAudiences"] or name == "openidconnect"
    assert takes["deletedPod"] != measured[name]["knowsPods"]
    assert measured[name]["skewSeconds"]["expired"] is not None


def test_verifiers_vault_asks_by_a_token_of_its_own(tmp_path):
    """Which a revocation takes from it."""
    issuer = Issuer(tmp_path)
    try:
        issuer.kubectl("create", "clusterrolebinding", "vault", "--clusterrole=system:auth-delegator", "--serviceaccount=default:default")
        issuer.admin, admin = issuer.mint(issuer.name), issuer.admin
        vault = KINDS["vault-kubernetes"].start(issuer)
        issuer.admin = admin
        vault.ready()
        assert vault.verify(issuer.mint()) == "taken"
        issuer.revoke()
        assert vault.verify(issuer.mint()).startswith("refused: ")
        vault.stop()
    finally:
        issuer.stop()


def test_the_page_of_verifiers_is_current():
    assert behaviour.PAGE.read_text() == behaviour.page(behaviour.read())
