import { execFile } from "node:child_process";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import { freshEnv, fullToken, type Gateway, ROOT, startGateway, tidyUp } from "./support/gateway.ts";

const folder = join(ROOT, "test/openapi-client");
/** Runs a program; fails with all that it said. */
const run = (args: string[]) =>
  promisify(execFile)(process.execPath, args, { cwd: folder, timeout: 60_000 }).catch((error) => {
    throw new Error(`${error.message}\n${error.stdout}`);
  });

let gateway: Gateway;
let token: string;

beforeAll(async () => {
  const env = await freshEnv("the embedded database");
  gateway = await startGateway(env);
  token = await fullToken(env);
});
afterAll(tidyUp);

test("a client that is generated from the served document compiles, and does what its types say", async () => {
  await mkdir(join(folder, "generated"), { recursive: true });
  const generator = "node_modules/openapi-typescript/bin/cli.js";
  await run([generator, `${gateway.url}/openapi.json`, "--output", "generated/openapi.d.ts"]);
  // Fails with the reason if the client does not compile, or if a marked mistake compiles.
  await run([join(ROOT, "node_modules/typescript/bin/tsc"), "--project", "."]);

  // Not by its name alone: the project's own check would want what is generated only here.
  const { useEveryCall } = await import(pathToFileURL(join(folder, "client.ts")).href);
  const met = await useEveryCall(gateway.url, token);
  expect(met).toMatchObject({
    record: { customer_id: "cus_generated", verification_status: "pending", document_number: "G1" },
    ids: [met.record.id],
    updated: "verified",
    conflict: "version_conflict",
    read: { id: met.record.id, verification_status: "verified" },
    found: 1,
    deleted: true,
    missing: "No record with this id.",
  });
});
