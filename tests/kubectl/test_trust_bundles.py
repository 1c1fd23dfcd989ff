"""ClusterTrustBundles with an unmodified kubectl: there with --runtime-config, and not without."""

import pathlib

import pytest
from conftest import Server

CA = (pathlib.Path(__file__).parents[2] / "keys/rsa2048.crt.pem").read_text()
BUNDLE = """
apiVersion: certificates.k8s.io/v1beta1
kind: ClusterTrustBundle
metadata:
  name: {name}
spec:
  {signer}
  trustBundle: |
    {pem}
"""


def bundle(name: str, signer: str = "", pem: str = CA) -> str:
    signer = f"signerName: {signer}" if signer else ""
    return BUNDLE.format(name=name, signer=signer, pem=pem.replace("\n", "\n    "))


@pytest.fixture(scope="module")
def on(tmp_path_factory):
    started = Server(tmp_path_factory.mktemp("on"), "--runtime-config=api/beta=false,certificates.k8s.io/v1beta1")
    yield started
    started.stop()


def test_off_by_default(server):
    found = server.kubectl("api-resources", "-o", "name").split()
    assert "clustertrustbundles.certificates.k8s.io" not in found
    refused = server.kubectl("get", "clustertrustbundles", code=1)
    assert 'the server doesn\'t have a resource type "clustertrustbundles"' in refused


def test_a_bundles_life(on):
    assert "clustertrustbundles.certificates.k8s.io" in on.kubectl("api-resources", "-o", "name").split()
    apply = ["apply", "-f", "-"]
    on.kubectl(*apply, stdin=bundle("plain"))
    on.kubectl(*apply, stdin=bundle("example.com:foo:a", "example.com/foo"))
    assert "unchanged" in on.kubectl(*apply, stdin=bundle("plain"))
    rows = [line.split() for line in on.kubectl("get", "clustertrustbundles").splitlines()]
    assert rows == [["NAME", "SIGNERNAME"], ["example.com:foo:a", "example.com/foo"], ["plain", "<none>"]]
    of_signer = on.kubectl("get", "clustertrustbundles", "--field-selector", "spec.signerName=example.com/foo", "-o", "name")
    assert of_signer.split() == ["clustertrustbundle.certificates.k8s.io/example.com:foo:a"]
    on.kubectl("label", "clustertrustbundle", "plain", "a=b")
    stored = on.json("get", "clustertrustbundle", "plain")
    assert (stored["spec"], stored["metadata"]["labels"]) == ({"trustBundle": CA}, {"a": "b"})
    refused = on.kubectl(*apply, stdin=bundle("other", pem="none"), code=1)
    assert "at least one trust anchor must be provided" in refused
    on.kubectl("delete", "clustertrustbundle", "plain", "example.com:foo:a")


def test_accounts_may_read_and_not_attest(on):
    account = "--as=system:serviceaccount:default:default"
    groups = ["--as-group=system:serviceaccounts", "--as-group=system:authenticated"]
    on.kubectl("auth", "can-i", "list", "clustertrustbundles", account, *groups)
    on.kubectl("create", "clusterrole", "writer", "--verb=create", "--resource=clustertrustbundles.certificates.k8s.io")
    on.kubectl("create", "clusterrolebinding", "writer", "--clusterrole=writer", "--user=jane")
    create = ["create", "--as=jane", "-f", "-"]
    signed = bundle("example.com:foo:b", "example.com/foo")
    assert 'user not permitted to attest for signerName "example.com/foo"' in on.kubectl(*create, stdin=signed, code=1)
    on.kubectl("create", "-f", "-", stdin="""
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata:
  name: attester
rules:
- {apiGroups: [certificates.k8s.io], resources: [signers], resourceNames: [example.com/*], verbs: [attest]}
""")
    on.kubectl("create", "clusterrolebinding", "attester", "--clusterrole=attester", "--user=jane")
    on.kubectl(*create, stdin=signed)
