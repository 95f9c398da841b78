import { readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { parse } from "yaml";
import { readExpression } from "../support/promql.ts";
import { createClient, kycFields } from "./support/client.ts";
import { startCollector } from "./support/collector.ts";
import { freshEnv, fullToken, type Gateway, startGateway, tidyUp } from "./support/gateway.ts";

const FILES = "deploy/helm/kyc-gateway/files";
const read = (path: string) => readFileSync(path, "utf8");
const dashboard = JSON.parse(read(`${FILES}/dashboard.json`));
const rules: Rule[] = parse(read(`${FILES}/alerts.yaml`)).groups.flatMap(
  ({ rules }: { rules: Rule[] }) => rules,
);

interface Rule {
  alert: string;
  expr: string;
  for?: string;
  labels: Record<string, string>;
  annotations: Record<string, string>;
}

/** Labels that Prometheus adds to each series. */
const TARGET_LABELS = ["job", "instance"];

interface Family {
  type: string;
  help: string | undefined;
  /** By the name of the series. */
  series: Map<string, Set<string>>;
}

/** Prometheus' text, by the metrics' names. */
function readMetrics(text: string): Map<string, Family> {
  const families = new Map<string, Family>();
  const help = new Map(
    [...text.matchAll(/^# HELP (\S+) (.+)$/gm)].map(([, name = "", words]) => [name, words]),
  );
  for (const [, name = "", type = ""] of text.matchAll(/^# TYPE (\S+) (\S+)$/gm))
    families.set(name, { type, help: help.get(name), series: new Map() });
  for (const [, name = "", labels = ""] of text.matchAll(/^([a-z]\w*)(?:\{(.*)\})? \S+$/gm)) {
    const family = families.get(name) ?? families.get(name.replace(/_(bucket|sum|count)$/, ""));
    if (!family) throw new Error(`${name} has no type`);
    const known = family.series.get(name) ?? new Set();
    for (const [, label = ""] of labels.matchAll(/(\w+)="(?:[^"\\]|\\.)*"/g)) known.add(label);
    family.series.set(name, known);
  }
  return families;
}

let gateway: Gateway;
let families: Map<string, Family>;

beforeAll(async () => {
  const collector = await startCollector();
  const env = await freshEnv("a real database");
  gateway = await startGateway({
    ...{ ...env, OTEL_EXPORTER_OTLP_ENDPOINT: collector.url, TRUSTED_PROXIES: "127.0.0.1" },
  });
  const client = createClient(gateway.url, await fullToken(env));
  await client.form("POST", "/v1/kyc", kycFields("c", "12345"));
  await client.graphql("{ kycs { totalCount } }");
  await client.send("GET", "/v1/kyc/0000000000000000", { headers: { "x-forwarded-for": "192.0.2.7" } });
  await vi.waitFor(
    async () => expect((await client.send("GET", "/metrics")).text).toMatch(/^kyc_account_records_bucket/m),
    { timeout: 60_000, interval: 500 },
  );
  families = readMetrics((await client.send("GET", "/metrics")).text);
}, 200_000);
afterAll(tidyUp);

/** The series that an expression queries and the gateway does not have. */
function findUnknown(expression: string): string[] {
  const unknown: string[] = [];
  for (const [metric, labels] of readExpression(expression).metrics) {
    const series =
      families.get(metric)?.series.get(metric) ??
      families.get(metric.replace(/_(bucket|sum|count)$/, ""))?.series.get(metric);
    if (!series) unknown.push(metric);
    else
      unknown.push(
        ...[...labels]
          .filter((label) => !series.has(label) && !TARGET_LABELS.includes(label))
          .map((label) => `${metric}{${label}}`),
      );
  }
  return unknown;
}

describe("the alerts", () => {
  test.each(rules.map((rule) => [rule.alert, rule] as const))(
    "%s queries what there is",
    (_name, { expr }) => {
      expect(findUnknown(expr)).toEqual([]);
    },
  );

  test.each(rules.map((rule) => [rule.alert, rule] as const))(
    "%s says what has happened, what to do, and where to read more",
    (_name, { labels, annotations }) => {
      expect(["critical", "warning", "info"]).toContain(labels.severity);
      expect(annotations.summary).toMatch(/\.$/);
      expect(annotations.action).toMatch(/\.$/);
      const [, file = "", anchor = ""] =
        /^(docs\/\w+\.md)#([\w-]+)$/.exec(annotations.runbook_url ?? "") ?? [];
      const anchors = [...read(file).matchAll(/^#+ (.*)$/gm)].map(([, title = ""]) =>
        title
          .toLowerCase()
          .replace(/[^\w\s-]/g, "")
          .replaceAll(" ", "-"),
      );
      expect(anchors).toContain(anchor);
    },
  );

  test("has each a name of its own", () => {
    expect(new Set(rules.map(({ alert }) => alert)).size).toBe(rules.length);
    expect(rules.length).toBeGreaterThan(15);
  });
});

describe("the dashboard", () => {
  interface Panel {
    type: string;
    title: string;
    targets?: { expr: string }[];
    gridPos: { x: number; y: number; w: number; h: number };
  }
  const panels: Panel[] = dashboard.panels;
  const charts = panels.filter(({ type }) => type !== "row");
  /** As Grafana fills it in. */
  const fillIn = (text: string) =>
    text.replaceAll("$__rate_interval", "5m").replaceAll(/\$(job|instance)\b/g, ".*");

  test.each(charts.map((panel) => [panel.title, panel] as const))(
    "%s queries what there is",
    (_title, { targets = [] }) => {
      expect(targets.length).toBeGreaterThan(0);
      for (const { expr } of targets) {
        expect(findUnknown(fillIn(expr))).toEqual([]);
        // Each selector follows the choice of the viewer.
        const selectors = expr.match(/\b[a-z]\w*\{/g) ?? [];
        expect(expr.match(/job=~"\$job",instance=~"\$instance"/g)).toHaveLength(selectors.length);
      }
    },
  );

  test("lets the viewer choose the data source, the job and the instance", () => {
    const variables = dashboard.templating.list as { name: string; type: string; definition?: string }[];
    expect(variables.map(({ name, type }) => [name, type])).toEqual([
      ...[
        ["datasource", "datasource"],
        ["job", "query"],
        ["instance", "query"],
      ],
    ]);
    for (const { definition } of variables.slice(1)) {
      const [, expression = ""] = /^label_values\((.*), \w+\)$/.exec(definition ?? "") ?? [];
      expect(findUnknown(fillIn(expression))).toEqual([]);
    }
  });

  test("has a row for each subject, and no panel over another one", () => {
    const rows = panels.filter(({ type }) => type === "row").map(({ title }) => title);
    expect(rows).toEqual([
      ...[
        "Traffic",
        "Errors",
        "Latency",
        "Database",
        "Pool",
        "Load shedding",
        "Records and sealing",
        "Process",
        "Webhooks",
      ],
    ]);
    const cells = panels.flatMap(({ gridPos: { x, y, w, h } }) =>
      Array.from({ length: w * h }, (_, cell) => `${x + (cell % w)},${y + Math.floor(cell / w)}`),
    );
    expect(new Set(cells).size).toBe(cells.length);
  });
});

describe("the metrics", () => {
  test("are those of docs/observability.md, with the same types and labels", () => {
    const rows = [
      ...read("docs/observability.md").matchAll(/^\| `(\w+)` \| (counter|gauge|histogram) \| (.*?) ?\|/gm),
    ];
    const documented = rows.map(([, name, type, labels = ""]) => ({
      ...{ name, type, labels: [...labels.matchAll(/`(\w+)`/g)].map(([, label]) => label).sort() },
    }));
    const labelsOf = ({ series }: Family) =>
      [...new Set([...series.values()].flatMap((labels) => [...labels]))]
        .filter((label) => label !== "le")
        .sort();
    const own = [...families].map(([name, family]) => ({
      ...{ name, type: family.type },
      // At this moment there may be none of what it counts.
      labels: family.series.size > 0 ? labelsOf(family) : expect.any(Array),
    }));
    const byName = (one: { name: string | undefined }, other: { name: string | undefined }) =>
      String(one.name).localeCompare(String(other.name));
    expect(documented.sort(byName)).toEqual(own.sort(byName));
  });

  // Faults that `promtool check metrics` reports.
  test("keep to the conventions of Prometheus", () => {
    for (const [name, { type, help }] of families) {
      expect(help, name).toBeTruthy();
      expect(name).toMatch(/^[a-z][a-z0-9_]*$/);
      expect(name.endsWith("_total"), name).toBe(type === "counter");
      expect(name).not.toMatch(/_(count|sum|bucket)$|_(counter|gauge|histogram|summary)(_|$)/);
      expect(name).not.toMatch(
        /_(ms|milliseconds|minutes|hours|days|kb|mb|kilobytes|megabytes|percent)(_|$)/,
      );
    }
  });
});

describe("the log", () => {
  test("has the fields of docs/observability.md and no others, and level names", async () => {
    await gateway.stop();
    const lines: Record<string, unknown>[] = gateway
      .stdout()
      .split("\n")
      .filter((line) => line.startsWith("{"))
      .map((line) => JSON.parse(line));
    const [, section = ""] = read("docs/observability.md").split("## Log\n");
    const rows = [...(section.split("\n## ")[0] ?? "").matchAll(/^\| `(\w+)` \| (.*?) \|/gm)];
    const documented = new Map(rows.map(([, name = "", where = ""]) => [name, where]));
    for (const line of lines)
      expect([...documented.keys()]).toEqual(expect.arrayContaining(Object.keys(line)));
    expect(new Set(lines.map(({ level }) => level))).toEqual(new Set(["info"]));
    const answered = lines.filter(({ msg }) => msg === "answered");
    const fields = new Set(answered.flatMap((line) => Object.keys(line)));
    const promised = [...documented]
      .filter(([, where]) => /every line|answered/.test(where))
      .map(([name]) => name);
    expect([...fields].sort()).toEqual(promised.sort());
    expect(answered.map(({ address }) => address)).toContain("192.0.2.7");
    expect(answered.every(({ traceId }) => /^[\da-f]{32}$/.test(String(traceId)))).toBe(true);
  });
});
