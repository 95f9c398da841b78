import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";

/** A proxy that can go away as a server does, and can fall silent as a network does. */
export interface TcpProxy {
  port: number;
  /** Ends every connection and refuses new ones. */
  cut(): Promise<void>;
  /** Refuses new connections, and leaves the others as they are. */
  refuse(): void;
  /** Takes connections again, on the same port. */
  restore(): Promise<void>;
  /** Takes what is sent on all connections, those to come included, and passes nothing on. */
  freeze(): void;
  /** Forwards the data of new connections. Frozen connections stay frozen. */
  thaw(): void;
}

/** A proxy before a server, on a free port of this machine. */
export async function startTcpProxy(target: { host: string; port: number }): Promise<TcpProxy> {
  const sockets = new Set<Socket>();
  let epoch = { frozen: false };
  const server = createServer((incoming) => {
    const outgoing = connect(target);
    const own = epoch;
    for (const [socket, other] of [
      [incoming, outgoing],
      [outgoing, incoming],
    ] as const) {
      sockets.add(socket);
      socket.on("error", () => {});
      socket.on("data", (bytes) => {
        if (!own.frozen) other.write(bytes);
      });
      socket.once("close", () => {
        sockets.delete(socket);
        // A network that is silent tells neither side that the other one has left.
        if (!own.frozen) other.destroy();
      });
    }
  });
  const listen = async (port: number) => {
    server.listen(port, "127.0.0.1");
    await once(server, "listening");
  };
  await listen(0);
  const { port } = server.address() as AddressInfo;
  return {
    port,
    cut: async () => {
      const closed = server.listening ? once(server, "close") : undefined;
      server.close();
      for (const socket of sockets) socket.destroy();
      await closed;
    },
    refuse: () => {
      server.close();
    },
    restore: () => listen(port),
    freeze: () => {
      epoch.frozen = true;
    },
    thaw: () => {
      epoch = { frozen: false };
    },
  };
}
