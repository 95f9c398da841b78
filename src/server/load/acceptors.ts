import { spawn } from "node:child_process";
import { once } from "node:events";
import { createServer, type Server, type Socket, Server as TcpServer } from "node:net";

/**
 * How many waiting connections are accepted in one turn of the event loop. Each acceptor adds about 3 µs to a single new
 * connection. With too few, the last of thousands of simultaneous connections waits for seconds.
 */
const ACCEPTORS = 64;

/** A child process that returns a socket several times. This is how Node can duplicate a file descriptor. */
const ECHO = `process.on("message", (times, socket) => {
  for (let time = 0; time < times; time++) process.send("", socket);
})`;

/** Time limit for the exchange with the child process. It takes far less. */
const LONGEST_HANDOVER_MS = 2000;

/** Accepts connections for a server. */
export interface Acceptors {
  /** Stops accepting and then calls `onStopped`. Resolves when all connections have ended, too. */
  close(onStopped?: () => void): Promise<void>;
}

/**
 * Makes a listening server accept several connections in each turn of the event loop. Node accepts one, so while a turn
 * serves hundreds of requests, new connections, including probes, would wait for seconds. Each additional handle on the
 * same socket accepts one more; if none can be created, it stays at one. Connections above `maxConnections` are closed.
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
      // Node fails an internal assertion if a channel is closed while handles are being sent through it.
      const stuck = setTimeout(() => child.kill("SIGKILL"), LONGEST_HANDOVER_MS);
      // Until then the child also has the socket: connections that arrive meanwhile would belong to nobody and be reset.
      await handedOver;
      clearTimeout(stuck);
      const closed = all.map((one) => once(one, "close"));
      // The HTTP server's close() would also cut idle connections, and with them requests that are on their way.
      for (const one of all) TcpServer.prototype.close.call(one);
      onStopped?.();
      await Promise.all(closed);
    },
  };
}
