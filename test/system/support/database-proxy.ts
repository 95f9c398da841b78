import { newKey } from "../../support/keys.ts";
import { startTcpProxy, type TcpProxy } from "../../support/tcp-proxy.ts";
import { createEmptyDatabase, type Env, later } from "./gateway.ts";

/** An empty real database behind a proxy of the test's own, and what a gateway is started with to use it. */
export async function cuttableDatabase(): Promise<TcpProxy & { env: Env }> {
  const url = new URL(await createEmptyDatabase());
  const proxy = await startTcpProxy({ host: url.hostname, port: Number(url.port) });
  later(proxy.cut);
  url.port = String(proxy.port);
  return { ...proxy, env: { DATABASE_URL: url.href, ENCRYPTION_KEYS: newKey("test") } };
}
