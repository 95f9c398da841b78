import type { Socket } from "node:net";
import { setTimeout as wait } from "node:timers/promises";
import type { FastifyInstance } from "fastify";
import type { Acceptors } from "./load/acceptors.ts";

/** How long an idle connection stays open during a drain, because its next request may be on its way. */
const IDLE_GRACE_MS = 500;
/** How often idle connections are looked for. */
const SWEEP_MS = 100;
/** Time limit for the requests in progress. The database must close within the ten seconds of a stop, too. */
const REQUESTS_DEADLINE_MS = 5000;

/**
 * Must be called before the app listens. The returned function drains the app: afterwards nothing listens and no connection
 * is open. Requests in progress, and requests that arrive on open connections meanwhile, are answered. Requests that have
 * not ended after some seconds are cut, and the function returns false. `onClosed` is called when nothing listens any more.
 * From then on, and not earlier, the app must send `Connection: close` with each answer: clients that get it reconnect
 * immediately, and the system resets connections that wait to be accepted when the last listener closes.
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
    // Browsers open connections in advance. Node treats a connection without any request as busy.
    for (const socket of sockets) if (socket.bytesRead === 0) socket.destroy();
  };
  // After a long turn, late timers run before sockets are read. So read everything that has arrived, twice: otherwise a
  // request that has arrived on a connection that still counts as idle would be lost.
  const closeIdleOnceRead = () => setImmediate(() => setImmediate(closeIdle));
  return async (acceptors, onClosed) => {
    let grace: NodeJS.Timeout | undefined;
    let sweep: NodeJS.Timeout | undefined;
    const closed = acceptors.close(() => {
      onClosed();
      grace = setTimeout(() => {
        closeIdleOnceRead();
        sweep = setInterval(closeIdleOnceRead, SWEEP_MS);
      }, IDLE_GRACE_MS);
    });
    const inTime = await Promise.race([
      closed.then(() => true),
      // This must not keep the process alive.
      wait(REQUESTS_DEADLINE_MS, false, { ref: false }),
    ]);
    clearTimeout(grace);
    clearInterval(sweep);
    server.closeAllConnections();
    await app.close();
    return inTime;
  };
}
