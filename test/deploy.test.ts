import { execFileSync, spawn } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { satisfies } from "semver";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { parse } from "yaml";
import { VARIABLES } from "../src/config/config.ts";
import { createTestApp, type TestApp } from "./support/app.ts";
import { renderChart } from "./support/helm-templates.ts";

const read = (path: string) => readFileSync(path, "utf8");
const manifest = JSON.parse(read("package.json"));

/** The variables that the gateway reads, and those that Node reads. */
const KNOWN = new Set([...VARIABLES, "NODE_ENV"]);
/** Of other programs. */
const FOREIGN = /^POSTGRES_/;

const expectKnown = (names: readonly string[]) => {
  expect(KNOWN.size).toBeGreaterThan(30);
  expect(names.filter((name) => !KNOWN.has(name) && !FOREIGN.test(name))).toEqual([]);
};

let gateway: TestApp;
beforeAll(async () => {
  gateway = await createTestApp();
});
afterAll(() => gateway.close());

const expectRoute = async (path: string) =>
  expect((await gateway.app.inject({ url: path })).statusCode, path).toBe(200);

/** The instructions of a Dockerfile, without its comments and line ends. */
function instructions(): { name: string; rest: string }[] {
  const text = read("deploy/Dockerfile")
    .replace(/^#.*\n/gm, "")
    .replace(/\\\n/g, " ");
  return text
    .split("\n")
    .filter((line) => line.trim() !== "")
    .map((line) => {
      const [, name = "", rest = ""] = /^([A-Z]+) +(.*)$/.exec(line) ?? [];
      expect(name, line).not.toBe("");
      return { name, rest };
    });
}
const all = (name: string) => instructions().flatMap((one) => (one.name === name ? [one.rest] : []));
const last = (name: string) => all(name).at(-1) ?? "";

describe("the image", () => {
  test("has a Node.js that the package allows, in both of its stages", () => {
    const bases = all("FROM");
    expect(bases).toHaveLength(2);
    for (const base of bases) {
      const [, major = ""] = /^node:(\d+)-bookworm-slim\b/.exec(base) ?? [];
      expect(satisfies(`${major}.99.0`, manifest.engines.node), base).toBe(true);
    }
  });

  test("is not root's, and starts what the package has", () => {
    const [uid = "0"] = last("USER").split(":");
    expect(Number(uid)).toBeGreaterThan(0);
    expect(JSON.parse(last("ENTRYPOINT"))).toEqual(["node", `/app/${manifest.bin["kyc-gateway"]}`]);
    expect(JSON.parse(last("CMD"))).toEqual(["serve"]);
  });

  test("sets variables that there are, and its port is the one it exposes", () => {
    const variables = Object.fromEntries(
      [...last("ENV").matchAll(/(\w+)=(\S+)/g)].map(([, name, value]) => [name, value]),
    );
    expectKnown(Object.keys(variables));
    expect(variables.HOST).toBe("0.0.0.0");
    expect(variables.PORT).toBe(last("EXPOSE"));
    // The gateway refuses one that others can open.
    const made = all("RUN").find((line) => line.startsWith("install -d"));
    expect(made).toContain(`-m 0700 ${variables.DATA_DIR}`);
  });

  test("asks a route that there is for its health, and its check tells good from bad", async () => {
    const command = JSON.parse(/CMD (\[.*\])$/.exec(last("HEALTHCHECK"))?.[1] ?? "");
    const [, path = ""] = /'(\/\w+)'/.exec(command[2]) ?? [];
    await expectRoute(path);
    await gateway.app.listen({ port: 0, host: "127.0.0.1" });
    const { port } = gateway.app.server.address() as AddressInfo;
    const check = (at: number) =>
      new Promise((resolve) =>
        spawn(process.execPath, command.slice(1), { env: { PORT: `${at}` } }).once("exit", resolve),
      );
    expect(await check(port)).toBe(0);
    expect(await check(1)).toBe(1);
  });

  test("copies files that are there, and none of a checkout's own data", () => {
    for (const line of all("COPY").filter((one) => !one.startsWith("--from")))
      for (const path of line.split(" ").slice(0, -1)) expect(existsSync(path), path).toBe(true);
    const ignored = read(".dockerignore").split("\n");
    expect(ignored).toEqual(expect.arrayContaining([".git", ".data", ".env", "node_modules", "dist"]));
  });
});

describe("the compose file", () => {
  const compose = parse(read("deploy/compose.yaml"), { merge: true });
  const { gateway: server, migrate, postgres } = compose.services;

  test("sets variables that there are", () => {
    for (const { environment } of [server, migrate, postgres]) expectKnown(Object.keys(environment));
  });

  test("starts the gateway after a migration that ran once, and that after the database is healthy", () => {
    expect(server.depends_on).toEqual({ migrate: { condition: "service_completed_successfully" } });
    expect(migrate.depends_on).toEqual({ postgres: { condition: "service_healthy" } });
    expect(migrate).toMatchObject({ command: ["migrate"], restart: "no" });
    expect(server.command).toBeUndefined();
    expect(postgres.image).toMatch(/^postgres:18\b/);
    expect(postgres.volumes).toEqual(["postgres:/var/lib/postgresql"]);
  });

  test("has the keys in a file, and its image from the Dockerfile", () => {
    const [secret] = server.secrets;
    expect(server.environment.ENCRYPTION_KEYS_FILE).toBe(`/run/secrets/${secret}`);
    expect(Object.keys(compose.secrets)).toEqual([secret]);
    expect(migrate.environment).not.toHaveProperty("ENCRYPTION_KEYS_FILE");
    expect(existsSync(join("deploy", server.build.context, server.build.dockerfile))).toBe(true);
    expect(server.ports).toEqual(["127.0.0.1:4000:4000"]);
  });
});

interface Manifest {
  kind: string;
  apiVersion: string;
  metadata: { name: string; annotations?: Record<string, string> };
  // biome-ignore lint/suspicious/noExplicitAny: each kind has its own
  spec: any;
}

type Kinds = Record<
  | "Deployment"
  | "DeliverDeployment"
  | "DeliverNetworkPolicy"
  | "DeliverPodMonitor"
  | "Job"
  | "Service"
  | "PodDisruptionBudget"
  | "NetworkPolicy"
  | "ServiceMonitor"
  | "PrometheusRule"
  | "ConfigMap",
  Manifest
>;

describe("the chart", () => {
  const CHART = "deploy/helm/kyc-gateway";
  const render = (values: object = {}) => {
    const files = renderChart(CHART, { values, release: "kyc", namespace: "apps" });
    const manifests = Object.entries(files)
      .filter(([name]) => name.endsWith(".yaml"))
      .map(([, text]) => parse(text) as Manifest | null);
    const nameOf = ({ kind, metadata }: Manifest) =>
      metadata.name === "kyc-deliver" ? `Deliver${kind}` : kind;
    return Object.fromEntries(manifests.flatMap((one) => (one ? [[nameOf(one), one]] : []))) as Kinds;
  };
  const every = {
    serviceMonitor: { enabled: true, labels: { release: "prometheus" } },
    prometheusRule: { enabled: true, labels: { release: "prometheus" } },
    dashboard: { enabled: true },
    networkPolicy: { from: [{ namespaceSelector: {} }], metricsFrom: [{ podSelector: {} }] },
    config: { RATE_LIMIT: "600", AUDIT_READS: true },
    podAnnotations: { team: "kyc" },
    nodeSelector: { disk: "fast" },
    tolerations: [{ key: "a", operator: "Exists" }],
    affinity: { nodeAffinity: {} },
    imagePullSecrets: [{ name: "registry" }],
    image: { tag: "9.9.9" },
    migrate: { databaseUrlKey: "direct-url" },
    deliver: { enabled: true, replicas: 3 },
  };

  test("is that of this release", () => {
    expect(parse(read(`${CHART}/Chart.yaml`))).toMatchObject({
      apiVersion: "v2",
      appVersion: manifest.version,
    });
  });

  test("renders to one manifest of each kind for the gateway and for `deliver`, and leaves out what is switched off", () => {
    expect(Object.keys(render(every)).sort()).toEqual(
      [
        ...["ConfigMap", "Deployment", "Job", "NetworkPolicy", "PodDisruptionBudget", "PrometheusRule"],
        ...["Service", "ServiceMonitor"],
        ...["DeliverDeployment", "DeliverNetworkPolicy", "DeliverPodMonitor"],
      ].sort(),
    );
    const off = { enabled: false };
    const few = { migrate: off, networkPolicy: off, podDisruptionBudget: off };
    expect(Object.keys(render(few)).sort()).toEqual(["Deployment", "Service"]);
    expect(Object.keys(render({ ...few, deliver: { enabled: true } })).sort()).toEqual([
      "DeliverDeployment",
      "Deployment",
      "Service",
    ]);
  });

  test.each([
    ["by default", {}],
    ["with every setting", every],
  ])("has variables, commands, probes and ports that there are, %s", async (_, values) => {
    const { Deployment, Job, Service } = render(values);
    const [server] = Deployment.spec.template.spec.containers;
    const [migrate] = Job.spec.template.spec.containers;
    for (const { env } of [server, migrate]) {
      expectKnown(env.map(({ name }: { name: string }) => name));
      for (const { value, valueFrom } of env) if (!valueFrom) expect(typeof value).toBe("string");
    }
    expect([server.args, migrate.args]).toEqual([["serve"], ["migrate"]]);
    for (const probe of [server.startupProbe, server.livenessProbe, server.readinessProbe]) {
      await expectRoute(probe.httpGet.path);
      expect(server.ports.map(({ name }: { name: string }) => name)).toContain(probe.httpGet.port);
    }
    expect(server.livenessProbe.httpGet.path).toBe("/health");
    expect(server.readinessProbe.httpGet.path).toBe("/ready");
    expect(Service.spec.ports[0].targetPort).toBe(server.ports[0].name);
    const port = server.env.find(({ name }: { name: string }) => name === "PORT");
    expect(Number(port.value)).toBe(server.ports[0].containerPort);
  });

  test("mounts the keys as a file that the gateway's group reads, from a secret that it does not make", () => {
    const { Deployment } = render();
    const pod = Deployment.spec.template.spec;
    const [server] = pod.containers;
    const [volume] = pod.volumes;
    expect(volume.secret).toMatchObject({ secretName: "kyc-gateway", items: [{ key: "encryption-keys" }] });
    // YAML 1.1, which Kubernetes reads, takes 0440 as octal.
    expect(read(`${CHART}/templates/_helpers.tpl`)).toContain("defaultMode: 0440");
    const file = server.env.find(({ name }: { name: string }) => name === "ENCRYPTION_KEYS_FILE").value;
    expect(file).toBe(`${server.volumeMounts[0].mountPath}/${volume.secret.items[0].path}`);
    const url = server.env.find(({ name }: { name: string }) => name === "DATABASE_URL");
    expect(url.valueFrom.secretKeyRef).toEqual({ name: "kyc-gateway", key: "database-url" });
    expect(pod.securityContext).toMatchObject({ runAsNonRoot: true, runAsUser: 1000, fsGroup: 1000 });
    expect(server.securityContext).toMatchObject({
      readOnlyRootFilesystem: true,
      allowPrivilegeEscalation: false,
    });
  });

  test.each([
    ["by default", { deliver: { enabled: true } }],
    ["with every setting", every],
  ])("runs `deliver` with the gateway's settings, keys, security and probes, %s", (_, values) => {
    const { Deployment, DeliverDeployment } = render(values);
    const [gatewayPod, pod] = [Deployment, DeliverDeployment].map(({ spec }) => spec.template.spec);
    const { containers, ...ofPod } = pod;
    const { containers: servers, ...ofGateway } = gatewayPod;
    expect(ofPod).toEqual(ofGateway);
    const [deliver] = containers;
    const { args, env, lifecycle, name, resources, ...ofServer } = servers[0];
    expect(deliver).toMatchObject(ofServer);
    expect(deliver.args).toEqual(["deliver", "--port", String(deliver.ports[0].containerPort)]);
    expect(deliver.env).toEqual(env.filter((one: { name: string }) => one.name !== "PORT"));
    expect(deliver.resources.limits.memory).toMatch(/^\d+Mi$/);
  });

  test("selects the processes of `deliver` apart from the replicas, and lets only monitoring reach them", () => {
    const { Deployment, DeliverDeployment, DeliverNetworkPolicy, DeliverPodMonitor } = render(every);
    expect(DeliverDeployment.spec.replicas).toBe(3);
    const { labels } = DeliverDeployment.spec.template.metadata;
    for (const { spec } of [DeliverDeployment, DeliverPodMonitor]) {
      expect(labels).toMatchObject(spec.selector.matchLabels);
      expect(Deployment.spec.template.metadata.labels).not.toMatchObject(spec.selector.matchLabels);
    }
    const { podSelector, ingress, egress } = DeliverNetworkPolicy.spec;
    expect(podSelector).toEqual({ matchLabels: DeliverDeployment.spec.selector.matchLabels });
    expect(ingress[0].from).toEqual([{ podSelector: {} }]);
    expect(egress).toEqual(render(every).NetworkPolicy.spec.egress);
    expect(DeliverPodMonitor.spec.podMetricsEndpoints[0]).toMatchObject({ port: "http", path: "/metrics" });
    const { spec } = render({ deliver: { enabled: true } }).DeliverNetworkPolicy;
    expect([spec.policyTypes, spec.ingress]).toEqual([["Ingress", "Egress"], undefined]);
  });

  test("migrates before the replicas, by the URL for that", () => {
    const { Job } = render(every);
    expect(Job.metadata.annotations?.["helm.sh/hook"]).toBe("pre-install,pre-upgrade");
    const [migrate] = Job.spec.template.spec.containers;
    expect(migrate.env[0].valueFrom.secretKeyRef.key).toBe("direct-url");
    expect(migrate.image).toBe("kyc-gateway:9.9.9");
  });

  test("selects the replicas and nothing else, everywhere", () => {
    const {
      Deployment,
      Job,
      Service,
      PodDisruptionBudget,
      NetworkPolicy,
      ServiceMonitor,
      DeliverDeployment,
    } = render(every);
    const labels = Deployment.spec.template.metadata.labels;
    const selectors = [
      Deployment.spec.selector.matchLabels,
      Service.spec.selector,
      PodDisruptionBudget.spec.selector.matchLabels,
      NetworkPolicy.spec.podSelector.matchLabels,
    ];
    for (const selector of selectors) {
      expect(labels).toMatchObject(selector);
      for (const { spec } of [Job, DeliverDeployment])
        expect(spec.template.metadata.labels).not.toMatchObject(selector);
    }
    expect(Service.metadata).toMatchObject({ labels: ServiceMonitor.spec.selector.matchLabels });
    expect(ServiceMonitor.spec.endpoints[0]).toMatchObject({ port: "http", path: "/metrics" });
    expect(NetworkPolicy.spec.ingress[0].from).toEqual([{ namespaceSelector: {} }, { podSelector: {} }]);
  });

  test("has the alerts and the dashboard as they are in its files", () => {
    const { PrometheusRule, ConfigMap } = render(every);
    expect(PrometheusRule.spec).toEqual(parse(read(`${CHART}/files/alerts.yaml`)));
    const { data } = ConfigMap as unknown as { data: Record<string, string> };
    expect(data["kyc-gateway.json"]?.trim()).toBe(read(`${CHART}/files/dashboard.json`).trim());
  });

  test("reads no value that values.yaml does not document", () => {
    const values = parse(read(`${CHART}/values.yaml`));
    for (const name of readdirSync(`${CHART}/templates`)) {
      for (const [, path = ""] of read(`${CHART}/templates/${name}`).matchAll(/\.Values\.([\w.]+)/g)) {
        const found = path.split(".").reduce((value, key) => value?.[key], values);
        expect(found, path).not.toBeUndefined();
      }
    }
  });
});

describe("the systemd units", () => {
  const UNITS = readdirSync("deploy/systemd");
  const settings = (name: string) =>
    [...read(`deploy/systemd/${name}`).matchAll(/^(\w+)=(.*)$/gm)].map(([, key = "", value = ""]) => ({
      key,
      value,
    }));

  test.each(UNITS)("%s sets variables that there are, and starts what the package has", (name) => {
    const environment = settings(name).filter(({ key }) => key === "Environment");
    expectKnown(environment.map(({ value }) => value.split("=")[0] ?? ""));
    const start = settings(name).find(({ key }) => key === "ExecStart")?.value;
    expect(start).toMatch(/\/node_modules\/\.bin\/kyc-gateway serve$/);
    expect(Object.keys(manifest.bin)).toEqual(["kyc-gateway"]);
  });

  test("the one in docs/operations.md is that of the folder, without what only hardens it", () => {
    const [, unit = ""] = /```ini\n([\s\S]*?)```/.exec(read("docs/operations.md")) ?? [];
    const lines = unit.split("\n").filter((line) => line.includes("="));
    expect(lines.length).toBeGreaterThan(10);
    const own = read("deploy/systemd/kyc-gateway.service").split("\n");
    expect(lines.filter((line) => !own.includes(line))).toEqual([]);
  });

  test.runIf(existsSync("/usr/bin/systemd-analyze"))("systemd finds no fault in them", () => {
    const folder = mkdtempSync(join(tmpdir(), "kyc-units-"));
    try {
      const files = UNITS.map((name) => {
        // The programs that they start need not be installed here.
        const text = read(`deploy/systemd/${name}`).replace(/^ExecStart=.*$/m, "ExecStart=/bin/true serve");
        // A template is verified as one of its instances.
        const file = join(folder, name.replace("@.", "@4001."));
        writeFileSync(file, text.replace(/^(Documentation|After|Wants)=.*\n/gm, ""));
        return file;
      });
      for (const file of files)
        execFileSync("systemd-analyze", ["verify", "--man=no", file], { encoding: "utf8", stdio: "pipe" });
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
