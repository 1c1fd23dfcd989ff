// Verifiers that people run in JavaScript, each as a program that keeps running: verifiers.mjs NAME ISSUER AUDIENCE MODULES,
// the CA in $NODE_EXTRA_CA_CERTS. It reads lines from its standard input: `verify TOKEN` is answered by "taken" or "refused:
// why", `now` by the time it has, which stands still, and `advance SECONDS` moves it.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { createInterface } from "node:readline";

const [name, issuer, audience, modules] = process.argv.slice(2);
const require = createRequire(`${modules}/`);

const System = Date;
let now = System.now();
globalThis.Date = class extends System {
  constructor(...given) {
    super(...(given.length ? given : [now]));
  }
  static now() {
    return now;
  }
};
const begun = now;
performance.now = () => now - begun + 1;

const document = await (await fetch(`${issuer}/.well-known/openid-configuration`)).json();

const verifiers = {
  async jose() {
    const { createRemoteJWKSet, jwtVerify } = await import(`${modules}/node_modules/jose/dist/webapi/index.js`);
    const keys = createRemoteJWKSet(new URL(document.jwks_uri));
    return (token) => jwtVerify(token, keys, { audience, issuer });
  },
  async "jwks-rsa"() {
    const keys = require("jwks-rsa")({ jwksUri: document.jwks_uri });
    const jwt = require("jsonwebtoken");
    const key = ({ kid }, told) => keys.getSigningKey(kid).then((found) => told(null, found.getPublicKey()), told);
    return (token) => new Promise((resolve, reject) => jwt.verify(token, key, { audience, issuer }, (error) => (error ? reject(error) : resolve())));
  },
};

const verify = await verifiers[name]();
const { version } = JSON.parse(readFileSync(`${modules}/node_modules/${name}/package.json`));
console.log(`ready ${name} ${version}`);
for await (const line of createInterface({ input: process.stdin })) {
  const [word, rest] = line.split(" ");
  if (word === "now") console.log(now / 1000);
  else if (word === "advance") {
    now += Number(rest) * 1000;
    // What looks at the time once in a while has looked.
    await new Promise((resolve) => setTimeout(resolve, 5));
    console.log("ok");
  } else {
    try {
      await verify(rest);
      console.log("taken");
    } catch (refusal) {
      console.log(`refused: ${refusal.name}: ${refusal.message}`.replaceAll("\n", " "));
    }
  }
}
