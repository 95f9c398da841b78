import { setTimeout as wait } from "node:timers/promises";
import { EventSource } from "eventsource";
import { createClient as createSse } from "graphql-sse";
import { afterEach, expect, test } from "vitest";
import { startTcpProxy, type TcpProxy } from "../support/tcp-proxy.ts";
import { createClient, kycFields } from "./support/client.ts";
import { freshEnv, fullToken, type Gateway, startGateway, tidyUp } from "./support/gateway.ts";

/** Events of the run, written to two accounts. */
const EVENTS = Number(process.env.STREAM_EVENTS ?? 400);
const ACCOUNTS = ["acme", "globex"];
/** Subscribers of each account and kind of client. */
const SUBSCRIBERS = 2;
const WRITERS = 8;
const PATIENCE = 60_000 + 20 * EVENTS;

afterEach(tidyUp);

/** What a subscriber has seen, in order. */
interface Seen {
  cursors: string[];
  positions: number[];
  kycIds: string[];
}

const CHANGED = `subscription ($after: String) {
  kycChanged(after: $after) { cursor position kycId action kyc { id version } }
}`;

type Change = { cursor: string; position: number; kycId: string | null };

/** A replica that is restarted, behind an address that stays. */
interface Replica {
  gateway: Gateway;
  proxy: TcpProxy;
}

test(
  `each subscriber sees each of ${EVENTS} events of its account once and in order, whatever happens to connections and replicas`,
  async () => {
    const env = await freshEnv("a real database");
    const replicas: Replica[] = [];
    for (let n = 0; n < 2; n++) {
      const gateway = await startGateway(env);
      replicas.push({ gateway, proxy: await startTcpProxy(target(gateway)) });
    }
    const tokens = await Promise.all(ACCOUNTS.map((account) => fullToken(env, account)));
    /** The replica that the next connection goes to. */
    let turn = 0;
    const address = () => {
      turn += 1;
      return `http://127.0.0.1:${replicas[turn % 2]?.proxy.port}/graphql`;
    };
    const starts = await Promise.all(tokens.map((token) => cursorNow(replicas[0]?.gateway.url ?? "", token)));

    const seen = new Map<number, Seen[]>();
    const closes: (() => void)[] = [];
    for (const [account, token] of tokens.entries()) {
      const all: Seen[] = [];
      seen.set(account, all);
      for (let n = 0; n < SUBSCRIBERS; n++) {
        for (const subscribe of [subscribeBySse, subscribeByEventSource]) {
          const one: Seen = { cursors: [], positions: [], kycIds: [] };
          all.push(one);
          closes.push(subscribe(address, token, starts[account] as string, one));
        }
      }
    }

    const acknowledged = ACCOUNTS.map((): string[] => []);
    let written = 0;
    const write = async () => {
      while (written < EVENTS) {
        written += 1;
        const account = written % ACCOUNTS.length;
        const client = createClient(replicas[written % 2]?.gateway.url ?? "", tokens[account] as string);
        const form = kycFields(`c${written}`, "P-1");
        const answer = await client.form("POST", "/v1/kyc", form).catch(() => undefined);
        // What was not acknowledged may have happened or not: it is not compared.
        if (answer?.status === 201) acknowledged[account]?.push(answer.json.id);
        else await wait(50);
      }
    };
    let isOver = false;
    const disturb = async () => {
      for (let round = 1; !isOver; round++) {
        await wait(150 + Math.random() * 400);
        const replica = replicas[round % 2] as Replica;
        const { proxy } = replica;
        if (round % 6 === 0) {
          // Paused, as a machine that is moved: its clients lose it meanwhile.
          process.kill(replica.gateway.pid, "SIGSTOP");
          await wait(300);
          await proxy.cut();
          process.kill(replica.gateway.pid, "SIGCONT");
          await proxy.restore();
        } else if (round % 8 === 1) {
          await proxy.cut();
          await replica.gateway.stop(round % 16 === 1 ? "SIGKILL" : "SIGTERM");
          replica.gateway = await startGateway(env);
          replica.proxy = await startTcpProxy(target(replica.gateway));
        } else {
          await proxy.cut();
          await proxy.restore();
        }
      }
    };
    const disturbed = disturb();
    await Promise.all(Array.from({ length: WRITERS }, write));
    isOver = true;
    await disturbed;

    for (const [account, token] of tokens.entries()) {
      const all = await feed(replicas[0]?.gateway.url ?? "", token, acknowledged[account]?.length ?? 0);
      const ids = new Set(all.map(({ kyc_id }) => kyc_id));
      expect(acknowledged[account]?.filter((id) => !ids.has(id))).toEqual([]);
      for (const one of seen.get(account) ?? []) {
        await expect.poll(() => one.cursors.length, { timeout: PATIENCE }).toBe(all.length);
        expect(one.cursors).toEqual(all.map(({ id }) => id));
        expect(one.positions).toEqual(all.map(({ position }) => position));
        expect(one.kycIds).toEqual(all.map(({ kyc_id }) => kyc_id));
      }
    }
    for (const close of closes) close();
  },
  2 * PATIENCE,
);

const target = ({ url }: Gateway) => ({ host: "127.0.0.1", port: Number(new URL(url).port) });

async function cursorNow(url: string, token: string): Promise<string> {
  const { json } = await createClient(url, token).graphql("{ changeCursor }");
  return json.data.changeCursor;
}

function take(seen: Seen, { cursor, position, kycId }: Change): void {
  if (kycId === null) return;
  seen.cursors.push(cursor);
  seen.positions.push(position);
  seen.kycIds.push(kycId);
}

/** As graphql-sse's users do it: it does not send the last id itself. */
function subscribeBySse(address: () => string, token: string, start: string, seen: Seen): () => void {
  const client = createSse({
    url: address,
    headers: { authorization: `Bearer ${token}` },
    retryAttempts: 1_000_000,
    retry: () => wait(20 + Math.random() * 100),
  });
  const variables = {
    get after() {
      return seen.cursors.at(-1) ?? start;
    },
  };
  const subscribe = () =>
    client.subscribe<{ kycChanged: Change }>(
      { query: CHANGED, variables },
      {
        next: ({ data }) => data && take(seen, data.kycChanged),
        error: () => {},
        complete: () => {},
      },
    );
  subscribe();
  return () => client.dispose();
}

/** As a browser does it, with the header that it can't have. It does not come back after an error: a new one continues. */
function subscribeByEventSource(address: () => string, token: string, start: string, seen: Seen): () => void {
  let source: EventSource;
  let isClosed = false;
  const open = () => {
    const after = seen.cursors.at(-1) ?? start;
    const search = new URLSearchParams({ query: CHANGED, variables: JSON.stringify({ after }) });
    source = new EventSource(`http://gateway.invalid/graphql?${search}`, {
      fetch: (url, init) =>
        fetch(String(url).replace("http://gateway.invalid/graphql", address()), {
          ...init,
          headers: { ...init.headers, authorization: `Bearer ${token}` },
        }),
    });
    source.addEventListener("next", ({ data }) => take(seen, JSON.parse(data).data.kycChanged));
    source.addEventListener("error", async () => {
      // EventSource waits for seconds before it reconnects by itself.
      source.close();
      await wait(20 + Math.random() * 100);
      if (!isClosed) open();
    });
  };
  open();
  return () => {
    isClosed = true;
    source.close();
  };
}

interface FeedEvent {
  id: string;
  position: number;
  kyc_id: string;
}

/** The whole feed, once it has at least so many events and no more come. */
async function feed(url: string, token: string, atLeast: number): Promise<FeedEvent[]> {
  const client = createClient(url, token);
  const all: FeedEvent[] = [];
  for (let after = ""; ; ) {
    const { json } = await client.send("GET", `/v1/events?limit=100&wait=1${after}`);
    all.push(...json.data);
    after = `&after=${json.next_after}`;
    if (json.data.length === 0 && all.length >= atLeast) return all;
  }
}
