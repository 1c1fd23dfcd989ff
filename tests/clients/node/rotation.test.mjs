// jose across rotations, at the server's time: a key that was published before it signed needs no fetch; one that was
// not is found by a fetch, but not within 30 s of the last one.
import assert from "node:assert/strict";
import test from "node:test";

const { createRemoteJWKSet, errors, jwtVerify } = await import(process.env.JOSE);
const { ADMIN, URL: SERVER } = process.env;
const audience = "https://reader.example";
const ask = async (method, path, body) => {
  const headers = { authorization: `Bearer ${ADMIN}`, "content-type": "application/json" };
  const reply = await fetch(SERVER + path, { method, headers, body: body && JSON.stringify(body) });
  assert.ok(reply.ok, await reply.clone().text());
  return reply.json();
};
const clock = async () => new Date((await ask("GET", "/testing/v1/clock")).now);
// A second more than the period: the server's clock is finer than this one.
const rotate = async () =>
  ask("PUT", "/testing/v1/clock", { now: new Date((await clock()).getTime() + (26 * 3600 + 1) * 1000).toISOString() });
const mint = async () => {
  const spec = { audiences: [audience], expirationSeconds: 3 * 86400 };
  return (await ask("POST", "/api/v1/namespaces/default/serviceaccounts/default/token", { spec })).status.token;
};

test("across two rotations", async () => {
  const jwks = new URL(`${SERVER}/openid/v1/jwks`);
  const [patient, eager] = [createRemoteJWKSet(jwks), createRemoteJWKSet(jwks, { cooldownDuration: 0 })];
  const verify = async (token, keys) => jwtVerify(token, keys, { audience, currentDate: await clock() });
  const first = await mint();
  for (const keys of [patient, eager]) await verify(first, keys);
  await rotate();
  const second = await mint();
  for (const keys of [patient, eager]) {
    const before = keys.jwks();
    for (const token of [first, second]) await verify(token, keys);
    assert.deepEqual(keys.jwks(), before, "the key was in the set before it signed");
  }
  await rotate();
  const third = await mint();
  await assert.rejects(verify(third, patient), errors.JWKSNoMatchingKey);
  for (const token of [first, second, third]) await verify(token, eager);
});
