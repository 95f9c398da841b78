import { connect, type Socket } from "node:net";
import { setTimeout as wait } from "node:timers/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { EXPANDING } from "../support/expanding-requests.ts";
import { freshEnv, type Gateway, startGateway, tidyUp } from "./support/gateway.ts";

let gateway: Gateway;
let probing = true;
const probes: Promise<void>[] = [];
const failures: string[] = [];

/** Attacks without a token on a gateway with little memory. Meanwhile `/health` is requested every 50 ms. */
beforeAll(async () => {
  gateway = await startGateway({
    ...(await freshEnv("a real database")),
    ...{ LOG_LEVEL: "error", NODE_OPTIONS: "--max-old-space-size=512" },
  });
  const probe = async () => {
    while (probing) {
      const status = await fetch(`${gateway.url}/health`).then(
        (answer) => answer.status,
        (error) => String(error.cause ?? error),
      );
      if (status !== 200) failures.push(String(status));
      await wait(50);
    }
  };
  probes.push(probe());
});
afterAll(async () => {
  probing = false;
  await Promise.all(probes);
  await tidyUp();
});

async function stillServes(): Promise<void> {
  expect(failures).toEqual([]);
  const answer = await fetch(`${gateway.url}/graphql?query={__typename}`);
  expect(await answer.json()).toMatchObject({ data: { __typename: "Query" } });
}

/** A connection that nothing is read from. */
function open(): Socket {
  const { hostname, port } = new URL(gateway.url);
  const socket = connect(Number(port), hostname);
  socket.on("error", () => {});
  socket.pause();
  return socket;
}

test("every kind of request that expands, ten at a time and again", async () => {
  for (const { name, build } of EXPANDING) {
    for (const bytes of [2500, 95_000]) {
      const { method, url, headers, payload } = build(bytes);
      const ask = async () => {
        const answer = await fetch(new URL(String(url), gateway.url), {
          method: String(method),
          // fetch takes Latin-1 alone, as the wire does.
          headers: Object.entries(headers ?? {}).map(([key, value]) => [
            key,
            Buffer.from(String(value)).toString("latin1"),
          ]),
          ...(payload !== undefined && { body: String(payload) }),
        });
        await answer.arrayBuffer();
        return answer.status;
      };
      for (let round = 0; round < 2; round++) {
        const statuses = await Promise.all(Array.from({ length: 10 }, ask));
        expect([name, statuses.filter((status) => status >= 500 && status !== 503)]).toEqual([name, []]);
      }
    }
  }
  await stillServes();
});

test("bodies in chunks of one byte, over many connections", async () => {
  const sockets = Array.from({ length: 100 }, open);
  const head =
    "POST /graphql HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
  const chunks = "1\r\n{\r\n".repeat(10_000);
  for (const socket of sockets) socket.write(head);
  for (let round = 0; round < 9; round++) {
    for (const socket of sockets) if (socket.writable) socket.write(chunks);
    await wait(100);
  }
  await stillServes();
  for (const socket of sockets) socket.destroy();
});

test("answers that are large and not read, over many connections and many to each", async () => {
  const page = await (await fetch(`${gateway.url}/graphql`, { headers: { accept: "text/html" } })).text();
  const path = /\/graphql\/assets\/[^"]*graphiql\.js/.exec(page)?.[0] ?? expect.fail("no script in the page");
  const introspection = encodeURIComponent("{ __schema { types { name fields { name description } } } }");
  const sockets = Array.from({ length: 100 }, open);
  for (const [index, socket] of sockets.entries()) {
    const target = index % 2 ? path : `/graphql?query=${introspection}`;
    socket.write(`GET ${target} HTTP/1.1\r\nHost: x\r\n\r\n`.repeat(50));
  }
  await wait(3000);
  await stillServes();
  for (const socket of sockets) socket.destroy();
});

test("documents that are never the same, and stay in no cache for long", async () => {
  const fields = Array.from({ length: 30 }, (_, n) => `a${n}: kyc(id: "x") { ...f }`).join(" ");
  for (let batch = 0; batch < 30; batch++) {
    await Promise.all(
      Array.from({ length: 10 }, async (_, n) => {
        const query = `# ${batch} ${n} ${"x".repeat(50_000)}\n{ ${fields} } fragment f on Kyc { id version }`;
        const answer = await fetch(`${gateway.url}/graphql`, {
          method: "POST",
          headers: { "content-type": "application/json" },
          body: JSON.stringify({ query }),
        });
        await answer.arrayBuffer();
      }),
    );
  }
  await stillServes();
});

test("tokens that are guessed, each another one", async () => {
  for (let batch = 0; batch < 20; batch++) {
    const statuses = await Promise.all(
      Array.from({ length: 50 }, async (_, n) => {
        const authorization = `Bearer kycgw_${String(batch * 50 + n).padStart(43, "A")}`;
        const answer = await fetch(`${gateway.url}/v1/kyc`, { headers: { authorization } });
        await answer.arrayBuffer();
        return answer.status;
      }),
    );
    expect(statuses.filter((status) => status !== 401 && status !== 503)).toEqual([]);
  }
  await stillServes();
});
