import { join } from "node:path";
import { afterEach, expect, test } from "vitest";
import {
  freshEnv,
  type Gateway,
  readDevToken,
  runCli,
  startGateway,
  temporaryFolder,
  tidyUp,
} from "./support/gateway.ts";

afterEach(tidyUp);

const exchange = ({ url }: Gateway, link: string) =>
  fetch(`${url}/development-token`, { method: "POST", body: new URL(link).hash.slice("#key=".length) });

test("each link that a start or `link` prints is good for the token once, and none outlives a restart", async () => {
  const env = await freshEnv("the embedded database");
  const gateway = await startGateway(env);
  const token = await readDevToken(env);
  const { code, stdout } = await runCli(["link", "--url", `${gateway.url}/`], env);
  expect(code).toBe(0);
  const links = [...(gateway.stdout().match(/http:\S+#key=\S+/g) ?? []), ...stdout.trim().split("\n")];
  expect(links.map((link) => link.replace(/#.*/, ""))).toEqual(
    ["/graphql", "/docs", "/graphql", "/docs"].map((path) => gateway.url + path),
  );
  const [unused = "", ...others] = links;
  for (const link of others) {
    expect(await (await exchange(gateway, link)).json()).toEqual({ token });
    expect((await exchange(gateway, link)).status).toBe(403);
  }
  expect(gateway.output()).not.toContain(token);

  await gateway.stop();
  const restarted = await startGateway(env);
  for (const link of [unused, ...others]) expect((await exchange(restarted, link)).status).toBe(403);
});

test("`link` prints the addresses that HOST and PORT, GRAPHIQL and DOCS say", async () => {
  const env = await freshEnv("the embedded database");
  await (await startGateway(env)).stop();
  const { stdout } = await runCli(["link"], { ...env, HOST: "::1", PORT: "4321", GRAPHIQL: "false" });
  expect(stdout).toMatch(/^http:\/\/\[::1\]:4321\/docs#key=\S+\n$/);
});

test.each([
  [{ DATABASE_URL: "postgres://127.0.0.1:1/kyc" }, "only the embedded database has a development token"],
  [{ HOST: "0.0.0.0" }, "pages get no token from a gateway with HOST=0.0.0.0"],
  [{ GRAPHIQL: "off", DOCS: "off" }, "GRAPHIQL and DOCS are both off"],
  [{}, "The first start of the gateway makes it"],
])("`link` with %j fails and says why", async (settings, words) => {
  const env = { DATA_DIR: join(await temporaryFolder(), "data"), ...settings };
  const { code, stdout, stderr } = await runCli(["link"], env);
  expect({ code, stdout, stderr }).toEqual({ code: 1, stdout: "", stderr: expect.stringContaining(words) });
});
