import { Writable } from "node:stream";
import { expect, test } from "vitest";
import { createLog } from "../src/log.ts";

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
