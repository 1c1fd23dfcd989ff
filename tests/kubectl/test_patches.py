"""What kubectl changes with patches: apply, diff, edit, patch and everything that sets a field. Each command is checked for
what it prints and for what is there afterwards."""

import json
import os
import pathlib
import re
import stat

import pytest

GUIDE = pathlib.Path(__file__).parents[1] / "guide-volumes"

DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {name}
  labels: {{app: {name}}}
spec:
  replicas: {replicas}
  selector:
    matchLabels: {{app: {name}}}
  template:
    metadata:
      labels: {{app: {name}}}
    spec:
      containers:
{containers}
"""


def container(name, image, *more):
    lines = [f"      - name: {name}", f"        image: {image}", *(f"        {line}" for line in more)]
    return "\n".join(lines)


def deployment(name, *containers, replicas=1):
    return DEPLOYMENT.format(name=name, replicas=replicas, containers="\n".join(containers))


def at(server, kind, name, path):
    return server.kubectl("get", kind, name, "-o", f"jsonpath={{{path}}}")


def version(server, kind, name):
    return at(server, kind, name, ".metadata.resourceVersion")


@pytest.fixture
def web(server):
    """A deployment of two containers, made anew for each test."""
    server.kubectl("delete", "deployment", "web", "--ignore-not-found")
    text = deployment("web", container("app", "app:1", "env:", "- {name: A, value: '1'}", "- {name: B, value: '2'}"), container("side", "side:1"))
    assert server.kubectl("apply", "-f", "-", stdin=text) == "deployment.apps/web created\n"
    return server


@pytest.fixture(scope="module")
def node(server):
    server.kubectl("create", "-f", "-", stdin="apiVersion: v1\nkind: Node\nmetadata: {name: worker}\n")
    return "worker"


def editor(server, script):
    """An editor that is a script."""
    path = server.home / "editor"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    os.environ["KUBE_EDITOR"] = str(path)


def test_apply_twice_and_changed(web):
    server = web
    same = deployment("web", container("app", "app:1", "env:", "- {name: A, value: '1'}", "- {name: B, value: '2'}"), container("side", "side:1"))
    before = version(server, "deployment", "web")
    assert server.kubectl("apply", "-f", "-", stdin=same) == "deployment.apps/web unchanged\n"
    assert version(server, "deployment", "web") == before
    # What others have set stays; what is no longer named goes; what is new comes; the order is the manifest's.
    server.kubectl("scale", "deployment", "web", "--replicas=4")
    server.kubectl("label", "deployment", "web", "theirs=kept")
    other = deployment("web", container("new", "new:1"), container("app", "app:2", "env:", "- {name: B, value: '3'}", "- {name: C, value: '4'}"))
    other = other.replace("  replicas: 1\n", "")
    assert server.kubectl("apply", "-f", "-", stdin=other) == "deployment.apps/web configured\n"
    found = server.json("get", "deployment", "web")
    assert found["metadata"]["labels"] == {"app": "web", "theirs": "kept"}
    containers = found["spec"]["template"]["spec"]["containers"]
    assert [c["name"] for c in containers] == ["new", "app"]
    assert containers[1]["env"] == [{"name": "B", "value": "3"}, {"name": "C", "value": "4"}]
    # The number of replicas was in the manifest and is no longer, so it gets its default.
    assert found["spec"]["replicas"] == 1


def test_apply_changes_the_type_of_a_strategy_and_of_a_volume(web):
    server = web
    volumes = "\n      volumes:\n      - name: v\n        {}\n"
    first = deployment("web", container("app", "app:1")) + volumes.format("emptyDir: {}")
    assert server.kubectl("apply", "-f", "-", stdin=first) == "deployment.apps/web configured\n"
    second = deployment("web", container("app", "app:1")) + volumes.format("configMap: {name: c}")
    second = second.replace("spec:\n  replicas", "spec:\n  strategy: {type: Recreate}\n  replicas")
    assert server.kubectl("apply", "-f", "-", stdin=second) == "deployment.apps/web configured\n"
    found = server.json("get", "deployment", "web")["spec"]
    assert found["strategy"] == {"type": "Recreate"}
    assert found["template"]["spec"]["volumes"] == [{"name": "v", "configMap": {"name": "c", "defaultMode": 420}}]


def test_apply_refuses_what_cannot_change(web):
    wrong = deployment("web", container("app", "app:1")).replace("matchLabels: {app: web}", "matchLabels: {app: other}")
    wrong = wrong.replace("      labels: {app: web}", "      labels: {app: other}")
    refused = web.kubectl("apply", "-f", "-", stdin=wrong, code=1)
    assert 'The Deployment "web" is invalid: spec.selector: Invalid value' in refused and "field is immutable" in refused


def test_apply_and_prune(server):
    one = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: %s, labels: {set: pruned}}\ndata: {a: '1'}\n"
    both = one % "p-one" + "---\n" + one % "p-two"
    prune = ["apply", "--prune", "-l", "set=pruned", "--prune-allowlist=core/v1/ConfigMap", "-f", "-"]
    assert server.kubectl(*prune, stdin=both) == "configmap/p-one created\nconfigmap/p-two created\n"
    assert server.kubectl(*prune, stdin=one % "p-one") == "configmap/p-one unchanged\nconfigmap/p-two pruned\n"
    assert 'configmaps "p-two" not found' in server.kubectl("get", "cm", "p-two", code=1)


def test_apply_a_kustomization(server):
    folder = server.home / "kustomization"
    folder.mkdir()
    (folder / "account.yaml").write_text("apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: app}\n")
    text = "namePrefix: k-\nlabels: [{pairs: {from: kustomize}}]\nresources: [account.yaml]\nconfigMapGenerator:\n- {name: c, literals: [%s]}\ngeneratorOptions: {disableNameSuffixHash: true}\n"
    (folder / "kustomization.yaml").write_text(text % "a=1")
    assert server.kubectl("apply", "-k", str(folder)) == "serviceaccount/k-app created\nconfigmap/k-c created\n"
    (folder / "kustomization.yaml").write_text(text % "b=2")
    assert server.kubectl("diff", "-k", str(folder), code=1) == ""
    assert "-  a: \"1\"" in server.stdout and "+  b: \"2\"" in server.stdout
    assert server.kubectl("apply", "-k", str(folder)) == "serviceaccount/k-app unchanged\nconfigmap/k-c configured\n"
    assert json.loads(at(server, "cm", "k-c", ".data")) == {"b": "2"}


def test_apply_dry_run(server):
    text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: dry}\ndata: {a: '1'}\n"
    assert server.kubectl("apply", "--dry-run=server", "-f", "-", stdin=text) == "configmap/dry created (server dry run)\n"
    server.kubectl("apply", "-f", "-", stdin=text)
    before = version(server, "cm", "dry")
    changed = text.replace("'1'", "'2'")
    assert server.kubectl("apply", "--dry-run=server", "-f", "-", stdin=changed) == "configmap/dry configured (server dry run)\n"
    assert version(server, "cm", "dry") == before and at(server, "cm", "dry", ".data.a") == "1"


def test_last_applied(web):
    shown = web.kubectl("apply", "view-last-applied", "deployment/web", "-o", "json")
    assert json.loads(shown)["spec"]["replicas"] == 1
    text = deployment("web", container("app", "app:1"), container("side", "side:1"))
    assert web.kubectl("apply", "set-last-applied", "-f", "-", stdin=text) == "deployment.apps/web configured\n"


def test_diff(web):
    text = deployment("web", container("app", "app:3", "env:", "- {name: A, value: '1'}", "- {name: B, value: '2'}"), container("side", "side:1"))
    web.kubectl("diff", "-f", "-", stdin=text, code=1)
    lines = [line for line in web.stdout.splitlines() if line[:1] in "+-" and line[:3] not in ("+++", "---")]
    assert [line.strip("+- ") for line in lines if "image" in line] == ["image: app:1", "image: app:3"], lines
    assert at(web, "deployment", "web", ".spec.template.spec.containers[0].image") == "app:1"
    assert web.kubectl("diff", "-f", "-", stdin=text.replace("app:3", "app:1")) == ""


def test_edit(web):
    editor(web, """sed -i -e 's/image: app:1/image: app:edited/' "$1" """)
    assert web.kubectl("edit", "deployment", "web") == "deployment.apps/web edited\n"
    assert at(web, "deployment", "web", ".spec.template.spec.containers[*].image") == "app:edited side:1"
    editor(web, "exit 0")
    assert "Edit cancelled, no changes made." in web.kubectl("edit", "deployment", "web") + web.stderr


@pytest.mark.parametrize("form,patch,image", [
    ("strategic", {"spec": {"template": {"spec": {"containers": [{"name": "app", "image": "s:1"}]}}}}, "s:1 side:1"),
    ("merge", {"spec": {"template": {"spec": {"containers": [{"name": "only", "image": "m:1"}]}}}}, "m:1"),
    ("json", [{"op": "replace", "path": "/spec/template/spec/containers/1/image", "value": "j:1"}], "app:1 j:1"),
])
def test_patch(web, form, patch, image):
    text = json.dumps(patch)
    assert web.kubectl("patch", "deployment", "web", "--type", form, "-p", text) == "deployment.apps/web patched\n"
    assert at(web, "deployment", "web", ".spec.template.spec.containers[*].image") == image
    assert web.kubectl("patch", "deployment", "web", "--type", form, "-p", text) == "deployment.apps/web patched (no change)\n"


def test_patch_of_a_subresource(web):
    patch = json.dumps({"spec": {"replicas": 3}})
    assert web.kubectl("patch", "deployment", "web", "--subresource=scale", "--type=merge", "-p", patch) == "scale.autoscaling/web patched\n"
    status = json.dumps({"status": {"conditions": [{"type": "Available", "status": "True"}]}})
    assert web.kubectl("patch", "deployment", "web", "--subresource=status", "-p", status) == "deployment.apps/web patched\n"
    assert at(web, "deployment", "web", ".status.conditions[0].type") == "Available"
    assert at(web, "deployment", "web", ".spec.replicas") == "3"


def test_patch_refusals(web):
    wrong = json.dumps({"spec": {"replicas": "many"}})
    assert "unrecognized type: int32" in web.kubectl("patch", "deployment", "web", "-p", wrong, code=1)
    missing = json.dumps([{"op": "test", "path": "/spec/replicas", "value": 7}])
    assert "the server rejected our request due to an error in our request" in web.kubectl("patch", "deployment", "web", "--type=json", "-p", missing, code=1)
    assert 'deployments.apps "ghost" not found' in web.kubectl("patch", "deployment", "ghost", "-p", "{}", code=1)
    unknown = json.dumps({"spec": {"replica": 2}})
    web.kubectl("patch", "deployment", "web", "-p", unknown)
    assert 'Warning: unknown field "spec.replica"' in web.stderr


def test_label_and_annotate(server):
    server.kubectl("create", "configmap", "named")
    assert server.kubectl("label", "cm", "named", "a=1", "b=2") == "configmap/named labeled\n"
    assert "already has a value (1), and --overwrite is false" in server.kubectl("label", "cm", "named", "a=3", code=1)
    assert server.kubectl("label", "cm", "named", "a=3", "--overwrite") == "configmap/named labeled\n"
    assert server.kubectl("label", "cm", "named", "b-") == "configmap/named unlabeled\n"
    assert server.kubectl("label", "cm", "named", "a=3") == "configmap/named not labeled\n"
    assert json.loads(at(server, "cm", "named", ".metadata.labels")) == {"a": "3"}
    assert server.kubectl("annotate", "cm", "named", "note=x y") == "configmap/named annotated\n"
    assert server.kubectl("annotate", "cm", "named", "note-") == "configmap/named annotated\n"
    assert at(server, "cm", "named", ".metadata.annotations") == ""
    stale = server.kubectl("label", "cm", "named", "c=4", "--resource-version=1", code=1)
    assert "the object has been modified; please apply your changes to the latest version and try again" in stale


def test_set(web):
    server = web
    assert server.kubectl("set", "image", "deployment/web", "app=app:9", "side=side:9") == "deployment.apps/web image updated\n"
    assert at(server, "deployment", "web", ".spec.template.spec.containers[*].image") == "app:9 side:9"
    assert server.kubectl("set", "env", "deployment/web", "-c", "app", "C=3", "A-") == "deployment.apps/web env updated\n"
    env = server.json("get", "deployment", "web")["spec"]["template"]["spec"]["containers"][0]["env"]
    assert sorted((e["name"], e["value"]) for e in env) == [("B", "2"), ("C", "3")]
    assert server.kubectl("set", "env", "deployment/web", "--list", "-c", "app").startswith("# Deployment web, container app\n")
    set_to = ["set", "resources", "deployment/web", "-c=app", "--limits=cpu=200m,memory=64Mi", "--requests=cpu=100m"]
    assert server.kubectl(*set_to) == "deployment.apps/web resource requirements updated\n"
    assert json.loads(at(server, "deployment", "web", ".spec.template.spec.containers[0].resources")) == {
        "limits": {"cpu": "200m", "memory": "64Mi"}, "requests": {"cpu": "100m"}}
    assert server.kubectl("set", "serviceaccount", "deployment/web", "robot") == "deployment.apps/web serviceaccount updated\n"
    assert at(server, "deployment", "web", ".spec.template.spec.serviceAccountName") == "robot"


def test_set_selector_and_subject(server):
    server.kubectl("create", "service", "clusterip", "sel", "--tcp=80")
    assert server.kubectl("set", "selector", "service", "sel", "app=web") == "service/sel selector updated\n"
    assert json.loads(at(server, "service", "sel", ".spec.selector")) == {"app": "web"}
    server.kubectl("create", "role", "reader", "--verb=get", "--resource=pods")
    server.kubectl("create", "rolebinding", "readers", "--role=reader", "--user=a")
    assert server.kubectl("set", "subject", "rolebinding", "readers", "--user=b", "--group=g") == "rolebinding.rbac.authorization.k8s.io/readers subjects updated\n"
    subjects = server.json("get", "rolebinding", "readers")["subjects"]
    assert sorted((s["kind"], s["name"]) for s in subjects) == [("Group", "g"), ("User", "a"), ("User", "b")]


def test_taint_and_cordon(server, node):
    assert server.kubectl("taint", "node", node, "k=v:NoSchedule", "l:NoExecute") == f"node/{node} tainted\n"
    taints = {t["key"]: t["effect"] for t in server.json("get", "node", node)["spec"]["taints"]}
    assert taints["k"] == "NoSchedule" and taints["l"] == "NoExecute"
    assert server.kubectl("taint", "node", node, "k-") == f"node/{node} untainted\n"
    assert server.kubectl("cordon", node) == f"node/{node} cordoned\n"
    assert at(server, "node", node, ".spec.unschedulable") == "true"
    assert server.kubectl("cordon", node) == f"node/{node} already cordoned\n"
    assert server.kubectl("uncordon", node) == f"node/{node} uncordoned\n"
    assert at(server, "node", node, ".spec.unschedulable") == ""


def test_drain(server, node):
    pod = f"apiVersion: v1\nkind: Pod\nmetadata: {{name: guest}}\nspec: {{nodeName: {node}, containers: [{{name: a, image: a:1}}]}}\n"
    server.kubectl("apply", "-f", "-", stdin=pod)
    printed = server.kubectl("drain", node, "--dry-run=server", "--force", "--ignore-daemonsets")
    assert printed.splitlines()[0] == f"node/{node} cordoned (server dry run)"
    assert printed.splitlines()[-1] == f"node/{node} drained (server dry run)"
    assert at(server, "pod", "guest", ".metadata.deletionTimestamp") == ""
    assert at(server, "node", node, ".spec.unschedulable") == ""


def test_scale(web):
    assert web.kubectl("scale", "deployment", "web", "--replicas=5") == "deployment.apps/web scaled\n"
    assert at(web, "deployment", "web", ".spec.replicas") == "5"
    refused = web.kubectl("scale", "deployment", "web", "--current-replicas=2", "--replicas=1", code=1)
    assert "Expected replicas to be 2, was 5" in refused


def test_rollout(web):
    assert web.kubectl("rollout", "restart", "deployment/web") == "deployment.apps/web restarted\n"
    assert "kubectl.kubernetes.io/restartedAt" in at(web, "deployment", "web", ".spec.template.metadata.annotations")
    assert web.kubectl("rollout", "pause", "deployment/web") == "deployment.apps/web paused\n"
    assert at(web, "deployment", "web", ".spec.paused") == "true"
    assert "is already paused" in web.kubectl("rollout", "pause", "deployment/web", code=1)
    assert web.kubectl("rollout", "resume", "deployment/web") == "deployment.apps/web resumed\n"
    assert at(web, "deployment", "web", ".spec.paused") == ""
    assert web.kubectl("rollout", "history", "deployment/web").startswith("deployment.apps/web")


def test_expose_and_autoscale_are_changed_by_apply(web):
    assert web.kubectl("expose", "deployment", "web", "--port=80", "--name=exposed") == "service/exposed exposed\n"
    text = "apiVersion: v1\nkind: Service\nmetadata: {name: exposed}\nspec: {selector: {app: web}, ports: [{port: 80, targetPort: 8080}, {port: 81, name: b}]}\n"
    refused = web.kubectl("apply", "-f", "-", stdin=text, code=1)
    assert "spec.ports[0].name: Required value" in refused
    named = text.replace("{port: 80,", "{port: 80, name: a,")
    assert web.kubectl("apply", "-f", "-", stdin=named) == "service/exposed configured\n"
    assert "Warning: resource services/exposed is missing the kubectl.kubernetes.io/last-applied-configuration annotation" in web.stderr
    assert at(web, "service", "exposed", ".spec.ports[*].name") == "a b"


SHORT = "serviceAccountToken.expirationSeconds: Invalid value: 300: may not specify a duration less than 10 minutes"
# As the guide's table says of them.
REFUSED = {
    "custom-expiration.yaml": SHORT,
    "expiration-levels.yaml": SHORT,
    "extended-token-without-containers.yaml": "spec.containers: Required value",
    "zero-trust.yaml": SHORT,
}


def versions(server, namespace, text):
    found = json.loads(server.kubectl("get", "-n", namespace, "-f", "-", "-o", "json", stdin=text))
    return [item["metadata"]["resourceVersion"] for item in found.get("items", [found])]


@pytest.mark.parametrize("manifest", sorted(path.name for path in GUIDE.glob("*.yaml")))
def test_the_guides_manifests(server, manifest):
    """Each as it is written: applied, applied again, changed, and changed back."""
    namespace, text = "guide-" + manifest.removesuffix(".yaml"), (GUIDE / manifest).read_text()
    server.kubectl("create", "namespace", namespace)
    made = set(re.findall(r"kind: ServiceAccount\nmetadata:\n  name: (\S+)", text))
    for account in set(re.findall(r"serviceAccountName: (\S+)", text)) - made - {"default"}:
        server.kubectl("create", "serviceaccount", account, "-n", namespace)
    apply = ["apply", "-n", namespace, "-f", "-"]
    if manifest in REFUSED:
        assert REFUSED[manifest] in server.kubectl(*apply, stdin=text, code=1)
        return
    first = server.kubectl(*apply, stdin=text).splitlines()
    assert first and all(line.endswith(" created") for line in first), first
    before = versions(server, namespace, text)
    again = server.kubectl(*apply, stdin=text).splitlines()
    # A pod has a volume that its manifest has not got: kubectl sends the order of the others, and nothing changes.
    assert all(line.endswith(" unchanged") or line.startswith("pod/") for line in again), again
    assert versions(server, namespace, text) == before
    labelled = server.kubectl("label", "--local", "-f", "-", "changed=yes", "-o", "yaml", stdin=text)
    changed = server.kubectl(*apply, stdin=labelled).splitlines()
    assert len(changed) == len(first) and all(line.endswith(" configured") for line in changed), changed
    assert all(old != new for old, new in zip(before, versions(server, namespace, text)))
    back = server.kubectl(*apply, stdin=text).splitlines()
    assert len(back) == len(first) and all(line.endswith(" configured") for line in back), back
    assert server.kubectl("get", "all,sa,secrets,configmaps", "-n", namespace, "-l", "changed=yes", "-o", "name") == ""


@pytest.mark.parametrize("manifest", sorted(path.name for path in GUIDE.glob("*.yaml")))
def test_the_guides_manifests_server_side(server, manifest):
    """The same with the server merging: applied, applied again, changed, and changed back by who does not name the label any more."""
    namespace, text = "guided-" + manifest.removesuffix(".yaml"), (GUIDE / manifest).read_text()
    server.kubectl("create", "namespace", namespace)
    made = set(re.findall(r"kind: ServiceAccount\nmetadata:\n  name: (\S+)", text))
    for account in set(re.findall(r"serviceAccountName: (\S+)", text)) - made - {"default"}:
        server.kubectl("create", "serviceaccount", account, "-n", namespace)
    apply = ["apply", "--server-side", "-n", namespace, "-f", "-"]
    if manifest in REFUSED:
        assert REFUSED[manifest] in server.kubectl(*apply, stdin=text, code=1)
        return
    first = server.kubectl(*apply, stdin=text).splitlines()
    assert first and all(line.endswith(" serverside-applied") for line in first), first
    before = versions(server, namespace, text)
    server.kubectl(*apply, stdin=text)
    assert versions(server, namespace, text) == before
    labelled = server.kubectl("label", "--local", "-f", "-", "changed=yes", "-o", "yaml", stdin=text)
    server.kubectl(*apply, stdin=labelled)
    assert all(old != new for old, new in zip(before, versions(server, namespace, text)))
    server.kubectl(*apply, stdin=text)
    assert server.kubectl("get", "all,sa,secrets,configmaps", "-n", namespace, "-l", "changed=yes", "-o", "name") == ""
