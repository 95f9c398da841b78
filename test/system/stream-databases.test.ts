import { afterEach, expect, test } from "vitest";
import { openStream } from "../support/event-stream.ts";
import { createClient, kycFields } from "./support/client.ts";
import { startPgbouncer } from "./support/debian.ts";
import { type Env, freshEnv, fullToken, type Gateway, startGateway, tidyUp } from "./support/gateway.ts";

afterEach(tidyUp);

const EVENTS = 40;
const CHANGED = `subscription ($after: String) {
  kycChanged(after: $after) { cursor position action kycId kyc { version } }
}`;

/** Writes at all gateways in turn, and expects each to stream all changes in order, within a second of the last write. */
async function followEachOther(gateways: readonly Gateway[], token: string): Promise<void> {
  const clients = gateways.map(({ url }) => createClient(url, token));
  const { json } = await (clients[0] as (typeof clients)[0]).graphql("{ changeCursor }");
  const after: string = json.data.changeCursor;
  const streams = await Promise.all(
    gateways.map(({ url }) => openStream(url, token, CHANGED, { variables: { after } })),
  );
  const ids: string[] = [];
  for (let n = 0; n < EVENTS; n++) {
    const client = clients[n % clients.length] as (typeof clients)[0];
    const answer = await client.form("POST", "/v1/kyc", kycFields(`c${n}`, `N-${n}`));
    ids.push(answer.json.id);
  }
  const writtenAt = performance.now();
  for (const stream of streams) {
    const changes = (await stream.until(EVENTS)).map(({ data }) => data.kycChanged);
    expect(changes.map(({ kycId }) => kycId).sort()).toEqual([...ids].sort());
    const positions: number[] = changes.map(({ position }) => position);
    // Acts of administration have positions, too.
    expect(positions).toEqual([...new Set(positions)].sort((a, b) => a - b));
    // One more connection continues where this one was.
    const resumed = await openStream(gateways[0]?.url as string, token, CHANGED, {
      headers: { "last-event-id": changes[EVENTS - 3].cursor },
    });
    const rest = (await resumed.until(2)).map(({ data }) => data.kycChanged.cursor);
    expect(rest).toEqual(changes.slice(-2).map(({ cursor }) => cursor));
    resumed.close();
  }
  // Far above what it takes: the gateways look five times a second.
  expect(performance.now() - writtenAt).toBeLessThan(10_000);
  const metrics = await fetch(`${gateways[0]?.url}/metrics`);
  expect(await metrics.text()).toMatch(/^change_notifications_arrive 0$/m);
  for (const stream of streams) stream.close();
}

test("two gateways behind a pooler that shares connections between transactions stream each other's changes", async () => {
  const direct = await freshEnv("a real database");
  const pooled = await startPgbouncer(direct.DATABASE_URL as string);
  const patience = { STATEMENT_TIMEOUT: "20 s", REQUEST_TIMEOUT: "30 s" };
  const env: Env = { ...direct, ...patience, DATABASE_URL: pooled, DATABASE_PREPARE: "false" };
  const gateways = await Promise.all([startGateway(env), startGateway(env)]);
  await followEachOther(gateways, await fullToken(env));
});

test("a gateway streams the changes of the embedded database", async () => {
  const env = await freshEnv("the embedded database");
  const gateway = await startGateway(env);
  await followEachOther([gateway], await fullToken(env));
});
