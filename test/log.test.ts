import { execFileSync } from "node:child_process";
import { constants, mkdtempSync, openSync, readSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Writable } from "node:stream";
import { setTimeout as wait } from "node:timers/promises";
import { expect, test } from "vitest";
import { createLog, openOutput } from "../src/log.ts";

const CANARY = "CANARY47110815";

/** A log, and the lines that it has written. */
function newLog() {
  const lines: string[] = [];
  const sink = new Writable({
    write(chunk, _encoding, done) {
      lines.push(String(chunk));
      done();
    },
  });
  return { log: createLog("info", sink), lines: () => lines.map((line) => JSON.parse(line)) };
}

test("a line about an error has none of its words, whoever writes it and in whatever way", () => {
  const { log, lines } = newLog();
  const error = new Error(`GET /v1/kyc?document_number=${CANARY}`, { cause: new Error(CANARY) });
  log.warn({ err: error });
  log.error(error);
  log.error({ err: error }, "told");
  log.error(error, "told");
  expect(JSON.stringify(lines())).not.toContain(CANARY);
  expect(lines().map(({ msg }) => msg)).toEqual(["an error", "an error", "told", "told"]);
  for (const { err } of lines()) expect(err).toMatchObject({ type: "Error", stack: expect.any(String) });
});

test("lines without an error are as they are written", () => {
  const { log, lines } = newLog();
  log.info({ status: 200 }, "answered");
  log.info("started");
  log.info({ status: 200 });
  expect(lines()).toMatchObject([
    { status: 200, msg: "answered" },
    { msg: "started" },
    { status: 200, time: expect.any(String) },
  ]);
  expect(lines()[2]).not.toHaveProperty("msg");
});

test("lines that nobody reads take bounded memory, and what is lost is reported", async () => {
  const folder = mkdtempSync(join(tmpdir(), "log-"));
  const pipe = join(folder, "pipe");
  execFileSync("mkfifo", [pipe]);
  const fd = openSync(pipe, constants.O_RDWR | constants.O_NONBLOCK);
  let dropped = 0;
  const limit = 100_000;
  const output = await openOutput(limit, (lines) => (dropped += lines), fd);
  const log = createLog("info", output);
  const LINES = 5000;
  for (let n = 0; n < LINES; n++) {
    log.info({ n }, "a line of some length, so that fewer of them fill what there is for them");
    if (n % 100 === 0) await wait(1);
  }
  expect(dropped).toBeGreaterThan(LINES / 2);

  let text = "";
  const read = () => {
    const chunk = Buffer.alloc(1 << 16);
    try {
      text += chunk.toString("utf8", 0, readSync(fd, chunk));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EAGAIN") throw error;
    }
    return text.split("\n").length - 1;
  };
  await expect.poll(read, { timeout: 5000 }).toBe(LINES - dropped);
  log.info("the reader is back");
  await expect.poll(read, { timeout: 5000 }).toBe(LINES - dropped + 1);
  for (const line of text.trimEnd().split("\n")) expect(JSON.parse(line)).toHaveProperty("msg");
  rmSync(folder, { recursive: true });
});
