import { existsSync } from "node:fs";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, describe, expect, test } from "vitest";
import { createClient } from "../system/support/client.ts";
import {
  CLI,
  type Gateway,
  listening,
  readDevToken,
  start,
  temporaryFolder,
  tidyUp,
} from "../system/support/gateway.ts";
import { createOncePerSurface, expectNumbers, expectSeedRequests } from "./support/requests.ts";
import { NODES } from "./support/versions.ts";

afterEach(tidyUp);

/** The most memory that the first start may take, as docs/operations.md has it, by the version of Node.js. MB. */
const PEAK_MB: Record<string, number> = { 20: 450, 22: 450, 24: 1000 };

describe.each(NODES)("on Node.js $version", ({ version, node }) => {
  test("the embedded database is made, serves, changes its key and ends on SIGTERM, and its memory stays below the documented bound", async () => {
    const env = { DATA_DIR: join(await temporaryFolder(), "data") };
    const serve = () => listening(start(node, [CLI, "serve"], { env: { PORT: "0", ...env } }));
    const said = start(node, ["--version"]);
    await said.exited;
    expect(said.stdout()).toMatch(new RegExp(`^v${version}\\.`));

    const gateway: Gateway = await serve();
    const peak = await peakMegabytes(gateway.pid);
    expect(peak).toBeLessThan(PEAK_MB[version] ?? 0);

    expect(gateway.stderr()).toBe("");

    const token = await readDevToken(env);
    const client = createClient(gateway.url, token);
    await expectSeedRequests(client);
    const records = await createOncePerSurface(client);
    const rotation = start(node, [CLI, "keys", "rotate", "--new"], { env });
    expect((await rotation.exited).code, rotation.stderr()).toBe(0);
    await expectNumbers(client, records);
    expect(await gateway.stop("SIGTERM")).toMatchObject({ code: 0, signal: null });

    const again = await serve();
    await expectNumbers(createClient(again.url, token), records);
    expect(await again.stop("SIGTERM")).toMatchObject({ code: 0, signal: null });
  });
});

/** The most memory that a process and those it has started ever had resident, added up. */
async function peakMegabytes(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, "utf8");
  let total = Number(/^VmHWM:\s+(\d+) kB$/m.exec(status)?.[1]) / 1024;
  for (const thread of await readdir(`/proc/${pid}/task`)) {
    const children = `/proc/${pid}/task/${thread}/children`;
    if (!existsSync(children)) continue;
    const pids = (await readFile(children, "utf8")).split(" ").filter(Boolean);
    for (const child of pids) total += await peakMegabytes(Number(child));
  }
  return Math.round(total);
}
