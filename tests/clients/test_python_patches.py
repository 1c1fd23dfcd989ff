"""Patches and server-side apply by the clients that people write in Python, each in its own way."""

import kr8s
import kubernetes
import pytest
import yaml
from kr8s.objects import Deployment
from kubernetes.dynamic.exceptions import ConflictError

MERGE, APPLY = "application/merge-patch+json", "application/apply-patch+yaml"


def web(name, image="app:1", replicas=None):
    containers = [{"name": "app", "image": image}, {"name": "side", "image": "side:1"}]
    spec = {"selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}}, "spec": {"containers": containers}}}
    if replicas is not None:
        spec["replicas"] = replicas
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": spec}


@pytest.fixture(scope="module")
def api(server):
    with kubernetes.config.new_client_from_config(str(server.kubeconfig)) as api:
        yield api


@pytest.fixture
def apps(api):
    apps = kubernetes.client.AppsV1Api(api)
    apps.create_namespaced_deployment("default", web("python"))
    yield apps
    apps.delete_namespaced_deployment("python", "default")


def images(of):
    return [container.image for container in of.spec.template.spec.containers]


def test_python_kubernetes_patches_by_the_form_of_the_body(apps):
    """An object is a strategic merge patch, a list a JSON patch."""
    side = {"spec": {"template": {"spec": {"containers": [{"name": "side", "image": "side:2"}]}}}}
    assert images(apps.patch_namespaced_deployment("python", "default", side)) == ["app:1", "side:2"]
    path = "/spec/template/spec/containers/0/image"
    operations = [{"op": "test", "path": path, "value": "app:1"}, {"op": "replace", "path": path, "value": "app:2"}]
    assert images(apps.patch_namespaced_deployment("python", "default", operations)) == ["app:2", "side:2"]
    with pytest.raises(kubernetes.client.ApiException) as refused:
        apps.patch_namespaced_deployment("python", "default", operations)
    assert refused.value.status == 422
    found = apps.patch_namespaced_deployment("python", "default", side, _content_type=MERGE)
    assert images(found) == ["side:2"], "a merge patch takes the place of the list"
    deployment = apps.read_namespaced_deployment("python", "default")
    deployment.spec.replicas = 3
    assert apps.patch_namespaced_deployment("python", "default", deployment).spec.replicas == 3, "as an object of its own"
    gone = apps.patch_namespaced_deployment("python", "default", {"metadata": {"labels": {"a": "b"}, "annotations": {"a": None}}})
    assert gone.metadata.labels == {"a": "b"} and not gone.metadata.annotations


def test_python_kubernetes_patches_subresources(apps):
    assert apps.patch_namespaced_deployment_scale("python", "default", {"spec": {"replicas": 4}}).spec.replicas == 4
    found = apps.patch_namespaced_deployment_status("python", "default", {"spec": {"replicas": 9}, "status": {"replicas": 2}})
    assert (found.spec.replicas, found.status.replicas) == (4, 2)
    entries = {(one.manager, one.operation, one.subresource) for one in found.metadata.managed_fields}
    # The manager is what the client calls itself, before the version.
    assert entries == {("OpenAPI-Generator", "Update", sub) for sub in [None, "scale", "status"]}


def test_python_kubernetes_applies_with_types(apps):
    def apply(*args, **kwargs):
        return apps.patch_namespaced_deployment("applied", "default", *args, _content_type=APPLY, **kwargs)

    with pytest.raises(kubernetes.client.ApiException) as nobody:
        apply(web("applied"))
    assert nobody.value.status == 422 and "fieldManager: Required value: is required for apply patch" in nobody.value.body
    made = apply(web("applied", replicas=2), field_manager="author")
    assert [(one.manager, one.operation) for one in made.metadata.managed_fields] == [("author", "Apply")]
    with pytest.raises(kubernetes.client.ApiException) as refused:
        apply(web("applied", replicas=3), field_manager="other")
    assert (refused.value.status, refused.value.reason) == (409, "Conflict")
    assert apply(web("applied", replicas=3), field_manager="other", force=True).spec.replicas == 3
    apps.delete_namespaced_deployment("applied", "default")


def test_python_kubernetes_applies_without_types(api):
    deployments = kubernetes.dynamic.DynamicClient(api).resources.get(api_version="apps/v1", kind="Deployment")

    def apply(image, manager, **kwargs):
        return deployments.server_side_apply(body=web("dynamic", image), namespace="default", field_manager=manager, **kwargs)

    made = apply("app:1", "author")
    assert apply("app:1", "author").metadata.resourceVersion == made.metadata.resourceVersion
    assert len(apply("app:1", "other").metadata.managedFields) == 2, "what is the same is shared"
    with pytest.raises(ConflictError) as refused:
        apply("app:2", "other")
    told = yaml.safe_load(refused.value.body)["details"]["causes"]
    assert told == [{"reason": "FieldManagerConflict", "message": 'conflict with "author"',
                     "field": '.spec.template.spec.containers[name="app"].image'}]
    assert images(apply("app:2", "other", force_conflicts=True, dry_run="All")) == ["app:2", "side:1"]
    assert images(deployments.get(name="dynamic", namespace="default")) == ["app:1", "side:1"]
    assert images(apply("app:2", "other", force_conflicts=True)) == ["app:2", "side:1"]
    side = {"spec": {"template": {"spec": {"containers": [{"name": "side", "image": "side:2"}]}}}}
    found = deployments.patch(name="dynamic", namespace="default", body=side, content_type="application/strategic-merge-patch+json")
    assert images(found) == ["app:2", "side:2"]
    deployments.delete(name="dynamic", namespace="default")


def test_python_kubernetes_makes_what_files_say(api, tmp_path):
    file = tmp_path / "all.yaml"
    settings = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "files"}, "data": {"a": "b"}}
    role = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "files"},
            "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]}
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "files"},
               "spec": {"selector": {"app": "files"}, "ports": [{"port": 80}]}}
    items = {"apiVersion": "v1", "kind": "List", "items": [role, service]}
    file.write_text(yaml.safe_dump_all([settings, web("files"), items]))
    assert len(kubernetes.utils.create_from_yaml(api, str(file))) == 3
    with pytest.raises(kubernetes.utils.FailToCreateError) as there:
        kubernetes.utils.create_from_yaml(api, str(file))
    assert [one.status for one in there.value.api_exceptions] == [409] * 4
    core, apps = kubernetes.client.CoreV1Api(api), kubernetes.client.AppsV1Api(api)
    # By apply it is all the same whether they are there.
    kubernetes.utils.create_from_yaml(api, str(file), apply=True)
    assert core.read_namespaced_service("files", "default").spec.ports[0].target_port == 80
    for name, kind in [("deployments", "apps/v1"), ("services", "v1")]:
        found = kubernetes.dynamic.DynamicClient(api).resources.get(api_version=kind, name=name).get(name="files", namespace="default")
        assert ("python-client", "Apply") in [(one.manager, one.operation) for one in found.metadata.managedFields]
    apps.delete_namespaced_deployment("files", "default")


def test_kr8s_patches(server):
    api = kr8s.api(kubeconfig=str(server.kubeconfig))
    made = Deployment(web("kr8s"), api=api, namespace="default")
    made.create()
    made.patch({"spec": {"replicas": 2}})
    assert made.replicas == 2
    made.patch([{"op": "replace", "path": "/spec/template/spec/containers/1/image", "value": "side:2"}], type="json")
    assert [one.image for one in made.spec.template.spec.containers] == ["app:1", "side:2"]
    made.label(tier="front", other="y")
    made.annotate({"example.com/why": "it is asked for"})
    made.label("other-")
    assert made.labels == {"tier": "front"} and made.annotations["example.com/why"] == "it is asked for"
    made.scale(5)
    made.patch({"status": {"replicas": 5}}, subresource="status")
    found = Deployment.get("kr8s", namespace="default", api=api)
    assert (found.replicas, found.status.replicas, found.labels) == (5, 5, {"tier": "front"})
    made.delete()
