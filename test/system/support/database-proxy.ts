import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { newKey } from "../../support/keys.ts";
import { createEmptyDatabase, type Env, later } from "./gateway.ts";

/**
 * An empty real database behind a proxy of the test's own, which can go away as a server does: `cut` ends every
 * connection and refuses new ones, `restore` takes them again on the same port, `freeze` leaves all open and silent.
 */
export async function cuttableDatabase(): Promise<{
  env: Env;
  cut(): Promise<void>;
  freeze(): void;
  restore(): Promise<void>;
}> {
  const target = new URL(await createEmptyDatabase());
  const sockets = new Set<Socket>();
  let frozen = false;
  const server = createServer((incoming) => {
    const outgoing = connect({ host: target.hostname, port: Number(target.port) });
    for (const [socket, other] of [
      [incoming, outgoing],
      [outgoing, incoming],
    ] as const) {
      sockets.add(socket);
      socket.on("error", () => {});
      socket.on("data", (bytes) => {
        if (!frozen) other.write(bytes);
      });
      socket.once("close", () => {
        sockets.delete(socket);
        other.destroy();
      });
    }
  });
  const listen = async (port: number) => {
    server.listen(port, "127.0.0.1");
    await once(server, "listening");
  };
  const cut = async () => {
    const closed = server.listening ? once(server, "close") : undefined;
    server.close();
    for (const socket of sockets) socket.destroy();
    await closed;
  };
  await listen(0);
  later(cut);
  const { port } = server.address() as AddressInfo;
  const url = new URL(target);
  url.port = String(port);
  return {
    env: { DATABASE_URL: url.href, ENCRYPTION_KEYS: newKey("test") },
    cut,
    freeze: () => {
      frozen = true;
    },
    restore: () => listen(port),
  };
}
