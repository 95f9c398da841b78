import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { exportJWK, type GenerateKeyPairResult, generateKeyPair, type JWTPayload, SignJWT } from "jose";

/** A company's identity provider on the loopback: it publishes its keys, and signs the given claims. */
export interface IdentityProvider {
  issuer: string;
  jwksUrl: string;
  /** How often the keys were asked for. */
  fetches: number;
  /** How it answers: with its keys, too late, with an error, or with something else. */
  mood: "well" | "silent" | "failing" | "babbling" | "redirecting";
  /** Afterwards it publishes one key more, under this id, and signs with it. */
  addKey(kid: string, alg?: string): Promise<void>;
  /** Afterwards it publishes this key no more. */
  dropKey(kid: string): void;
  /** A token with these claims besides good ones; undefined takes a claim away. */
  sign(
    claims?: Record<string, unknown>,
    header?: { kid?: string | undefined; typ?: string },
  ): Promise<string>;
  close(): Promise<void>;
}

export const AUDIENCE = "https://kyc.example";

/** Starts a provider with a new key for ES256. `now` is in epoch milliseconds. */
export async function startIdentityProvider(now: () => number): Promise<IdentityProvider> {
  const keys = new Map<string, { alg: string; pair: GenerateKeyPairResult }>();
  let newest = "";
  const server = createServer(async (_request, response) => {
    provider.fetches += 1;
    if (provider.mood === "silent") return;
    if (provider.mood === "failing") return void response.writeHead(500).end();
    if (provider.mood === "redirecting") return void response.writeHead(302, { location: "/" }).end();
    if (provider.mood === "babbling") return void response.end("<p>Maintenance</p>");
    const published = await Promise.all(
      [...keys].map(async ([kid, { alg, pair }]) => ({ ...(await exportJWK(pair.publicKey)), kid, alg })),
    );
    response.setHeader("content-type", "application/json").end(JSON.stringify({ keys: published }));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const issuer = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const provider: IdentityProvider = {
    issuer,
    jwksUrl: `${issuer}/keys`,
    fetches: 0,
    mood: "well",
    async addKey(kid, alg = "ES256") {
      keys.set(kid, { alg, pair: await generateKeyPair(alg, { extractable: true }) });
      newest = kid;
    },
    dropKey: (kid) => void keys.delete(kid),
    async sign(claims = {}, header = {}) {
      const { alg, pair } = keys.get(newest) as { alg: string; pair: GenerateKeyPairResult };
      const seconds = Math.floor(now() / 1000);
      const payload = { ...good(issuer, seconds), ...claims } as JWTPayload;
      return new SignJWT(payload).setProtectedHeader({ alg, kid: newest, ...header }).sign(pair.privateKey);
    },
    async close() {
      server.close();
      server.closeAllConnections();
      await once(server, "close");
    },
  };
  await provider.addKey("first");
  return provider;
}

const good = (issuer: string, seconds: number) => ({
  ...{ iss: issuer, aud: AUDIENCE, sub: "ann@acme.example", iat: seconds, exp: seconds + 300 },
  ...{ account: "acme", scope: "openid kyc:read kyc:write" },
});
