import type { FastifyInstance } from "fastify";
import { byGateway } from "../administration/record-act.ts";
import type { Authenticate } from "../auth/authenticate.ts";
import { devTokenFile, ensureDevToken } from "../auth/dev-token.ts";
import { PageKeys } from "../auth/page-keys.ts";
import type { Config } from "../config/config.ts";
import type { Database } from "../db/client.ts";
import { RequestRefusal } from "../errors.ts";
import type { Keyring } from "../sealing/keyring.ts";
import type { TokenHint } from "./welcome.ts";

const LOOPBACK = /^(127(\.\d{1,3}){3}|::1|::ffff:127(\.\d{1,3}){3})$/;

/** Whether this is an address that only programs on this machine can reach. */
export const isLoopbackHost = (host: string): boolean => host === "localhost" || LOOPBACK.test(host);

/** One answer for every refusal, so that it does not reveal whether a key was used or never existed. */
const REFUSED = new RequestRefusal(
  403,
  "key_refused",
  "This link has been used or has expired. To get new links, run: npx kyc-gateway link",
);

/**
 * Adds `POST /development-token`, which answers with the token for development if the body is an unused page key and
 * the connection comes from this machine. The gateway prints such keys at startup as the fragment of a page's address,
 * which browsers send to nobody: a client that has one has read the gateway's output. Headers prove nothing here, because
 * a relay on this machine can forge all of them.
 */
export function registerDevelopmentToken(
  app: FastifyInstance,
  { token, authenticate, now }: { token: string; authenticate: Authenticate; now: () => number },
): void {
  const keys = new PageKeys(token, now());
  app.post("/development-token", async ({ body, raw }) => {
    const isLocal = LOOPBACK.test(raw.socket.remoteAddress ?? "");
    if (!isLocal || !Buffer.isBuffer(body) || !keys.redeem(body.toString(), now())) throw REFUSED;
    // Fails if the token has been revoked since the start.
    await authenticate(`Bearer ${token}`);
    return { token };
  });
}

/** The token for development, null if there is none, and what a start prints about tokens. */
export async function openDevToken(
  config: Config,
  db: Database,
  keys: Keyring,
): Promise<{ token: string | null; hint: TokenHint }> {
  const command = `npx kyc-gateway token create --account demo --name first --scopes kyc:read,kyc:write,kyc:pii`;
  if (config.databaseUrl !== undefined) return { token: null, hint: { command } };
  const file = devTokenFile(config.dataDir);
  const token = await ensureDevToken(db, keys, file, Date.now(), byGateway());
  if (token === null) return { token, hint: { command } };
  return {
    token,
    hint: { header: `-H "Authorization: Bearer $(cat '${file.replaceAll("'", "'\\''")}')"` },
  };
}
