import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, expect, test } from "vitest";
import { startReceiver } from "../support/receiver.ts";
import { type Client, createClient } from "./support/client.ts";
import {
  ENGINES,
  freshEnv,
  fullToken,
  later,
  runCli,
  startGateway,
  temporaryFolder,
  tidyUp,
} from "./support/gateway.ts";

afterEach(tidyUp);

const MINUTE = 60_000;
const HEADER = "id,customer_id,verification_status,document_type,document_number,created_at,expires_at";
/** Milliseconds. Another replica takes over after fifteen seconds, and machines can be busy. */
const PATIENCE = 120_000;

/** A file of verified records that expire after so many minutes, or before now if there are fewer than none. */
async function writeRecords(minutes: readonly number[]): Promise<string> {
  const file = join(await temporaryFolder(), "records.csv");
  const lines = minutes.map((each, index) => {
    const id = `EXPIRY${String(index).padStart(10, "0")}`;
    const expiresAt = new Date(Date.now() + each * MINUTE).toISOString();
    return `${id},c${index},verified,passport,N-${index},2020-01-01T00:00:00Z,${expiresAt}`;
  });
  await writeFile(file, [HEADER, ...lines, ""].join("\n"));
  return file;
}

interface FeedEvent {
  type: string;
  kyc_id: string;
  position: number;
  verification_status: string | null;
}

async function readFeed(client: Client): Promise<FeedEvent[]> {
  const feed: FeedEvent[] = [];
  for (let after = "", more = true; more; ) {
    const { json } = await client.send("GET", `/v1/events?limit=100${after}`);
    feed.push(...json.data);
    after = `&after=${json.next_after}`;
    more = json.has_more;
  }
  return feed;
}

const countOf = async (client: Client, status: string): Promise<number> => {
  const { json } = await client.graphql("{ statusCounts { status count } }");
  const counts: { status: string; count: number }[] = json.data.statusCounts;
  return counts.find((each) => each.status === status)?.count ?? 0;
};

test("two replicas, of which one is killed, make each record expire once and send each notice once", async () => {
  const env = {
    ...(await freshEnv("a real database")),
    ...{ EXPIRY_NOTICE: "2h,1h", WEBHOOK_ALLOW_PRIVATE: "127.0.0.0/8" },
  };
  const receiver = await startReceiver();
  later(() => receiver.close());
  const events = "--events=kyc.expiring";
  expect(
    await runCli(["webhook", "create", "--account=demo", `--url=${receiver.url}`, events], env),
  ).toMatchObject({ code: 0 });
  const due = Array.from({ length: 1200 }, (_, index) => -1 - index);
  const soon = Array.from({ length: 60 }, (_, index) => (index % 2 === 0 ? 30 : 90));
  const file = await writeRecords([...due, ...soon, 500]);
  expect(await runCli(["import", file, "--account=demo"], env)).toMatchObject({ code: 0 });

  const token = await fullToken(env);
  const [first, second] = [await startGateway(env), await startGateway(env)];
  const survivor = createClient(second.url, token);
  await expect.poll(() => countOf(survivor, "EXPIRED"), { timeout: PATIENCE }).toBeGreaterThan(100);
  await first.stop("SIGKILL");
  const third = createClient((await startGateway(env)).url, token);
  await expect.poll(() => countOf(third, "EXPIRED"), { timeout: PATIENCE }).toBe(due.length);

  const isNotice = ({ type }: FeedEvent) => type === "kyc.expiring";
  const notices = async () => (await readFeed(third)).filter(isNotice).length;
  await expect.poll(notices, { timeout: PATIENCE }).toBe(soon.length);
  const feed = await readFeed(third);
  const changes = feed.filter(({ type }) => type === "kyc.updated");
  expect(changes.every((change) => change.verification_status === "expired")).toBe(true);
  expect(new Set(changes.map(({ kyc_id }) => kyc_id)).size).toBe(due.length);
  expect(changes).toHaveLength(due.length);
  expect(new Set(feed.filter(isNotice).map(({ kyc_id }) => kyc_id)).size).toBe(soon.length);
  const positions = () => new Set(receiver.received.map(({ body }) => body.data.position)).size;
  await expect.poll(positions, { timeout: PATIENCE }).toBe(soon.length);
  expect(receiver.received[0]?.body).toMatchObject({
    type: "kyc.expiring",
    data: { action: "expiring", statusBefore: "verified", statusAfter: "verified", versionAfter: 1 },
  });
  const { json } = await third.graphql(
    "{ auditEvents(first: 100, filter: { action: EXPIRING }) { nodes { subject } } }",
  );
  const subjects = json.data.auditEvents.nodes.map(({ subject }: { subject: string }) => subject).sort();
  expect(subjects).toEqual([...Array(30).fill("1h"), ...Array(30).fill("2h")]);
  const audit = await runCli(["audit", "verify", "--account=demo"], env);
  expect(audit, audit.stderr).toMatchObject({ code: 0 });
}, 400_000);

test.each(ENGINES)(
  "with %s, a record is announced and expires on time, another one is erased, and the stop is clean",
  async (engine) => {
    const env = { ...(await freshEnv(engine)), EXPIRY_NOTICE: "1h", RETENTION: "30 days" };
    const gateway = await startGateway(env);
    const client = createClient(gateway.url, await fullToken(env));
    const expiresAt = new Date(Date.now() + 20_000).toISOString();
    const created = await client.graphql(
      `mutation { createKyc(input: { customerId: "c", verificationStatus: VERIFIED, documentType: VISA, documentNumber: "Q-1234",
       expiresAt: "${expiresAt}" }) { kyc { id } } }`,
    );
    const id = created.json.data.createKyc.kyc.id;
    const typesOf = async (kycId: string) =>
      (await readFeed(client))
        .filter(({ kyc_id }) => kyc_id === kycId)
        .map(({ type, verification_status }) => [type, verification_status]);
    const types = () => typesOf(id);
    const endedAt = new Date(Date.now() - 31 * 86_400_000).toISOString();
    const ended = await client.graphql(
      `mutation { createKyc(input: { customerId: "d", verificationStatus: FAILED, documentType: VISA, documentNumber: "Q-1235",
       relationshipEndedAt: "${endedAt}" }) { kyc { id } } }`,
    );
    await expect.poll(types, { timeout: PATIENCE }).toEqual([
      ["kyc.created", "verified"],
      ["kyc.expiring", "verified"],
      ["kyc.updated", "expired"],
    ]);
    const { json } = await client.graphql(`{ kyc(id: "${id}") { verificationStatus statusSince } }`);
    expect(json.data.kyc.verificationStatus).toBe("EXPIRED");
    expect(Date.parse(json.data.kyc.statusSince)).toBeGreaterThanOrEqual(Date.parse(expiresAt));
    const { text } = await client.send("GET", "/metrics");
    expect(text).toMatch(/^kyc_expired_total 1$/m);
    expect(text).toMatch(/^kyc_expiry_notices_total 1$/m);
    expect(Number(/^kyc_expiry_lag_seconds (\S+)$/m.exec(text)?.[1])).toBeLessThan(60);
    await expect
      .poll(() => typesOf(ended.json.data.createKyc.kyc.id), { timeout: PATIENCE })
      .toEqual([
        ["kyc.created", "failed"],
        ["kyc.deleted", null],
      ]);
    const after = (await client.send("GET", "/metrics")).text;
    expect(after).toMatch(/^kyc_retention_erased_total 1$/m);
    expect(Number(/^kyc_retention_lag_seconds (\S+)$/m.exec(after)?.[1])).toBeLessThan(120);
    expect((await gateway.stop()).code).toBe(0);
  },
  200_000,
);
