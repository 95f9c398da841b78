import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { Webhook } from "standardwebhooks";
import { afterAll, beforeAll, expect, test } from "vitest";
import { byCommand } from "../../src/administration/record-act.ts";
import { rotateSecret } from "../../src/webhooks/manage-endpoints.ts";
import { createTestApp, type TestApp } from "../support/app.ts";
import { blocksOf } from "../support/documents.ts";
import { createRecord } from "../support/records.ts";
import { addWebhook, startTestDeliverer, type TestDeliverer } from "../support/webhooks.ts";

/** How the receivers of docs/webhooks.md are run, by the language of their blocks. */
const LANGUAGES = [
  { language: "js", file: "receiver.mjs", command: process.execPath, args: [] },
  { language: "python", file: "receiver.py", command: "python3", args: [] },
  { language: "go", file: "receiver.go", command: "go", args: ["run"] },
];
const isInstalled = (command: string) =>
  spawnSync(command, [command === "go" ? "version" : "--version"]).status === 0;

let gateway: TestApp;
let deliverer: TestDeliverer;
let folder: string;
const children: ChildProcess[] = [];
beforeAll(async () => {
  gateway = await createTestApp();
  deliverer = startTestDeliverer(gateway);
  folder = await mkdtemp(join(tmpdir(), "kyc-receivers-"));
  await symlink(resolve("node_modules"), join(folder, "node_modules"));
});
afterAll(async () => {
  // A receiver in Go is a child of `go run`.
  for (const { pid } of children) if (pid) process.kill(-pid, "SIGKILL");
  await deliverer.stop();
  await gateway.close();
  await rm(folder, { recursive: true, force: true });
});

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  const { port } = server.address() as { port: number };
  await new Promise((done) => server.close(done));
  return port;
}

/** Begins a request, and closes the connection within its body. */
async function breakOff(port: number): Promise<void> {
  const socket = connect(port, "127.0.0.1");
  socket.write("POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{", () => socket.destroySoon());
  await once(socket, "close");
}

test.each(LANGUAGES)(
  "the receiver in $language verifies what arrives, also after a rotation, and refuses what is forged or old",
  async ({ language, file, command, args }) => {
    if (!isInstalled(command)) return;
    const block = blocksOf("docs/webhooks.md").find((one) => one.language === language);
    await writeFile(join(folder, file), block?.text ?? "");
    const port = await freePort();
    const account = `account-${language}`;
    const { secret, endpoint } = await addWebhook(gateway, account, `http://127.0.0.1:${port}/`);
    const child = spawn(command, [...args, file], {
      cwd: folder,
      detached: true,
      env: { ...process.env, PORT: String(port), WEBHOOK_SECRET: secret },
    });
    children.push(child);
    let output = "";
    for (const stream of [child.stdout, child.stderr])
      stream.setEncoding("utf8").on("data", (text: string) => {
        output += text;
      });
    const ask = (headers: Record<string, string>) =>
      fetch(`http://127.0.0.1:${port}/`, { method: "POST", body: "{}", headers }).then(
        ({ status }) => status,
        () => 0,
      );
    const signed = (signer: string, at: Date) => ({
      "webhook-id": "a",
      "webhook-timestamp": String(Math.floor(at.getTime() / 1000)),
      "webhook-signature": new Webhook(signer).sign("a", at, "{}"),
    });
    const now = new Date();
    const forged = signed(`whsec_${Buffer.alloc(32).toString("base64")}`, now);
    await expect.poll(() => ask(forged), { timeout: 60_000, interval: 100 }).toBe(400);
    for (const minutes of [-6, 6])
      expect(await ask(signed(secret, new Date(now.getTime() + 60_000 * minutes)))).toBe(400);
    expect(await ask({ ...forged, "webhook-signature": "v1,\u00e9 v1, v1" })).toBe(400);
    await breakOff(port);
    const token = await gateway.token(account);
    await createRecord(gateway, token);
    await expect.poll(() => output, { timeout: 20_000 }).toContain("kyc.created");
    const managing = {
      accountId: account,
      by: byCommand(),
      keys: gateway.keys,
      networks: [],
      now: Date.now(),
    };
    await gateway.db.transaction((tx) => rotateSecret(tx, managing, { id: endpoint.id }));
    await createRecord(gateway, token);
    await expect.poll(() => output.split("kyc.created").length, { timeout: 20_000 }).toBe(3);
    const states = (
      await gateway.db.execute<{ state: string }>(
        `select state from webhook_deliveries where account_id = '${account}'`,
      )
    ).map(({ state }) => state);
    expect(states).not.toContain("failed");
  },
  90_000,
);
