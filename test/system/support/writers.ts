import { setTimeout as wait } from "node:timers/promises";
import { type Client, CREATE_KYC, createClient, kycFields } from "./client.ts";

/** The acknowledged writes of clients that write all the time, by document number, which is unique to each record. */
export interface Ledger {
  sent: Set<string>;
  acknowledged: Set<string>;
  /** How many answers had this status; 0: there was none. */
  statuses: Map<number, number>;
  /** Answers of 503 that don't say when to try again, and answers with neither a record nor a 503. */
  strange: string[];
  /** The longest that one of them waited. Milliseconds. */
  slowest: number;
}

/** Writes with so many clients of each surface until `stop`, which resolves when all have their last answer. */
export function keepWriting(
  urls: readonly string[],
  token: string,
  clients = 4,
): Ledger & { stop(): Promise<void>; reset(): void } {
  const ledger: Ledger = {
    sent: new Set(),
    acknowledged: new Set(),
    statuses: new Map(),
    strange: [],
    slowest: 0,
  };
  const run = Math.random().toString(36).slice(2, 8);
  let stopped = false;
  const writers = Array.from({ length: clients * 2 }, async (_, client) => {
    for (let n = 0; !stopped; n++) {
      const number = `${run}-${client}-${n}`;
      const url = urls[(client + n) % urls.length] as string;
      ledger.sent.add(number);
      const asked = performance.now();
      const status = await write(createClient(url, token), number, client % 2 === 0, ledger);
      ledger.slowest = Math.max(ledger.slowest, performance.now() - asked);
      ledger.statuses.set(status, (ledger.statuses.get(status) ?? 0) + 1);
      if (status !== 201) await wait(20);
    }
  });
  return Object.assign(ledger, {
    stop: async () => {
      stopped = true;
      await Promise.all(writers);
    },
    reset: () => {
      ledger.statuses.clear();
      ledger.slowest = 0;
    },
  });
}

async function write(client: Client, number: string, rest: boolean, ledger: Ledger): Promise<number> {
  try {
    const answer = rest
      ? await client.form("POST", "/v1/kyc", kycFields("writer", number))
      : await client.graphql(CREATE_KYC, { customerId: "writer", documentNumber: number });
    const made = rest ? answer.status === 201 : answer.status === 200 && !answer.json.errors;
    if (made) ledger.acknowledged.add(number);
    else if (answer.status !== 503 || answer.headers.get("retry-after") === null)
      ledger.strange.push(`${answer.status} ${answer.text}`);
    return made ? 201 : answer.status;
  } catch {
    return 0;
  }
}

/** How often each document number is stored. Waits until the gateway answers again. */
export async function readNumbers(url: string, token: string): Promise<Map<string, number>> {
  const client = createClient(url, token);
  const found = new Map<string, number>();
  let path = "/v1/kyc?limit=100";
  for (;;) {
    const { status, json } = await client.send("GET", path);
    if (status !== 200) throw new Error(`reading failed: ${status}`);
    for (const { document_number } of json.data)
      found.set(document_number, (found.get(document_number) ?? 0) + 1);
    if (!json.has_more) return found;
    path = `/v1/kyc?limit=100&starting_after=${json.data.at(-1).id}`;
  }
}

/** The acknowledged records that are missing, the duplicates, and the records that no client sent. */
export function compare(ledger: Ledger, stored: Map<string, number>): string[] {
  return [
    ...[...ledger.acknowledged].filter((number) => !stored.has(number)).map((number) => `lost ${number}`),
    ...[...stored].filter(([, count]) => count > 1).map(([number]) => `twice ${number}`),
    ...[...stored.keys()]
      .filter((number) => !ledger.sent.has(number))
      .map((number) => `from nowhere ${number}`),
  ];
}
