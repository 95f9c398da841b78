import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createTestApp, type TestApp } from "./support/app.ts";

const ROOT = fileURLToPath(new URL("../", import.meta.url));
const [, runbook = ""] = readFileSync(join(ROOT, "docs/operations.md"), "utf8").split("## Runbook\n");

let gateway: TestApp;
beforeAll(async () => {
  gateway = await createTestApp();
});
afterAll(() => gateway.close());

const quoted = [...runbook.matchAll(/`([^`]+)`/g)].map(([, text]) => text as string);

test("every metric that the runbook names is in /metrics, with the values of its labels", async () => {
  const { body } = await gateway.rest(null, "GET", "/metrics");
  const metrics = [
    ...new Set(quoted.filter((text) => /^(http|graphql|database|log|document)_[a-z_]+$/.test(text))),
  ];
  expect(metrics.length).toBeGreaterThan(8);
  for (const metric of metrics) expect(body).toContain(`# TYPE ${metric} `);
  for (const label of [
    'reason="requests"',
    'reason="event_loop"',
    'reason="late"',
    'reason="uploads"',
    'reason="queue"',
  ])
    expect(body).toContain(`http_requests_shed_total{${label}}`);
});

test("every line of the log that the runbook quotes is one that the gateway writes", () => {
  const source = readdirSync(join(ROOT, "src"), { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".ts"))
    .map((name) => readFileSync(join(ROOT, "src", name), "utf8"))
    .join("\n");
  const lines = quoted.filter((text) => / \w+ \w+ /.test(text) && !text.startsWith("select "));
  expect(lines.length).toBeGreaterThan(4);
  for (const line of lines) expect(source).toContain(`"${line}"`);
});

test("every refusal of the load limits has its reason in the runbook", async () => {
  const { body } = await gateway.rest(null, "GET", "/metrics");
  const reasons = [...body.matchAll(/^http_requests_shed_total\{reason="(\w+)"\}/gm)].map(
    ([, reason]) => reason,
  );
  expect(reasons.length).toBeGreaterThan(3);
  for (const reason of reasons) expect(runbook).toContain(`\`${reason}\``);
});
