import { once } from "node:events";
import { createServer, type Server } from "node:http";
import { type AddressInfo, connect, type Socket } from "node:net";
import { setImmediate as turn, setTimeout as wait } from "node:timers/promises";
import { afterEach, beforeEach, expect, test } from "vitest";
import { type Acceptors, acceptMore } from "../../../src/server/load/acceptors.ts";

const AT_ONCE = 60;
const LIMIT = 100;
let server: Server;
let acceptors: Acceptors;
let accepted: number;
let open: number;
let clients: Socket[];
let address: AddressInfo;

beforeEach(async () => {
  open = 0;
  server = createServer().on("connection", (socket) => {
    accepted += 1;
    open += 1;
    socket.once("close", () => {
      open -= 1;
    });
  });
  await once(server.listen(0, "127.0.0.1", LIMIT), "listening");
  address = server.address() as AddressInfo;
  acceptors = acceptMore(server, LIMIT);
  accepted = 0;
  clients = [];
});
afterEach(async () => {
  leave();
  await acceptors.close();
});

function leave(): void {
  for (const client of clients) client.destroy();
  clients = [];
}

async function come(count: number): Promise<void> {
  const these = Array.from({ length: count }, () => connect(address.port, "127.0.0.1").on("error", () => {}));
  clients.push(...these);
  await Promise.all(these.map((client) => once(client, "connect")));
}

/** How many turns of the event loop it takes until all of many connections that came at once are accepted. */
async function turnsToAccept(): Promise<number> {
  leave();
  await expect.poll(() => open).toBe(0);
  const before = accepted;
  for (let n = 0; n < AT_ONCE; n++) clients.push(connect(address.port, "127.0.0.1").on("error", () => {}));
  let turns = 0;
  for (; accepted < before + AT_ONCE && turns < 10 * AT_ONCE; turns++) await turn();
  return turns;
}

test("connections that come at once are accepted several in a turn of the event loop", async () => {
  await expect.poll(turnsToAccept, { timeout: 10_000 }).toBeLessThan(AT_ONCE / 2);
});

test("connections beyond the limit are closed as they come", async () => {
  await come(LIMIT);
  await expect.poll(() => accepted).toBe(LIMIT);
  const another = connect(address.port, "127.0.0.1").on("error", () => {});
  clients.push(another.resume());
  await once(another, "close");
  expect(clients.slice(0, LIMIT).every((client) => !client.destroyed)).toBe(true);
});

test("closing waits for the connections that are open, and no more are accepted", async () => {
  await come(3);
  await expect.poll(() => accepted).toBe(3);
  let closed = false;
  const closing = acceptors.close().then(() => {
    closed = true;
  });
  await expect.poll(() => server.listening).toBe(false);
  expect(closed).toBe(false);
  leave();
  await closing;
});

test("connections that come while it closes at once are accepted or refused, and none is reset", async () => {
  server.on("connection", (socket) => socket.end());
  const closing = acceptors.close();
  const ends: Promise<string>[] = [];
  const endOf = (client: Socket) =>
    new Promise<string>((resolve) => {
      client
        .once("error", (error: NodeJS.ErrnoException) => resolve(error.code ?? ""))
        .once("end", () => resolve("accepted"));
    });
  let isOver = false;
  const over = closing.then(() => {
    isOver = true;
  });
  const comeOne = () => {
    const client = connect({ port: address.port, host: "127.0.0.1", allowHalfOpen: false }).resume();
    ends.push(endOf(client));
    clients.push(client);
  };
  while (!isOver) {
    comeOne();
    await wait(1);
  }
  await over;
  comeOne();
  expect(new Set(await Promise.all(ends))).toEqual(new Set(["accepted", "ECONNREFUSED"]));
});

test("closing at once ends without more connections, whatever is still in progress", async () => {
  await acceptors.close();
  const [error] = await once(connect(address.port, "127.0.0.1"), "error");
  expect(error).toMatchObject({ code: "ECONNREFUSED" });
  expect(accepted).toBe(0);
});
