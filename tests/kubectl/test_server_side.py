"""Server-side apply as kubectl does it: who manages what, conflicts, what is no longer named, kubectl's move from its own apply."""

import pytest

WEB = """
apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}}}
spec:
{replicas}  selector:
    matchLabels: {{app: web}}
  template:
    metadata:
      labels: {{app: web}}
    spec:
      containers:
{containers}
"""


def web(*containers, name="web", replicas=None):
    lines = "".join(f"      - {{name: {name}, image: {image}}}\n" for name, image in containers)
    return WEB.format(name=name, replicas="" if replicas is None else f"  replicas: {replicas}\n", containers=lines)


def apply(server, text, *args, code=0):
    return server.kubectl("apply", "--server-side", "-f", "-", *args, stdin=text, code=code)


@pytest.fixture
def fresh(server):
    server.kubectl("delete", "deployment", "web", "--ignore-not-found")
    return server


def managers(server, kind, name):
    found = server.json("get", kind, name, "--show-managed-fields")["metadata"]["managedFields"]
    return [(entry["manager"], entry["operation"], entry.get("subresource", "")) for entry in found]


def test_apply_makes_changes_and_takes_away(fresh):
    server = fresh
    assert apply(server, web(("app", "app:1"), ("side", "side:1"), replicas=3)) == "deployment.apps/web serverside-applied\n"
    assert managers(server, "deployment", "web") == [("kubectl", "Apply", "")]
    before = server.json("get", "deployment", "web")
    assert apply(server, web(("app", "app:1"), ("side", "side:1"), replicas=3)) == "deployment.apps/web serverside-applied\n"
    assert server.json("get", "deployment", "web") == before, "applied twice is applied once"
    # The second container and the number of replicas are no longer named: one goes, the other gets its default.
    apply(server, web(("app", "app:2")))
    spec = server.json("get", "deployment", "web")["spec"]
    assert [(c["name"], c["image"]) for c in spec["template"]["spec"]["containers"]] == [("app", "app:2")]
    assert spec["replicas"] == 1
    assert "managedFields" not in server.kubectl("get", "deployment", "web", "-o", "yaml")


def test_conflicts_are_told_and_can_be_forced(fresh):
    server = fresh
    apply(server, web(("app", "app:1"), replicas=1))
    refused = apply(server, web(("app", "app:1"), replicas=2), "--field-manager=other", code=1)
    assert refused.startswith('error: Apply failed with 1 conflict: conflict with "kubectl": .spec.replicas\n'), refused
    assert "--force-conflicts" in refused
    assert server.json("get", "deployment", "web")["spec"]["replicas"] == 1
    # The same value is shared, not a conflict.
    apply(server, web(("app", "app:1"), replicas=1), "--field-manager=other")
    assert apply(server, web(("app", "app:1"), replicas=2), "--field-manager=other", "--force-conflicts") == "deployment.apps/web serverside-applied\n"
    assert server.json("get", "deployment", "web")["spec"]["replicas"] == 2
    # Who does not name it any more has nothing to give up.
    apply(server, web(("app", "app:1")))
    assert server.json("get", "deployment", "web")["spec"]["replicas"] == 2


def test_who_scales_takes_the_replicas(fresh):
    server = fresh
    apply(server, web(("app", "app:1"), replicas=1))
    server.kubectl("scale", "deployment", "web", "--replicas=5")
    assert ("kubectl", "Update", "scale") in managers(server, "deployment", "web")
    refused = apply(server, web(("app", "app:1"), replicas=1), code=1)
    assert 'conflict with "kubectl" with subresource "scale" using apps/v1: .spec.replicas' in refused
    apply(server, web(("app", "app:1")))
    assert server.json("get", "deployment", "web")["spec"]["replicas"] == 5


def test_kubectl_moves_from_its_own_apply(fresh):
    server = fresh
    both = web(("app", "app:1"), ("side", "side:1"))
    assert server.kubectl("apply", "-f", "-", stdin=both) == "deployment.apps/web created\n"
    assert managers(server, "deployment", "web") == [("kubectl-client-side-apply", "Update", "")]
    # What it applied itself is its own: the container goes, and nobody is asked.
    assert apply(server, web(("app", "app:2"))) == "deployment.apps/web serverside-applied\n"
    found = server.json("get", "deployment", "web")
    assert [c["image"] for c in found["spec"]["template"]["spec"]["containers"]] == ["app:2"]
    assert ("kubectl", "Apply", "") in managers(server, "deployment", "web")


def test_dry_runs_and_differences_change_nothing(fresh):
    server = fresh
    assert apply(server, web(("app", "app:1")), "--dry-run=server") == "deployment.apps/web serverside-applied (server dry run)\n"
    assert "NotFound" in server.kubectl("get", "deployment", "web", code=1)
    apply(server, web(("app", "app:1")))
    assert server.kubectl("diff", "--server-side", "-f", "-", stdin=web(("app", "app:1"))) == ""
    server.kubectl("diff", "--server-side", "-f", "-", stdin=web(("app", "app:2")), code=1)
    assert "-      - image: app:1\n+      - image: app:2\n" in server.stdout
    assert server.json("get", "deployment", "web")["spec"]["template"]["spec"]["containers"][0]["image"] == "app:1"


def test_broken_ones_are_refused(fresh):
    server = fresh
    unknown = web(("app", "app:1")).replace("spec:\n", "spec:\n  replica: 1\n", 1)
    assert "replica" in apply(server, unknown, code=1)
    twice = web(("app", "app:1"), ("app", "app:2"))
    assert "duplicate entries for key" in apply(server, twice, code=1)
    assert "NotFound" in server.kubectl("get", "deployment", "web", code=1)
