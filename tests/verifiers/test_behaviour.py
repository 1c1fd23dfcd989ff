"""What the verifiers that people use do with our tokens, held against behaviour.json, of which docs/verifiers.md is made.

`WRITE_BEHAVIOUR=1 tests/run -k verifiers` writes both anew, to be judged line by line; `VERIFIERS="pyjwt jose"` chooses."""

import contextlib
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
    # It makes no difference whether the key of before is still published.
    assert measured[name]["rotation"]["forced"] == measured[name]["unknownKey"]["asks"]
    if (KINDS | MORE)[name].keys_alone:
        return
    takes = measured[name]["takes"]
    assert takes["good"] and not takes["anotherAudience"] and not takes["spoiltSignature"]
    assert takes["twoAudiences"] or name == "openidconnect"
    assert takes["deletedPod"] != measured[name]["knowsPods"]
    assert measured[name]["skewSeconds"]["expired"] is not None


@pytest.mark.parametrize("name", [name for name in CHOSEN if name in ("vault-kubernetes", "vault-server-kubernetes")])
def test_verifiers_vault_asks_by_a_token_of_its_own(tmp_path, name):
    """Which a revocation takes from it, until it is given another one."""
    with contextlib.ExitStack() as stack:
        issuer = Issuer(tmp_path)
        stack.callback(issuer.stop)
        issuer.kubectl("create", "clusterrolebinding", "vault", "--clusterrole=system:auth-delegator", "--serviceaccount=default:default")
        issuer.reviewer = issuer.mint(issuer.name)
        vault = (KINDS | MORE)[name].start(issuer)
        stack.callback(vault.stop)
        vault.ready()
        assert vault.verify(issuer.mint()) == "taken"
        issuer.revoke()
        assert vault.verify(issuer.mint()).startswith("refused: ")
        if name == "vault-server-kubernetes":
            issuer.reviewer = issuer.mint(issuer.name)
            vault.configure()
            assert vault.verify(issuer.mint()) == "taken"


def test_the_page_of_verifiers_is_current():
    assert behaviour.PAGE.read_text() == behaviour.page(behaviour.read())


# What docs/keys.md says of a family, by what was measured of a verifier; where the words differ.
FORGETS = {"at once": "at once: they ask about each token", "after a sync (300 s at the latest) and 10 s": "after 310 s at the latest",
           "after 20 min at the latest": "after 20 min at the latest"}
ASKS = {"in the last 30 s of max-age and later": "only once max-age is over", "after 30 s": "30 s after the last time at the earliest",
        "after 20 min at the latest": "never"}


@pytest.mark.parametrize("name", behaviour.read())
def test_the_page_on_keys_says_what_was_measured(name):
    row = behaviour.read()[name]
    forgets, poked = row["revocation"]["forgets"], row["revocation"]["poked"]
    if forgets == "never":
        says = "never: when their program fetches again, or at a restart" if poked == "never" else "never by time: at an unknown kid or a restart"
    elif forgets in FORGETS:
        says = FORGETS[forgets]
    else:
        says = f"{forgets} at the latest" + (", whatever they meet" if poked == forgets else "")
    asks = ASKS.get(row["unknownKey"]["asks"], row["unknownKey"]["asks"])
    page = (behaviour.PAGE.parent / "keys.md").read_text()
    assert f"| {row['family']} | {says} | {asks} |" in page
