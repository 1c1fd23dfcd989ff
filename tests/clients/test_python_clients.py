"""The clients that people write in Python: the official one, its dynamic client, and kr8s."""

import threading

import kr8s
import kubernetes
import pytest
from kr8s.objects import ConfigMap, ServiceAccount
from kubernetes.client import V1ConfigMap, V1DeleteOptions, V1ObjectMeta, V1Preconditions
from kubernetes.leaderelection.electionconfig import Config
from kubernetes.leaderelection.leaderelection import LeaderElection
from kubernetes.leaderelection.resourcelock.leaselock import LeaseLock


@pytest.fixture(scope="module")
def api(server):
    with kubernetes.config.new_client_from_config(str(server.kubeconfig)) as api:
        yield api


def test_python_kubernetes_asks_what_is_served(api):
    assert kubernetes.client.VersionApi(api).get_code().git_version.startswith("v1.")
    assert kubernetes.client.CoreApi(api).get_api_versions().versions == ["v1"]
    groups = {group.name for group in kubernetes.client.ApisApi(api).get_api_versions().groups}
    assert {"authentication.k8s.io", "authorization.k8s.io", "rbac.authorization.k8s.io"} <= groups
    assert "serviceaccounts/token" in [one.name for one in kubernetes.client.CoreV1Api(api).get_api_resources().resources]
    assert kubernetes.client.RbacAuthorizationApi(api).get_api_group().preferred_version.version == "v1"
    assert "roles" in [one.name for one in kubernetes.client.RbacAuthorizationV1Api(api).get_api_resources().resources]


def test_python_kubernetes_leads_an_object_through_its_life(api):
    core = kubernetes.client.CoreV1Api(api)
    made = core.create_namespaced_config_map("default", V1ConfigMap(metadata=V1ObjectMeta(name="python"), data={"a": "b"}))
    made.data["a"] = "c"
    assert core.replace_namespaced_config_map("python", "default", made).data == {"a": "c"}
    with pytest.raises(kubernetes.client.ApiException) as late:
        core.replace_namespaced_config_map("python", "default", made)
    assert (late.value.status, late.value.reason) == (409, "Conflict")
    found = core.list_namespaced_config_map("default", field_selector="metadata.name=python", limit=1)
    assert [one.data for one in found.items] == [{"a": "c"}]
    wrong = V1DeleteOptions(preconditions=V1Preconditions(uid="00000000-0000-4000-8000-000000000000"))
    with pytest.raises(kubernetes.client.ApiException) as other:
        core.delete_namespaced_config_map("python", "default", body=wrong)
    assert other.value.status == 409
    core.delete_namespaced_config_map("python", "default")
    with pytest.raises(kubernetes.client.ApiException) as gone:
        core.read_namespaced_config_map("python", "default")
    assert gone.value.status == 404
    assert core.read_namespace("default").status.phase == "Active"


def test_python_kubernetes_watches(api):
    core, told = kubernetes.client.CoreV1Api(api), []
    version = core.list_namespaced_service_account("default").metadata.resource_version
    for name in ["one", "two"]:
        core.create_namespaced_service_account("default", {"metadata": {"name": name}})
        core.delete_namespaced_service_account(name, "default")
    watch = kubernetes.watch.Watch()
    events = watch.stream(core.list_namespaced_service_account, "default", resource_version=version, timeout_seconds=60)
    for event in events:
        told.append((event["type"], event["object"].metadata.name))
        if told[-1] == ("DELETED", "two"):
            watch.stop()
    assert told == [("ADDED", "one"), ("DELETED", "one"), ("ADDED", "two"), ("DELETED", "two")]


def test_python_kubernetes_goes_without_types(api):
    """The dynamic client finds a kind by discovery."""
    client = kubernetes.dynamic.DynamicClient(api)
    maps = client.resources.get(api_version="v1", kind="ConfigMap")
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "dynamic"}, "data": {"a": "b"}}
    made = maps.create(body=body, namespace="default")
    version = made.metadata.resourceVersion
    body["metadata"]["resourceVersion"], body["data"] = version, {"a": "c"}
    maps.replace(body=body, namespace="default")
    event = next(iter(maps.watch(namespace="default", name="dynamic", resource_version=version, timeout=60)))
    assert (event["type"], event["object"].data.a) == ("MODIFIED", "c")
    assert [one.metadata.name for one in maps.get(namespace="default", label_selector="!x").items] == ["dynamic", "kube-root-ca.crt"]
    maps.delete(name="dynamic", namespace="default")
    with pytest.raises(kubernetes.dynamic.exceptions.NotFoundError):
        maps.get(name="dynamic", namespace="default")
    roles = client.resources.get(api_version="rbac.authorization.k8s.io/v1", kind="ClusterRole")
    assert roles.get(name="view").aggregationRule


def test_python_kubernetes_elects_a_leader(api, server):
    """Who leads and fails stops to renew its lease; who waits follows."""
    kubernetes.config.load_kube_config(str(server.kubeconfig))
    leads, fails, stops = [{name: threading.Event() for name in ["one", "two"]} for _ in range(3)]

    def stand(name):
        def lead():
            leads[name].set()
            assert fails[name].wait(60)
            raise RuntimeError("it is asked to fail")

        lock = LeaseLock("python", "default", name)
        LeaderElection(Config(lock, lease_duration=3, renew_deadline=2, retry_period=1, onstarted_leading=lead,
                              onstopped_leading=stops[name].set)).run()

    for name in ["one", "two"]:
        threading.Thread(target=stand, args=[name], daemon=True).start()
        assert leads["one"].wait(60)
    leases = kubernetes.client.CoordinationV1Api(api)
    assert leases.read_namespaced_lease("python", "default").spec.holder_identity == "one"
    assert not leads["two"].is_set()
    fails["one"].set()
    assert stops["one"].wait(60) and leads["two"].wait(60)
    assert leases.read_namespaced_lease("python", "default").spec.holder_identity == "two"
    fails["two"].set()
    assert stops["two"].wait(60)


def test_kr8s(server):
    """It asks for the version and for all resources before it does anything."""
    api = kr8s.api(kubeconfig=str(server.kubeconfig))
    assert api.version()["gitVersion"].startswith("v1.")
    assert "configmaps" in [one["name"] for one in api.api_resources()]
    assert api.whoami() == "admin"
    assert "default" in [one.name for one in api.get("namespaces")]

    made = ConfigMap({"metadata": {"name": "kr8s", "labels": {"tests": "kr8s"}}, "data": {"a": "b"}}, api=api)
    made.create()
    assert made.exists() and made.data.a == "b"
    found = list(api.get("configmaps", namespace="default", label_selector={"tests": "kr8s"}))
    assert [one.name for one in found] == ["kr8s"]
    assert ServiceAccount.get("default", namespace="default", api=api).name == "default"
    told = api.watch("configmaps", namespace="default", label_selector="tests=kr8s")
    assert next(told)[0] == "ADDED"
    ender = threading.Thread(target=made.delete)
    ender.start()
    assert next(told)[0] == "DELETED"
    ender.join()
    assert not made.exists()
