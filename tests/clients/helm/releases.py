"""Helm's releases of a small chart with its defaults (server-side apply), and as those before it made them."""

import json
import os
import pathlib
import subprocess

import pytest

CHART = str(pathlib.Path(__file__).parent / "chart")
KINDS = "deployments,services,configmaps,serviceaccounts,roles,rolebindings,secrets"


class Helm:
    """Helm and kubectl in a namespace of their own."""

    def __init__(self, server, namespace):
        self.server, self.namespace = server, namespace

    def __call__(self, *args, code=0):
        done = subprocess.run([os.environ["TOKENSMITH_HELM"], *args, "-n", self.namespace], env=self.server.env(),
                              capture_output=True, text=True, timeout=120)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout if code == 0 else done.stderr

    def kubectl(self, *args):
        return self.server.kubectl(*args, "-n", self.namespace)

    def deployment(self):
        return self.server.json("get", "deployment", "shop", "-n", self.namespace, "--show-managed-fields")

    def images(self):
        return [one["image"] for one in self.deployment()["spec"]["template"]["spec"]["containers"]]

    def names(self):
        """What is there but for what each namespace has."""
        names = self.kubectl("get", KINDS, "-o", "name").split()
        return sorted(name for name in names if name not in ["configmap/kube-root-ca.crt", "serviceaccount/default"])

    def history(self):
        return [(one["revision"], one["status"]) for one in json.loads(self("history", "shop", "-o", "json"))]


@pytest.fixture
def helm(server, request):
    return Helm(server, request.node.name.replace("_", "-"))


RELEASED = ["configmap/shop", "deployment.apps/shop", "role.rbac.authorization.k8s.io/shop",
            "rolebinding.rbac.authorization.k8s.io/shop", "service/shop", "serviceaccount/shop"]


def test_a_release_goes_through_its_life(helm):
    told = helm("install", "shop", CHART, "--create-namespace")
    assert "STATUS: deployed\nREVISION: 1\nDESCRIPTION: Install complete\n" in told and told.endswith("NOTES:\nshop says hello.\n")
    assert helm.names() == sorted([*RELEASED, "secret/sh.helm.release.v1.shop.v1"])
    assert helm.images() == ["app:1", "sidecar:1"]
    found = helm.deployment()["metadata"]
    assert [(one["manager"], one["operation"]) for one in found["managedFields"]] == [("helm", "Apply")]
    assert found["annotations"] == {"meta.helm.sh/release-name": "shop", "meta.helm.sh/release-namespace": helm.namespace}
    account = f"system:serviceaccount:{helm.namespace}:shop"
    assert helm.kubectl("auth", "can-i", "list", "configmaps", f"--as={account}") == "yes\n"

    told = helm("upgrade", "shop", CHART, "--set", "sidecar=false,image=app:2,greeting=bye,replicas=2")
    assert told.startswith('Release "shop" has been upgraded.') and told.endswith("NOTES:\nshop says bye.\n")
    assert helm.images() == ["app:2"], "the sidecar is no longer named"
    assert helm.deployment()["spec"]["replicas"] == 2
    assert json.loads(helm("status", "shop", "-o", "json"))["info"]["status"] == "deployed"
    assert helm.kubectl("get", "configmap", "shop", "-o", "jsonpath={.data.greeting}") == "bye"

    assert helm("rollback", "shop", "1") == "Rollback was a success! Happy Helming!\n"
    assert (helm.images(), helm.deployment()["spec"]["replicas"]) == (["app:1", "sidecar:1"], 1)
    assert helm.history() == [(1, "superseded"), (2, "superseded"), (3, "deployed")]
    listed = json.loads(helm("list", "-o", "json"))
    assert [(one["name"], one["revision"], one["status"]) for one in listed] == [("shop", "3", "deployed")]

    assert helm("uninstall", "shop") == 'release "shop" uninstalled\n'
    assert helm.names() == []


def test_an_upgrade_that_is_refused_is_told_and_can_be_forced(helm):
    helm("install", "shop", CHART, "--create-namespace")
    invalid = helm("upgrade", "shop", CHART, "--set", "replicas=-1", code=1)
    assert 'Deployment.apps "shop" is invalid: spec.replicas: Invalid value: -1: must be greater than or equal to 0' in invalid
    helm.kubectl("scale", "deployment", "shop", "--replicas=3")
    refused = helm("upgrade", "shop", CHART, "--set", "replicas=2", code=1)
    assert 'conflict with "kubectl" with subresource "scale" using apps/v1: .spec.replicas' in refused
    assert helm.deployment()["spec"]["replicas"] == 3
    helm("upgrade", "shop", CHART, "--set", "replicas=2", "--force-conflicts")
    assert helm.deployment()["spec"]["replicas"] == 2
    assert helm.history() == [(1, "superseded"), (2, "failed"), (3, "failed"), (4, "deployed")]
    helm("uninstall", "shop")


def test_dry_runs_change_nothing(helm):
    helm.server.kubectl("create", "namespace", helm.namespace)
    assert "DESCRIPTION: Dry run complete\n" in helm("install", "shop", CHART, "--dry-run=server")
    assert helm.names() == []
    helm("install", "shop", CHART)
    helm("upgrade", "shop", CHART, "--set", "image=app:2", "--dry-run=server")
    assert helm.images() == ["app:1", "sidecar:1"]
    helm("uninstall", "shop")


def test_a_release_by_patches_of_the_client(helm):
    """As Helm 3 does it: creations, and strategic merge patches of what the last release said."""
    helm("install", "shop", CHART, "--create-namespace", "--server-side=false")
    assert [(one["manager"], one["operation"]) for one in helm.deployment()["metadata"]["managedFields"]] == [("helm", "Update")]
    helm.kubectl("set", "image", "deployment/shop", "sidecar=sidecar:2")
    helm("upgrade", "shop", CHART, "--set", "image=app:2")
    assert helm.images() == ["app:2", "sidecar:1"]
    helm("upgrade", "shop", CHART, "--set", "sidecar=false", "--server-side=true", "--force-conflicts")
    assert "Apply" in [one["operation"] for one in helm.deployment()["metadata"]["managedFields"]]
    helm("rollback", "shop", "1", "--server-side=false")
    assert helm.images() == ["app:1", "sidecar:1"]
    helm("uninstall", "shop", "--wait", "--cascade=foreground")
    assert helm.names() == []
