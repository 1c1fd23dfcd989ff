// jose verifies a pod-bound token from discovery alone, refuses it for another audience, and reads a pod.
import assert from "node:assert/strict";
import test from "node:test";

const { createRemoteJWKSet, errors, jwtVerify } = await import(process.env.JOSE);
const { API_TOKEN, AUDIENCE, ISSUER, TOKEN, URL: SERVER } = process.env;

const discovered = await (await fetch(`${ISSUER}/.well-known/openid-configuration`)).json();
const keys = createRemoteJWKSet(new URL(discovered.jwks_uri));
const algorithms = discovered.id_token_signing_alg_values_supported;

test("verifies from discovery alone", async () => {
  assert.equal(discovered.issuer, ISSUER);
  const { payload } = await jwtVerify(TOKEN, keys, { issuer: ISSUER, audience: AUDIENCE, algorithms });
  assert.equal(payload["kubernetes.io"].pod.name, "web");
});

test("refuses another audience", async () => {
  const other = jwtVerify(TOKEN, keys, { issuer: ISSUER, audience: "https://other.example", algorithms });
  await assert.rejects(other, errors.JWTClaimValidationFailed);
});

test("reads a pod", async () => {
  const headers = { authorization: `Bearer ${API_TOKEN}` };
  const reply = await fetch(`${SERVER}/api/v1/namespaces/default/pods/web`, { headers });
  assert.equal(reply.status, 200);
  assert.equal((await reply.json()).metadata.name, "web");
});
