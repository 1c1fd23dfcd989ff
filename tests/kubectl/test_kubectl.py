"""Unmodified kubectl against a real server: each command is checked for what it prints."""

import base64
import json
import re

import pytest

UUID = re.compile(r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")


def claims(token: str) -> dict:
    part = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))


def lifetime(token: str) -> int:
    found = claims(token)
    return found["exp"] - found["iat"]


POD = """
apiVersion: v1
kind: Pod
metadata:
  name: {name}
spec:
  serviceAccountName: {account}
  nodeName: {node}
  containers:
  - name: app
    image: app:1.0
"""


@pytest.fixture(scope="module")
def objects(server):
    """What the token tests bind to."""
    server.kubectl("create", "serviceaccount", "app")
    server.kubectl("create", "secret", "generic", "creds", "--from-literal=a=b")
    server.kubectl("create", "-f", "-", stdin="apiVersion: v1\nkind: Node\nmetadata:\n  name: worker-1\n")
    server.kubectl("create", "-f", "-", stdin=POD.format(name="web", account="app", node="worker-1"))
    return server


def test_version(server):
    assert server.kubectl("version").count("Server Version: v1.") == 1
    assert "v1.37" in server.kubectl("version", "--client")


def test_create_token(objects):
    token = objects.kubectl("create", "token", "app")
    assert lifetime(token) == 3600
    assert claims(token)["sub"] == "system:serviceaccount:default:app"


def test_create_token_audience_and_duration(objects):
    token = objects.kubectl("create", "token", "app", "--audience", "vault", "--audience", "b", "--duration", "20m")
    assert claims(token)["aud"] == ["vault", "b"]
    assert lifetime(token) == 1200


@pytest.mark.parametrize("kind,name,claim", [("Pod", "web", "pod"), ("Secret", "creds", "secret"), ("Node", "worker-1", "node")])
def test_create_token_bound(objects, kind, name, claim):
    uid = objects.json("get", kind.lower(), name)["metadata"]["uid"]
    bound = ["--bound-object-kind", kind, "--bound-object-name", name]
    token = objects.kubectl("create", "token", "app", *bound, "--bound-object-uid", uid)
    assert claims(token)["kubernetes.io"][claim] == {"name": name, "uid": uid}
    if kind == "Pod":
        assert claims(token)["kubernetes.io"]["node"]["name"] == "worker-1"
    wrong = objects.kubectl("create", "token", "app", *bound, "--bound-object-uid", "x", code=1)
    assert f'Operation cannot be fulfilled on {kind} "{name}": the UID in the bound object reference (x)' in wrong


def test_create_token_as_object(objects):
    found = json.loads(objects.kubectl("create", "token", "app", "-o", "json"))
    assert found["kind"] == "TokenRequest" and found["spec"]["expirationSeconds"] == 3600
    assert UUID.match(found["metadata"]["uid"])


def test_create_token_refusals(objects):
    assert 'serviceaccounts "ghost" not found' in objects.kubectl("create", "token", "ghost", code=1)
    short = objects.kubectl("create", "token", "app", "--duration", "5m", code=1)
    assert "spec.expirationSeconds: Invalid value: 300: may not specify a duration less than 10 minutes" in short
    assert 'namespaces "nowhere" not found' in objects.kubectl("create", "token", "app", "-n", "nowhere", code=1)


def test_create_token_dry_run_kinds(server):
    assert server.kubectl("create", "serviceaccount", "dry", "--dry-run=server") == "serviceaccount/dry created (server dry run)\n"
    assert "not found" in server.kubectl("get", "sa", "dry", code=1)


def test_create_objects(server):
    assert server.kubectl("create", "sa", "made") == "serviceaccount/made created\n"
    assert server.kubectl("create", "ns", "team") == "namespace/team created\n"
    assert server.kubectl("create", "configmap", "cm", "--from-literal=k=v") == "configmap/cm created\n"
    assert server.kubectl("create", "secret", "generic", "s", "--from-literal=p=q") == "secret/s created\n"
    assert server.kubectl("get", "cm", "cm", "-o", "jsonpath={.data.k}") == "v"
    assert base64.b64decode(server.kubectl("get", "secret", "s", "-o", "jsonpath={.data.p}")) == b"q"
    again = server.kubectl("create", "sa", "made", code=1)
    assert 'serviceaccounts "made" already exists' in again


def test_create_rbac(server):
    assert server.kubectl("create", "role", "r", "--verb=get", "--resource=pods") == "role.rbac.authorization.k8s.io/r created\n"
    assert server.kubectl("create", "rolebinding", "rb", "--role=r", "--serviceaccount=default:default") == "rolebinding.rbac.authorization.k8s.io/rb created\n"
    assert server.kubectl("create", "clusterrole", "cr", "--verb=list", "--resource=nodes") == "clusterrole.rbac.authorization.k8s.io/cr created\n"
    assert server.kubectl("create", "clusterrolebinding", "crb", "--clusterrole=cr", "--user=jane") == "clusterrolebinding.rbac.authorization.k8s.io/crb created\n"
    assert server.kubectl("get", "rolebinding", "rb", "-o", "jsonpath={.subjects[0].name}") == "default"


def test_get_table(server):
    lines = server.kubectl("get", "ns").splitlines()
    assert lines[0].split() == ["NAME", "STATUS", "AGE"]
    assert any(line.split()[:2] == ["default", "Active"] for line in lines)
    assert server.kubectl("get", "sa").splitlines()[0].split() == ["NAME", "AGE"]
    assert "No resources found" in (server.kubectl("get", "pods", "-n", "kube-public") or server.stderr)


def test_get_yaml(server):
    text = server.kubectl("get", "cm", "kube-root-ca.crt", "-o", "yaml")
    assert text.startswith("apiVersion: v1\n") and "BEGIN CERTIFICATE" in text and "kind: ConfigMap" in text


def test_labels_and_selectors(server):
    server.kubectl("create", "cm", "labelled")
    assert "labeled" in server.kubectl("label", "cm", "labelled", "app=x")
    assert server.kubectl("get", "cm", "-l", "app=x", "-o", "name") == "configmap/labelled\n"
    assert server.kubectl("get", "cm", "--field-selector", "metadata.name=labelled", "-o", "name") == "configmap/labelled\n"


def test_delete(server):
    server.kubectl("create", "sa", "gone")
    assert server.kubectl("delete", "sa", "gone") == 'serviceaccount "gone" deleted from default namespace\n'
    assert 'serviceaccounts "gone" not found' in server.kubectl("delete", "sa", "gone", code=1)
    assert "namespaces \"default\" is forbidden" in server.kubectl("delete", "ns", "default", code=1)


def test_delete_namespace_empties_it(server):
    server.kubectl("create", "ns", "brief")
    server.kubectl("create", "cm", "c", "-n", "brief")
    server.kubectl("delete", "ns", "brief", "--timeout=20s")
    assert "not found" in server.kubectl("get", "cm", "c", "-n", "brief", code=1)


def test_whoami(server):
    lines = server.kubectl("auth", "whoami").splitlines()
    assert lines[0].split() == ["ATTRIBUTE", "VALUE"]
    assert "system:masters" in "\n".join(lines)


def test_whoami_with_a_minted_token(objects):
    token = objects.kubectl("create", "token", "app")
    found = objects.kubectl("auth", "whoami", "--token", token, "-o", "jsonpath={.status.userInfo.username}", kubeconfig=bare(objects))
    assert found == "system:serviceaccount:default:app"


def test_can_i(objects):
    assert objects.kubectl("auth", "can-i", "create", "serviceaccounts/token") == "yes\n"
    assert objects.kubectl("auth", "can-i", "*", "*") == "yes\n"
    user = "--as=system:serviceaccount:default:app"
    objects.kubectl("auth", "can-i", "get", "secrets", user, code=1)
    assert objects.stdout == "no\n"
    objects.kubectl("create", "role", "reads-pods", "--verb=get,list", "--resource=pods")
    objects.kubectl("create", "rolebinding", "reads-pods", "--role=reads-pods", "--serviceaccount=default:app")
    assert objects.kubectl("auth", "can-i", "list", "pods", user) == "yes\n"
    listed = objects.kubectl("auth", "can-i", "--list", user)
    assert re.search(r"^pods\s+\[\]\s+\[\]\s+\[get list\]", listed, re.M), listed
    assert re.search(r"^\s+\[/healthz\]\s+\[\]\s+\[get\]", listed, re.M), listed


def test_a_limited_token_is_refused(objects):
    token = objects.kubectl("create", "token", "app")
    refused = objects.kubectl("get", "secrets", "--token", token, kubeconfig=bare(objects), code=1)
    assert 'User "system:serviceaccount:default:app" cannot list resource "secrets" in API group "" in the namespace "default"' in refused


def test_run_like_pod(objects):
    pod = objects.json("get", "pod", "web")
    projected = pod["spec"]["volumes"][0]["projected"]
    assert [next(iter(s)) for s in projected["sources"]] == ["serviceAccountToken", "configMap", "downwardAPI"]
    row = objects.kubectl("get", "pod", "web").splitlines()[1].split()
    assert row[:3] == ["web", "0/1", "Pending"]


def test_api_resources(server):
    found = server.kubectl("api-resources", "-o", "name").split()
    assert {"serviceaccounts", "pods", "secrets", "tokenreviews.authentication.k8s.io", "roles.rbac.authorization.k8s.io"} <= set(found)


def test_raw_documents(server):
    document = json.loads(server.kubectl("get", "--raw", "/.well-known/openid-configuration"))
    keys = json.loads(server.kubectl("get", "--raw", "/openid/v1/jwks"))["keys"]
    assert document["jwks_uri"] == document["issuer"] + "/openid/v1/jwks"
    assert {key["alg"] for key in keys} == set(document["id_token_signing_alg_values_supported"])


def bare(server):
    """A kubeconfig with the server and its CA, but nobody's credentials."""
    path = server.home / "bare.kubeconfig"
    if not path.exists():
        ca = server.ca_file()
        server.kubectl("config", "set-cluster", "t", f"--server={server.url}", f"--certificate-authority={ca}", kubeconfig=path)
        server.kubectl("config", "set-context", "t", "--cluster=t", kubeconfig=path)
        server.kubectl("config", "use-context", "t", kubeconfig=path)
    return path
