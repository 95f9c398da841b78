import { afterAll, beforeAll, expect, test } from "vitest";
import { type Client, createClient, kycFields } from "./support/client.ts";
import { freshEnv, fullToken, startGateway, tidyUp } from "./support/gateway.ts";

const CLIENTS = 12;
const STEPS = 60;

/** An acknowledged write. `version` is the record's version afterwards; a deletion has none. */
interface Done {
  requestId: string;
  action: "CREATED" | "UPDATED" | "DELETED" | "READ";
  surface: "GRAPHQL" | "REST";
  ids: string[];
  version?: number;
  /** Whether the answer showed numbers. */
  shows: boolean;
}

interface Event extends Omit<Done, "ids" | "version" | "shows"> {
  sequence: number;
  at: string;
  kycIds: string[];
  changedFields: string[];
  statusBefore: string | null;
  statusAfter: string | null;
}

let clients: Client[];
beforeAll(async () => {
  const env = { ...(await freshEnv("a real database")), AUDIT_READS: "on" };
  const gateways = await Promise.all([startGateway(env), startGateway(env)]);
  const token = await fullToken(env);
  clients = Array.from({ length: CLIENTS }, (_, index) =>
    createClient(String(gateways[index % 2]?.url), token),
  );
});
afterAll(tidyUp);

const STATUSES = ["pending", "in_review", "verified", "failed", "expired"];
const pick = <T>(list: readonly T[]): T => list[Math.floor(Math.random() * list.length)] as T;
const KYC = "kyc { id version documentNumber }";

/** One random request of one client; what it did, if it did anything. */
async function step(client: Client, living: string[]): Promise<Done | undefined> {
  const overRest = Math.random() < 0.5;
  const surface = overRest ? "REST" : "GRAPHQL";
  const id = living.length > 0 ? pick(living) : undefined;
  const dice = Math.random();
  const status = pick(STATUSES);
  const ask = async (rest: () => ReturnType<Client["send"]>, query: string, name: string) => {
    const answer = overRest ? await rest() : await client.graphql(query);
    const requestId = String(answer.headers.get("request-id"));
    const result = overRest ? (answer.status < 300 ? answer.json : null) : answer.json.data?.[name];
    return { requestId, result, record: overRest ? result : result?.kyc, answer };
  };
  if (id === undefined || dice < 0.1) {
    const input = `customerId: "c", verificationStatus: PENDING, documentType: VISA, documentNumber: "N1"`;
    const { requestId, record } = await ask(
      () => client.form("POST", "/v1/kyc", kycFields("c", "N1")),
      `mutation { createKyc(input: { ${input} }) { ${KYC} } }`,
      "createKyc",
    );
    living.push(record.id);
    return { requestId, action: "CREATED", surface, ids: [record.id], version: 1, shows: true };
  }
  if (dice < 0.15) {
    const { requestId, result } = await ask(
      () => client.send("DELETE", `/v1/kyc/${id}`),
      `mutation { deleteKyc(input: { id: "${id}" }) { deletedId } }`,
      "deleteKyc",
    );
    if (living.includes(id)) living.splice(living.indexOf(id), 1);
    return result ? { requestId, action: "DELETED", surface, ids: [id], shows: false } : undefined;
  }
  if (dice < 0.75) {
    const { requestId, record, answer } = await ask(
      () => client.form("PUT", `/v1/kyc/${id}`, { verification_status: status }),
      `mutation { updateKyc(input: { id: "${id}", verificationStatus: ${status.toUpperCase()} }) { ${KYC} } }`,
      "updateKyc",
    );
    if (!record) return undefined;
    const version = overRest ? Number(answer.headers.get("etag")?.replaceAll('"', "")) : record.version;
    return { requestId, action: "UPDATED", surface, ids: [id], version, shows: true };
  }
  const { requestId, result } = await ask(
    () => client.send("GET", "/v1/kyc?limit=3"),
    "{ kycs(first: 3) { nodes { id documentNumber } } }",
    "kycs",
  );
  const ids = (overRest ? result.data : result.nodes).map((kyc: { id: string }) => kyc.id);
  return { requestId, action: "READ", surface, ids, shows: ids.length > 0 };
}

async function readTrail(client: Client): Promise<Event[]> {
  const events: Event[] = [];
  for (let after: string | null = null; ; ) {
    const { json } = await client.graphql(
      `query ($after: String) { auditEvents(first: 100, after: $after) {
        nodes { sequence at surface requestId action kycIds changedFields statusBefore statusAfter }
        pageInfo { hasNextPage endCursor } } }`,
      { after },
    );
    events.push(...json.data.auditEvents.nodes);
    after = json.data.auditEvents.pageInfo.endCursor;
    if (!json.data.auditEvents.pageInfo.hasNextPage) return events.reverse();
  }
}

test("the trail is what many clients did, on both surfaces and two replicas: one event a change, one an answer", async () => {
  const living: string[] = [];
  const done: Done[] = [];
  await Promise.all(
    clients.map(async (client) => {
      for (let turn = 0; turn < STEPS; turn++) {
        const did = await step(client, living);
        if (did) done.push(did);
      }
    }),
  );
  const trail = await readTrail(clients[0] as Client);
  const sequences = trail.map(({ sequence }) => sequence);
  expect(new Set(sequences).size).toBe(sequences.length);
  expect(sequences).toEqual(sequences.toSorted((a, b) => a - b));

  const told = (requestId: string, action: string, surface: string, ids: string[]) =>
    [requestId, action, surface, ...ids.toSorted()].join(" ");
  const reads = trail.filter(({ action }) => action === "READ");
  expect(reads.map((event) => told(event.requestId, "READ", event.surface, event.kycIds)).sort()).toEqual(
    done
      .filter(({ shows }) => shows)
      .map(({ requestId, surface, ids }) => told(requestId, "READ", surface, ids))
      .sort(),
  );

  const changes = trail.filter(({ action }) => action !== "READ");
  for (const id of new Set(changes.flatMap(({ kycIds }) => kycIds))) {
    const own = changes.filter(({ kycIds }) => kycIds.includes(id));
    const answers = done.filter(({ action, ids }) => action !== "READ" && ids.includes(id));
    let status: string | null = null;
    for (const [index, event] of own.entries()) {
      expect(event.statusBefore).toBe(status);
      expect(event.at >= (own[index - 1]?.at ?? "")).toBe(true);
      status = event.statusAfter;
      // An update that changed nothing answers with the version that another one made.
      const version = event.action === "DELETED" ? undefined : index + 1;
      const [answer, ...others] = answers.filter(({ requestId }) => requestId === event.requestId);
      expect(others).toEqual([]);
      expect(answer).toMatchObject({ action: event.action, surface: event.surface });
      expect(answer?.version).toBe(version);
      expect(event.changedFields).toEqual(event.action === "UPDATED" ? ["verificationStatus"] : []);
    }
    expect(own[0]?.action).toBe("CREATED");
    expect(own.slice(1, -1).every(({ action }) => action === "UPDATED")).toBe(true);
    // Every version in an answer belongs to one event, and every event to such a version.
    const told = new Set(answers.flatMap(({ version }) => version ?? []));
    expect([...told].sort((a, b) => a - b)).toEqual(
      own.filter(({ action }) => action !== "DELETED").map((_, index) => index + 1),
    );
    expect(own.filter(({ action }) => action === "DELETED")).toHaveLength(
      answers.filter(({ action }) => action === "DELETED").length,
    );
  }
  const created = done.filter(({ action }) => action === "CREATED");
  expect(changes.filter(({ action }) => action === "CREATED")).toHaveLength(created.length);
});
