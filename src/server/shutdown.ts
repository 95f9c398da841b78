import type { Socket } from "node:net";
import { setTimeout as wait } from "node:timers/promises";
import type { FastifyInstance } from "fastify";
import type { Acceptors } from "./load/acceptors.ts";

/** A client that has just been answered may be sending its next request already. Milliseconds. */
const IDLE_GRACE = 500;
/** How often connections are looked for that have become idle. Milliseconds. */
const SWEEP = 100;
/** Leaves the database time to close within the ten seconds that an operator's stop allows. Milliseconds. */
const REQUESTS_DEADLINE = 5000;

/**
 * To be called before the app listens. The function that comes back drains it: afterwards nothing listens and no
 * connection is open. Requests that are under way, or that arrive on an open connection while it drains, are
 * answered; what has not ended after some seconds is cut, and false comes back. `onClosed` is called once nothing listens:
 * the app must send `Connection: close` with each answer from then on, and no earlier. Whoever is told so connects
 * again at once, and what waits to be accepted when the last one stops listening is reset by the system.
 */
export function prepareDrain(
  app: FastifyInstance,
): (acceptors: Acceptors, onClosed: () => void) => Promise<boolean> {
  const { server } = app;
  const sockets = new Set<Socket>();
  server.on("connection", (socket: Socket) => {
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
  });
  const closeIdle = () => {
    server.closeIdleConnections();
    // To Node, a connection on which nothing was ever asked is busy: browsers open such ones in advance.
    for (const socket of sockets) if (socket.bytesRead === 0) socket.destroy();
  };
  // Timers that are late, as after a long turn, come before anything is read: first all that has come is, and then all
  // that has come meanwhile. A request in it would be lost otherwise, its connection being idle as far as anyone knows.
  const closeIdleOnceRead = () => setImmediate(() => setImmediate(closeIdle));
  return async (acceptors, onClosed) => {
    let grace: NodeJS.Timeout | undefined;
    let sweep: NodeJS.Timeout | undefined;
    const closed = acceptors.close(() => {
      onClosed();
      grace = setTimeout(() => {
        closeIdleOnceRead();
        sweep = setInterval(closeIdleOnceRead, SWEEP);
      }, IDLE_GRACE);
    });
    const inTime = await Promise.race([
      closed.then(() => true),
      // Does not keep the process alive once everything has ended.
      wait(REQUESTS_DEADLINE, false, { ref: false }),
    ]);
    clearTimeout(grace);
    clearInterval(sweep);
    server.closeAllConnections();
    await app.close();
    return inTime;
  };
}
