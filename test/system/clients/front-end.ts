import { mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createClient, kycFields } from "../support/client.ts";
import { type Env, freshEnv, fullToken, later, ROOT, startGateway } from "../support/gateway.ts";

/** A gateway for a front end: the URL of GraphQL, a token's headers, and the records, newest first. */
export interface FrontEnd {
  env: Env;
  url: string;
  graphqlUrl: string;
  headers: Record<string, string>;
  ids: string[];
}

/** Starts a gateway with so many records, and with these variables besides its database. `tidyUp` ends it. */
export async function startFrontEnd(records: number, variables: Env = {}): Promise<FrontEnd> {
  const env = { ...(await freshEnv("a real database")), ...variables };
  const { url } = await startGateway(env);
  const token = await fullToken(env);
  const client = createClient(url, token);
  const ids: string[] = [];
  for (let n = 0; n < records; n++) {
    const { json } = await client.form("POST", "/v1/kyc", kycFields(`customer-${n}`, `P-${n}`));
    ids.unshift(json.id);
  }
  return { env, url, graphqlUrl: `${url}/graphql`, headers: { authorization: `Bearer ${token}` }, ids };
}

/** Starts another gateway on the same records that runs only this manifest. Returns the URL of its GraphQL. */
export async function startTrustedOnly(frontEnd: FrontEnd, manifest: string): Promise<string> {
  const { url } = await startGateway({
    ...frontEnd.env,
    PERSISTED_OPERATIONS: manifest,
    PERSISTED_OPERATIONS_MODE: "only",
  });
  return `${url}/graphql`;
}

/** A folder with these files in which the checkout's packages are found, as in a front end's own checkout. */
export async function createProject(files: Record<string, string>): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "kyc-front-end-"));
  later(() => rm(folder, { recursive: true, force: true }));
  await symlink(join(ROOT, "node_modules"), join(folder, "node_modules"));
  for (const [name, content] of Object.entries(files)) await writeFile(join(folder, name), content);
  return folder;
}

/** A fetch that keeps what was sent: the body's text, or the address of a request without one. */
export function recordingFetch(sent: string[]): typeof fetch {
  return (input, init) => {
    sent.push(typeof init?.body === "string" ? init.body : String(input));
    return fetch(input, init);
  };
}
