// @kubernetes/client-node over $KUBECONFIG: patches of each type, server-side apply with types and without.
import assert from "node:assert/strict";
import test from "node:test";

const k8s = await import(process.env.CLIENT_NODE);
const config = new k8s.KubeConfig();
config.loadFromDefault();
const { JsonPatch, MergePatch, StrategicMergePatch, ServerSideApply } = k8s.PatchStrategy;
const apps = config.makeApiClient(k8s.AppsV1Api);
const objects = k8s.KubernetesObjectApi.makeApiClient(config);
const namespace = "default";
const code = (wanted) => (error) => error instanceof k8s.ApiException && error.code === wanted;
const as = (type) => k8s.setHeaderOptions("Content-Type", type);
const images = ({ spec }) => spec.template.spec.containers.map(({ image }) => image);
const pod = (...containers) => ({ spec: { template: { spec: { containers } } } });
const web = (name, replicas) => ({
  apiVersion: "apps/v1",
  kind: "Deployment",
  metadata: { name, namespace },
  spec: {
    replicas,
    selector: { matchLabels: { app: name } },
    template: {
      metadata: { labels: { app: name } },
      spec: { containers: [{ name: "app", image: "app:1" }, { name: "side", image: "side:1" }] },
    },
  },
});

test("patches by each type", async () => {
  const name = "patches";
  await apps.createNamespacedDeployment({ namespace, body: web(name) });
  const patch = (type, body) => apps.patchNamespacedDeployment({ namespace, name, body }, as(type));
  const side = pod({ name: "side", image: "side:2" });
  assert.deepEqual(images(await patch(StrategicMergePatch, side)), ["app:1", "side:2"]);
  const remove = [{ op: "remove", path: "/spec/template/spec/containers/0" }];
  assert.deepEqual(images(await patch(JsonPatch, remove)), ["side:2"]);
  await assert.rejects(patch(JsonPatch, [{ op: "test", path: "/spec/replicas", value: 2 }]), code(422));
  assert.deepEqual(images(await patch(MergePatch, pod({ name: "app", image: "app:3" }))), ["app:3"]);
  const scale = await apps.patchNamespacedDeploymentScale({ namespace, name, body: { spec: { replicas: 3 } } }, as(MergePatch));
  assert.equal(scale.spec.replicas, 3);
  const status = { status: { replicas: 3 }, spec: { replicas: 9 } };
  const found = await apps.patchNamespacedDeploymentStatus({ namespace, name, body: status }, as(StrategicMergePatch));
  assert.deepEqual([found.spec.replicas, found.status.replicas], [3, 3]);
});

test("applies with types", async () => {
  const name = "typed";
  const apply = (replicas, fieldManager, force) =>
    apps.patchNamespacedDeployment({ namespace, name, body: web(name, replicas), fieldManager, force }, as(ServerSideApply));
  const made = await apply(1, "author");
  assert.deepEqual(made.metadata.managedFields.map(({ manager, operation }) => [manager, operation]), [["author", "Apply"]]);
  await assert.rejects(apply(2, "other"), (error) => {
    const { reason, details } = JSON.parse(error.body);
    assert.deepEqual([error.code, reason, details.causes.map(({ field }) => field)], [409, "Conflict", [".spec.replicas"]]);
    return true;
  });
  assert.equal((await apply(2, "other", true)).spec.replicas, 2);
});

test("applies without types", async () => {
  const apply = (object, manager, force, dryRun) => objects.patch(object, undefined, dryRun, manager, force, ServerSideApply);
  const made = await apply(web("objects", 1), "author");
  const again = await apply(web("objects", 1), "author");
  assert.equal(again.metadata.resourceVersion, made.metadata.resourceVersion);
  await assert.rejects(apply(web("objects", 2), "other"), code(409));
  await assert.rejects(apply(web("objects", 2)), code(422), "who applies says who it is");
  assert.equal((await apply(web("objects", 2), "other", true, "All")).spec.replicas, 2);
  assert.equal((await objects.read(web("objects"))).spec.replicas, 1);
  assert.equal((await apply(web("objects", 2), "other", true)).spec.replicas, 2);
  const account = { apiVersion: "v1", kind: "ServiceAccount", metadata: { name: "objects", namespace, labels: { a: "b" } } };
  await apply(account, "author");
  delete account.metadata.labels;
  assert.equal((await apply(account, "author")).metadata.labels, undefined);
  const patched = await objects.patch({ ...web("objects"), spec: { template: { spec: { containers: [{ name: "side", image: "side:2" }] } } } });
  assert.deepEqual(images(patched), ["app:1", "side:2"], "a strategic patch where nothing is said");
});
