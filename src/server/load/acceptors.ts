import { spawn } from "node:child_process";
import { once } from "node:events";
import { createServer, type Server, type Socket, Server as TcpServer } from "node:net";

/**
 * How many of the connections that wait are accepted in a turn of the event loop. Each costs some 3 µs for every one
 * that comes alone; with too few, the last of thousands that come at once waits for seconds.
 */
const ACCEPTORS = 64;

/** Hands a socket back as often as it is told: the way in which Node gives out a file's second descriptor. */
const ECHO = `process.on("message", (times, socket) => {
  for (let time = 0; time < times; time++) process.send("", socket);
})`;

/** When it ends, the handover is over long since. Milliseconds. */
const LONGEST_HANDOVER = 2000;

/** What accepts connections for a server. */
export interface Acceptors {
  /** Soon none accepts any more: `onStopped` is called then. Afterwards all connections have ended, too. */
  close(onStopped?: () => void): Promise<void>;
}

/**
 * Lets a server that listens accept several connections in each turn of the event loop. Node accepts one: while a
 * turn serves hundreds of requests, new connections, an operator's probes too, would wait for seconds. A handle of its
 * own on the same socket accepts one more; where none can be had, it stays at one. Beyond `maxConnections` connections
 * are closed as they come.
 */
export function acceptMore(server: Server, maxConnections: number): Acceptors {
  let open = 0;
  server.prependListener("connection", (socket: Socket) => {
    open += 1;
    socket.once("close", () => {
      open -= 1;
    });
    if (open > maxConnections) socket.destroy();
  });
  const all = [server];
  let left = ACCEPTORS - 1;
  const child = spawn(process.execPath, ["-e", ECHO], {
    stdio: ["ignore", "ignore", "ignore", "ipc"],
    env: {},
  });
  const handedOver = new Promise<unknown>((resolve) => child.once("exit", resolve).on("error", resolve));
  child.on("message", (_message, handle) => {
    left -= 1;
    if (handle) {
      const another = createServer({ allowHalfOpen: true, noDelay: true });
      another.on("connection", (socket) => server.emit("connection", socket));
      another.on("error", () => {});
      another.listen(handle, maxConnections);
      all.push(another);
    }
    if (left === 0) child.disconnect();
  });
  child.send(left, (server as unknown as { _handle: Server })._handle, () => {});
  return {
    async close(onStopped) {
      // Node fails an assertion of its own where a channel is closed while handles are on their way through it.
      const stuck = setTimeout(() => child.kill("SIGKILL"), LONGEST_HANDOVER);
      // Until then the other process has the socket as well: what came meanwhile would be left to nobody, and reset.
      await handedOver;
      clearTimeout(stuck);
      const closed = all.map((one) => once(one, "close"));
      // The HTTP server's own close() also cuts idle connections, and with them requests that are on their way.
      for (const one of all) TcpServer.prototype.close.call(one);
      onStopped?.();
      await Promise.all(closed);
    },
  };
}
