"""kopf runs the operator of `greeters.py`: what it keeps in annotations and finalizers, its retries, timers and events."""

import json
import pathlib
import subprocess
import sys
import time

import pytest

OPERATOR = str(pathlib.Path(__file__).parent / "greeters.py")
LIMIT = 60


def until(what, holds):
    end = time.monotonic() + LIMIT
    while not (found := holds()):
        assert time.monotonic() < end, f"{what}: not within {LIMIT} s"
        time.sleep(0.1)
    return found


def greeter(name, says, asks="yes"):
    return json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "data": {"says": says},
                       "metadata": {"name": name, "labels": {"tests.tokensmith/greets": asks}}})


@pytest.fixture(scope="module")
def operator(server):
    log = server.home / "operator.log"
    args = [sys.executable, "-m", "kopf", "run", "--standalone", "--namespace=default", "--verbose", OPERATOR]
    with open(log, "wb") as out, subprocess.Popen(args, env=server.env(), stdout=out, stderr=out) as running:
        yield server
        running.terminate()
        assert running.wait(LIMIT) == 0, log.read_text()
    told = log.read_text()
    assert "Traceback" not in told, told


def metadata(server, kind, name):
    found = json.loads(server.kubectl("get", kind, name, "--ignore-not-found", "-o", "json") or "{}")
    return found.get("metadata")


def says(server, name):
    return ((metadata(server, "serviceaccount", name) or {}).get("annotations") or {}).get("says")


def test_an_operator_makes_follows_and_ends(operator):
    server = operator
    server.kubectl("create", "-f", "-", stdin=greeter("one", "hello"))
    until("an account", lambda: says(server, "one") == "hello")
    until("the label of its maker", lambda: metadata(server, "configmap", "one")["labels"].get("greeter") == "one")
    owner = metadata(server, "configmap", "one")
    assert owner["finalizers"] == ["tests.tokensmith/greeter"]
    [reference] = metadata(server, "serviceaccount", "one")["ownerReferences"]
    assert (reference["kind"], reference["uid"], reference["controller"]) == ("ConfigMap", owner["uid"], True)
    until("its timer", lambda: metadata(server, "configmap", "one")["annotations"].get("beats") == "yes")
    until("what it last handled", lambda: "kopf.zalando.org/last-handled-configuration" in metadata(server, "configmap", "one")["annotations"])

    server.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=greeter("one", "bye"))
    until("the account to follow, once it is tried again", lambda: says(server, "one") == "bye")
    assert metadata(server, "serviceaccount", "one")["annotations"]["said"] == "hello"
    until("its progress to be taken away",
          lambda: not [key for key in metadata(server, "configmap", "one")["annotations"] if key.startswith("kopf.zalando.org/follow")])
    events = until("its event", lambda: [one for one in server.json("get", "events")["items"] if one["reason"] == "Greets"])
    assert (events[0]["message"], events[0]["involvedObject"]["uid"]) == ("one greets", owner["uid"])

    server.kubectl("delete", "configmap", "one", "--timeout=60s")
    assert metadata(server, "serviceaccount", "one") is None


def test_an_operator_leaves_what_does_not_ask(operator):
    server = operator
    server.kubectl("create", "-f", "-", stdin=greeter("quiet", "nothing", asks="no"))
    server.kubectl("create", "-f", "-", stdin=greeter("loud", "something"))
    until("an account", lambda: says(server, "loud") == "something")
    assert metadata(server, "serviceaccount", "quiet") is None and "finalizers" not in metadata(server, "configmap", "quiet")
    # Who asks later is served then.
    server.kubectl("label", "configmap", "quiet", "tests.tokensmith/greets=yes", "--overwrite")
    until("an account", lambda: says(server, "quiet") == "nothing")
    server.kubectl("delete", "configmap", "loud", "quiet", "--timeout=60s")
    assert metadata(server, "serviceaccount", "loud") is None and metadata(server, "serviceaccount", "quiet") is None
