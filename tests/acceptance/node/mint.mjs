// Mints with `jose`: for each algorithm a fresh key, a token of it, and the same claims signed by a stranger's key.
// Argument: the claims as JSON, to which each token adds its algorithm as `sub`. Prints one line of JSON.
import { randomBytes, webcrypto } from 'node:crypto';
import { SignJWT, exportJWK, exportSPKI, generateKeyPair } from 'jose';

// jose expects it there, as it is from Node 20 on.
globalThis.crypto ??= webcrypto;

const ALGORITHMS = ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'EdDSA'];
const SECRETS = { HS256: 32, HS384: 48, HS512: 64 };
const claims = JSON.parse(process.argv[2]);

function sign(alg, key) {
  return new SignJWT({ ...claims, sub: alg }).setProtectedHeader({ alg, kid: `key-${alg}` }).sign(key);
}

async function ofKeyPair(alg) {
  // RSA keys are the slow part: both at once.
  const [own, other] = await Promise.all([0, 0].map(() => generateKeyPair(alg, { extractable: true })));
  const jwk = { ...(await exportJWK(own.publicKey)), kid: `key-${alg}`, alg, use: 'sig' };
  const [token, stranger] = await Promise.all([sign(alg, own.privateKey), sign(alg, other.privateKey)]);
  return [alg, { token, stranger, pem: await exportSPKI(own.publicKey), jwk }];
}

async function ofSecret([alg, size]) {
  // Hexadecimal, since a secret comes to the gateway as text.
  const [secret, other] = [0, 0].map(() => randomBytes(size).toString('hex'));
  const [token, stranger] = await Promise.all([secret, other].map((one) => sign(alg, new TextEncoder().encode(one))));
  return [alg, { token, stranger, secret }];
}

const minted = [...ALGORITHMS.map(ofKeyPair), ...Object.entries(SECRETS).map(ofSecret)];
console.log(JSON.stringify(Object.fromEntries(await Promise.all(minted))));
