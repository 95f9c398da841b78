import { randomUUID } from "node:crypto";
import type { Faker } from "@faker-js/faker";
import type { Database } from "../db/client.ts";
import { createKyc } from "../kyc/create-kyc.ts";
import { listKycs } from "../kyc/list-kycs.ts";
import { openOperatorContext } from "../kyc/operator-context.ts";
import { updateKyc } from "../kyc/update-kyc.ts";
import type { Keyring } from "../sealing/keyring.ts";
import { DOCUMENT_TYPES, type DocumentType, type VerificationStatus } from "../vocabulary.ts";

/** These are in milliseconds. */
const MINUTE = 60_000;
const DAY = 24 * 60 * MINUTE;
/** The age of the oldest record. */
const SPAN_MS = 240 * DAY;

/** How often each kind of document is shown, and what its numbers look like. */
const EXAMPLES: Record<DocumentType, { weight: number; number: RegExp }> = {
  passport: { weight: 45, number: /[A-Z]{2}[0-9]{7}/ },
  drivers_license: { weight: 24, number: /[A-Z][0-9]{12}/ },
  id_card: { weight: 20, number: /[0-9]{3}[A-Z]{2}[0-9]{6}/ },
  residence_permit: { weight: 7, number: /[A-Z]{3}[0-9]{9}/ },
  visa: { weight: 3, number: /[0-9]{8}/ },
  other: { weight: 1, number: /[A-Z0-9]{10}/ },
};

/** Something that happened to a record, at a time in epoch milliseconds. */
interface Happening {
  at: number;
  record: number;
  status: VerificationStatus;
}

/**
 * Afterwards the account has so many more made-up records, as if they had been created and changed over the last months:
 * the operations that serve requests do that. `onRecord` gets the number of records so far. Returns false, and does nothing,
 * if the account has records already and `again` is not set.
 */
export async function fillDemo(
  { db, keys }: { db: Database; keys: Keyring },
  options: { account: string; records: number; again: boolean; now: number },
  onRecord: (made: number) => void,
): Promise<boolean> {
  const clock = { now: options.now };
  const ctx = await openOperatorContext({
    ...{ db, keys, requestId: `demo_${randomUUID()}`, now: () => clock.now },
    // It deletes nothing.
    enforcedRetention: null,
    viewer: {
      ...{ accountId: options.account, tokenId: "demo", tokenName: "demo" },
      scopes: ["kyc:read", "kyc:write"],
      expiresAt: null,
    },
  });
  const { items } = await (await listKycs(ctx, { first: 1 })).page();
  if (items.length > 0 && !options.again) return false;

  // Some megabytes of words, which nothing else needs.
  const { faker } = await import("@faker-js/faker/locale/en");
  const customers = Array.from({ length: Math.ceil(options.records * 0.8) }, () => newCustomerId(faker));
  const ids = new Map<number, string>();
  for (const { at, record, status } of happenings(faker, options.records, options.now)) {
    clock.now = at;
    const id = ids.get(record);
    if (id !== undefined) {
      await updateKyc(ctx, { id, verificationStatus: status });
      continue;
    }
    const { type: documentType, number } = faker.helpers.weightedArrayElement(
      DOCUMENT_TYPES.map((type) => ({ value: { type, ...EXAMPLES[type] }, weight: EXAMPLES[type].weight })),
    );
    const { id: created } = await createKyc(ctx, {
      customerId: faker.helpers.arrayElement(customers),
      verificationStatus: status,
      documentType,
      documentNumber: faker.helpers.fromRegExp(number),
    });
    ids.set(record, created);
    onRecord(ids.size);
  }
  return true;
}

const newCustomerId = (faker: Faker) => `cus_${faker.string.alphanumeric(14)}`;

/** What happens to all records until now, in the order of time; each record's creation is its first. */
function happenings(faker: Faker, records: number, now: number): Happening[] {
  const all: Happening[] = [];
  for (let record = 0; record < records; record++) {
    const within = (min: number, max: number) => faker.number.int({ min, max });
    // More of them lately: the company grows.
    let at = now - Math.round(SPAN_MS * faker.number.float() ** 1.6) - within(1, MINUTE);
    const happens = (status: VerificationStatus) => all.push({ at, record, status });
    happens("pending");
    at += within(2 * MINUTE, 2 * DAY);
    happens("in_review");
    at += within(10 * MINUTE, 5 * DAY);
    const verified = faker.datatype.boolean(0.85);
    happens(verified ? "verified" : "failed");
    at += within(90 * DAY, 300 * DAY);
    if (verified) happens("expired");
  }
  return all.filter(({ at }) => at <= now).sort((a, b) => a.at - b.at);
}
