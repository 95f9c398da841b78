import { once } from "node:events";
import { type AddressInfo, createServer, connect as openSocket, type Socket } from "node:net";
import { afterEach, expect, test } from "vitest";
import type { Database } from "../../src/db/client.ts";
import { connect } from "../../src/db/pool/pool.ts";
import { isWritable } from "../../src/db/writable.ts";
import { later, tidyUp } from "./support/gateway.ts";
import { startPair } from "./support/standby.ts";

afterEach(tidyUp);

/** Passes connections on to a port that can change, as a name does that another server gets. */
async function startRelay(target: number): Promise<{ port: number; lead(to: number): void }> {
  let current = target;
  const sockets = new Set<Socket>();
  const server = createServer((client) => {
    const upstream = openSocket(current, "127.0.0.1");
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket
        .on("error", () => {})
        .on("close", () => {
          client.destroy();
          upstream.destroy();
        });
    }
    client.pipe(upstream).pipe(client);
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  later(async () => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return {
    port: (server.address() as AddressInfo).port,
    lead: (to) => {
      current = to;
    },
  };
}

const write = (db: Database, id: string) =>
  db.send("insert into deleted_kycs values ('failover', $1, now()) returning current_setting('port')", [id]);

/** Uses every connection of a pool, so that each is led to the server that it will have to leave. */
const warm = (db: Database) =>
  Promise.all(Array.from({ length: 12 }, () => db.execute("select pg_sleep(0.05)")));

test("after a failover a pool with both hosts writes to the new primary by itself", async () => {
  const { primary, standby, failOver } = await startPair();
  const url = new URL(primary);
  const both = `postgres://postgres:${url.password}@127.0.0.1:${new URL(standby).port},127.0.0.1:${url.port}/postgres`;
  const db = connect({ address: { url: both }, poolSize: 4, prepare: true });
  later(() => db.close());
  await warm(db);
  // The standby comes first in the list, and takes no writes.
  await Promise.all(Array.from({ length: 8 }, (_, n) => write(db, `before-${n}`)));
  expect(await isWritable(db)).toBe(true);
  await failOver();
  await expect
    .poll(() => write(db, `poll-${performance.now()}`).catch((e) => e), { timeout: 15_000 })
    .toEqual([[new URL(standby).port]]);
  await expect.poll(() => isWritable(db).catch(() => false), { timeout: 5000 }).toBe(true);
  const everywhere = () =>
    Promise.all(Array.from({ length: 12 }, (_, n) => write(db, `after-${n}-${performance.now()}`)));
  await expect
    .poll(async () => new Set((await everywhere().catch(() => [])).flat(2)), { timeout: 10_000 })
    .toEqual(new Set([new URL(standby).port]));
});

test("a pool whose one address leads to another server after a failover leaves the old one, which is not ready", async () => {
  const { primary, standby, failOver } = await startPair();
  const relay = await startRelay(Number(new URL(primary).port));
  const url = new URL(primary);
  url.port = String(relay.port);
  const db = connect({ address: { url: url.href }, poolSize: 4, prepare: true });
  later(() => db.close());
  await warm(db);
  await write(db, "before");
  await failOver();
  await expect.poll(() => isWritable(db).catch(() => false), { timeout: 10_000 }).toBe(false);
  await expect(write(db, "between")).rejects.toMatchObject({ code: "UNAVAILABLE", retryAfter: 1 });
  relay.lead(Number(new URL(standby).port));
  await expect.poll(() => isWritable(db).catch(() => false), { timeout: 10_000 }).toBe(true);
  await expect
    .poll(() => write(db, `after-${performance.now()}`).catch((e) => e), { timeout: 10_000 })
    .toEqual([[new URL(standby).port]]);
});
