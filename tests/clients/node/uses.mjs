// Does with a projected token what an application written in JavaScript does: uses.mjs FILE URL; the CA is in
// $NODE_EXTRA_CA_CERTS.
import { readFile } from 'node:fs/promises';

const [path, url] = process.argv.slice(2);
// The file is replaced while the program runs: it is read whenever the token is needed.
const token = (await readFile(path, 'utf8')).trim();
const response = await fetch(url, { headers: { Authorization: `Bearer ${token}` } });
if (!response.ok) throw new Error(`${response.status} ${await response.text()}`);
process.stdout.write(await response.text());
