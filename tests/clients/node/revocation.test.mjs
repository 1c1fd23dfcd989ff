// jose with a warm key set after a revocation: it goes on until an unknown kid makes it fetch, not within 30 s of the last
// time.
import assert from "node:assert/strict";
import test from "node:test";

const { createRemoteJWKSet, errors, jwtVerify } = await import(process.env.JOSE);
const { ADMIN, KID, URL: SERVER } = process.env;
const audience = "https://reader.example";
const post = async (path, body) => {
  const headers = { authorization: `Bearer ${ADMIN}`, "content-type": "application/json" };
  const reply = await fetch(SERVER + path, { method: "POST", headers, body: JSON.stringify(body) });
  assert.ok(reply.ok, await reply.clone().text());
  return reply.json();
};
const mint = async () =>
  (await post("/api/v1/namespaces/default/serviceaccounts/default/token", { spec: { audiences: [audience] } })).status.token;
const poke = async () => (await post("/admin/v1/keys/poke", { audience })).token;

test("after a revocation", async () => {
  const jwks = new URL(`${SERVER}/openid/v1/jwks`);
  const [patient, eager] = [createRemoteJWKSet(jwks), createRemoteJWKSet(jwks, { cooldownDuration: 0 })];
  const verify = (token, keys) => jwtVerify(token, keys, { audience });
  const stolen = await mint();
  for (const keys of [patient, eager]) await verify(stolen, keys);
  await post(`/admin/v1/keys/${KID}/revoke`, { force: true, reason: "stolen" });
  for (const keys of [patient, eager]) {
    await verify(stolen, keys);
    await assert.rejects(verify(await poke(), keys), errors.JWKSNoMatchingKey);
  }
  await verify(stolen, patient);
  await assert.rejects(verify(stolen, eager), errors.JWKSNoMatchingKey);
});
