"""What kubectl reads of a server before it does anything: discovery and OpenAPI. Validation is on, as it is by default."""

import pytest


def test_discovery(server):
    assert "apps/v1" in server.kubectl("api-versions").split()
    resources = server.kubectl("api-resources", "-o", "wide")
    for name in ("componentstatuses", "deployments", "ingresses", "customresourcedefinitions", "tokenreviews"):
        assert name in resources
    assert "is running at" in server.kubectl("cluster-info")
    assert "create,delete,deletecollection" in resources.replace(" ", "")


def test_explain_every_other_resource(server):
    for resource in server.kubectl("api-resources", "-o", "name", "--verbs=list").split()[::2]:
        text = server.kubectl("explain", resource, "--recursive")
        assert "FIELDS:" in text and "metadata" in text, resource
    ports = server.kubectl("explain", "pod.spec.containers.ports")
    assert "containerPort\t<integer> -required-" in ports and "enum: SCTP, TCP, UDP" in ports
    old = server.kubectl("explain", "service.spec", "--output=plaintext-openapiv2")
    assert "clusterIP" in old


def test_validation(server):
    wrong = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: w}\ndatas: {a: b}\n"
    assert 'strict decoding error: unknown field "datas"' in server.kubectl("create", "-f", "-", stdin=wrong, code=1)
    warned = server.kubectl("create", "--validate=warn", "-f", "-", stdin=wrong)
    assert "configmap/w created" in warned and 'Warning: unknown field "datas"' in server.stderr
    server.kubectl("create", "--validate=ignore", "-f", "-", stdin=wrong.replace("name: w", "name: i"))
    assert "Warning" not in server.stderr


@pytest.mark.parametrize("generator", [
    "clusterrole r --verb=get --resource=pods",
    "clusterrolebinding r --clusterrole=r --user=u",
    "configmap c --from-literal=a=b",
    "cronjob c --image=busybox --schedule=*/1\u00a0*\u00a0*\u00a0*\u00a0*",
    "deployment d --image=busybox --replicas=2",
    "ingress i --rule=a.example/=s:80",
    "job j --image=busybox",
    "namespace n",
    "poddisruptionbudget p --selector=a=b --min-available=1",
    "priorityclass p --value=10",
    "quota q --hard=pods=2000",
    "role r --verb=get --resource=pods",
    "rolebinding r --role=r --serviceaccount=default:default",
    "secret generic s --from-literal=a=b",
    "secret docker-registry d --docker-server=a --docker-username=b --docker-password=c",
    "service clusterip s --tcp=80",
    "service externalname e --external-name=a.example",
    "service loadbalancer l --tcp=80",
    "service nodeport n --tcp=80",
    "serviceaccount a",
])
def test_generators(server, generator):
    made = server.kubectl("create", *(word.replace("\u00a0", " ") for word in generator.split(" ")))
    assert made.endswith(" created\n"), made


@pytest.mark.parametrize("form", [
    "wide", "yaml", "json", "name", "jsonpath={.items[*].metadata.name}", "go-template={{len .items}}",
    "custom-columns=NAME:.metadata.name,KIND:.kind",
])
def test_get_in_every_form(server, form):
    assert server.kubectl("get", "configmaps", "-n", "default", "-o", form).strip()


def test_get_sorted_in_chunks(server):
    server.kubectl("create", "configmap", "s-b", "--from-literal=order=1")
    server.kubectl("create", "configmap", "s-a", "--from-literal=order=2")
    names = server.kubectl("get", "cm", "--chunk-size=1", "--sort-by=.data.order", "-o", "name").split()
    assert names.index("configmap/s-b") < names.index("configmap/s-a")


def test_rights(server):
    rights = server.kubectl("auth", "can-i", "--list", "--as=jane")
    assert "selfsubjectreviews.authentication.k8s.io" in rights and "[/openapi/*]" in rights
    assert server.kubectl("auth", "can-i", "get", "/openapi/v3", "--as=jane").strip() == "yes"


def test_component_statuses(server):
    table = server.kubectl("get", "componentstatuses")
    assert "Healthy" in table and "v1 ComponentStatus is deprecated in v1.19+" in server.stderr
