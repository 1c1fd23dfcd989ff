// @kubernetes/client-node over $KUBECONFIG: an object's life, an informer, a list in pages, a token and its review.
import assert from "node:assert/strict";
import test from "node:test";

const k8s = await import(process.env.CLIENT_NODE);
const config = new k8s.KubeConfig();
config.loadFromDefault();
const [core, informed] = [config.makeApiClient(k8s.CoreV1Api), "informed"];
const namespace = "default";
const map = (name, labels) => ({ metadata: { name, labels }, data: { a: "b" } });
const code = (wanted) => (error) => error instanceof k8s.ApiException && error.code === wanted;

test("asks what is served", async () => {
  const { gitVersion } = await config.makeApiClient(k8s.VersionApi).getCode();
  assert.match(gitVersion, /^v1\./);
  const { groups } = await config.makeApiClient(k8s.ApisApi).getAPIVersions();
  assert.ok(groups.some(({ name }) => name === "rbac.authorization.k8s.io"));
});

test("leads an object through its life", async () => {
  const made = await core.createNamespacedConfigMap({ namespace, body: map("node") });
  made.data.a = "c";
  const body = await core.replaceNamespacedConfigMap({ namespace, name: "node", body: made });
  assert.equal(body.data.a, "c");
  await assert.rejects(core.replaceNamespacedConfigMap({ namespace, name: "node", body: made }), code(409));
  await core.deleteNamespacedConfigMap({ namespace, name: "node" });
  await assert.rejects(core.readNamespacedConfigMap({ namespace, name: "node" }), code(404));
  const objects = k8s.KubernetesObjectApi.makeApiClient(config);
  const account = { apiVersion: "v1", kind: "ServiceAccount", metadata: { name: "node", namespace } };
  await objects.create(account);
  assert.equal((await objects.read(account)).metadata.name, "node");
  await objects.delete(account);
});

test("pages", async () => {
  for (const number of [1, 2, 3]) await core.createNamespacedConfigMap({ namespace, body: map(`page${number}`, { page: "y" }) });
  const names = [];
  let next;
  do {
    const page = await core.listNamespacedConfigMap({ namespace, labelSelector: "page=y", limit: 2, _continue: next });
    names.push(page.items.map(({ metadata }) => metadata.name));
    next = page.metadata._continue;
  } while (next);
  assert.deepEqual(names, [["page1", "page2"], ["page3"]]);
});

test("informs", { timeout: 60_000 }, async () => {
  const list = () => core.listNamespacedConfigMap({ namespace, labelSelector: informed });
  const informer = k8s.makeInformer(config, `/api/v1/namespaces/${namespace}/configmaps`, list, informed);
  const told = [];
  const seen = new Promise((resolve, reject) => {
    for (const event of ["add", "update", "delete"]) {
      informer.on(event, ({ metadata }) => {
        told.push(`${event} ${metadata.name}`);
        if (event === "delete") resolve();
      });
    }
    informer.on("error", reject);
  });
  await core.createNamespacedConfigMap({ namespace, body: map("before", { [informed]: "y" }) });
  await informer.start();
  const made = await core.createNamespacedConfigMap({ namespace, body: map("after", { [informed]: "y" }) });
  made.data.a = "c";
  await core.replaceNamespacedConfigMap({ namespace, name: "after", body: made });
  await core.deleteNamespacedConfigMap({ namespace, name: "after" });
  await seen;
  await informer.stop();
  assert.deepEqual(told, ["add before", "add after", "update after", "delete after"]);
});

test("has a token made and reviewed", async () => {
  const made = await core.createNamespacedServiceAccountToken({
    namespace, name: "default", body: { spec: { audiences: ["vault"], expirationSeconds: 900 } },
  });
  assert.ok(made.status.expirationTimestamp instanceof Date);
  const reviews = config.makeApiClient(k8s.AuthenticationV1Api);
  const { status } = await reviews.createTokenReview({ body: { spec: { token: made.status.token, audiences: ["vault"] } } });
  assert.ok(status.authenticated);
  assert.equal(status.user.username, "system:serviceaccount:default:default");
});
