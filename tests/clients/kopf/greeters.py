"""An operator: for each ConfigMap that asks for it, an account that says what the map says, and goes with it."""

import kopf
import kubernetes

ASKS = {"tests.tokensmith/greets": "yes"}


def core():
    kubernetes.config.load_kube_config()
    return kubernetes.client.CoreV1Api()


@kopf.on.startup()
def begin(settings, **_):
    settings.persistence.finalizer = "tests.tokensmith/greeter"
    settings.posting.level = 0


@kopf.on.create("configmaps", labels=ASKS)
def make(body, name, namespace, patch, **_):
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "annotations": {"says": body["data"]["says"]}}}
    kopf.adopt(account)
    core().create_namespaced_service_account(namespace, account)
    patch.metadata.labels["greeter"] = name
    kopf.info(body, reason="Greets", message=f"{name} greets")


@kopf.on.update("configmaps", labels=ASKS, field="data.says")
def follow(old, new, name, namespace, retry, **_):
    if retry == 0:
        raise kopf.TemporaryError("it is tried again", delay=0.1)
    core().patch_namespaced_service_account(name, namespace, {"metadata": {"annotations": {"says": new, "said": old}}})


@kopf.on.delete("configmaps", labels=ASKS)
def end(name, namespace, **_):
    core().delete_namespaced_service_account(name, namespace)


@kopf.timer("configmaps", labels=ASKS, interval=0.2)
async def beat(patch, body, **_):
    if "beats" not in body["metadata"].get("annotations", {}):
        patch.metadata.annotations["beats"] = "yes"
