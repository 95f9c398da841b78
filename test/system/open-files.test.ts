import { connect, type Socket } from "node:net";
import { setTimeout as wait } from "node:timers/promises";
import { afterEach, expect, test } from "vitest";
import { CLI, ENGINES, freshEnv, fullToken, listening, start, tidyUp } from "./support/gateway.ts";

const sockets: Socket[] = [];
afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy();
  await tidyUp();
});

const FILES = 700;

test.each(ENGINES)(
  "with %s, more idle connections than the process may open files do no harm",
  async (engine) => {
    const env = await freshEnv(engine);
    const script = `ulimit -n ${FILES}; exec ${process.execPath} ${CLI} serve`;
    const gateway = await listening(start("bash", ["-c", script], { env: { PORT: "0", ...env } }));
    const token = await fullToken(env);
    const line = JSON.parse(
      gateway
        .stdout()
        .split("\n")
        .find((text) => text.includes("MAX_CONNECTIONS")) ?? "{}",
    );
    expect(line).toMatchObject({ level: "warn", openFiles: FILES, maxConnections: expect.any(Number) });

    const port = Number(new URL(gateway.url).port);
    let open = 0;
    for (let n = 0; n < FILES + 200; n += 1) {
      const socket = connect(port, "127.0.0.1", () => {
        open += 1;
      });
      socket.on("close", () => {
        open -= 1;
      });
      socket.on("error", () => {});
      sockets.push(socket);
      if (n % 50 === 0) await wait(20);
    }
    // Several samples of the event loop, and a statement that needs a connection to the database.
    await wait(3000);
    expect(open).toBe(line.maxConnections);
    for (const socket of sockets.splice(0, 300)) socket.destroy();
    const headers = { authorization: `Bearer ${token}` };
    await expect.poll(async () => (await fetch(`${gateway.url}/v1/kyc`, { headers })).status).toBe(200);
    expect((await gateway.stop()).code).toBe(0);
  },
);
