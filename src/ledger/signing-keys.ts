import { type Administrator, byGateway, recordActForAll } from "../administration/record-act.ts";
import type { Database, Executor } from "../db/client.ts";
import { type KeyPair, keyPairOf } from "../lib/ed25519.ts";
import type { Keyring } from "../sealing/keyring.ts";
import { recordMilestone } from "../sealing/milestones.ts";
import { createSecret, openSecret, openSecrets } from "../sealing/secrets.ts";
import { escaped } from "./event-leaf.ts";
import { LedgerError } from "./ledger-error.ts";
import { type NoteSigner, type NoteVerifier, signerOf } from "./note.ts";
import { signedHeadsOf } from "./signed-heads.ts";

/** A key's secret is its seed. The number after the prefix rises with each rotation. */
const KEY_PREFIX = "ledger key ";
const NAME_SECRET = "ledger name";
/** Bytes of the random part of a name that is made for a database. */
const NAME_LENGTH = 8;
/** How many keys sign a checkpoint: the newest one, and the one before for those who only know that one. */
const SIGNING = 2;

/** The circumstances that the keys are opened in. */
export interface KeySource {
  db: Database;
  keys: Keyring;
  /** The operator's name for the logs; undefined: one that is made for the database. */
  logName?: string | undefined;
}

/** The logs of one database: their names and keys. Each account's log has a name of its own, and all have one key. */
export class LogKeys {
  /** The first part of the names of all logs. */
  readonly name: string;
  /** Newest first. */
  readonly #seeds: readonly Buffer[];
  /** The pairs that were needed so far. Most openings need only the newest ones. */
  readonly #keyPairs = new Map<Buffer, KeyPair>();
  /** The heads that this process knows to be signed. */
  readonly signed: ReturnType<typeof signedHeadsOf>;

  constructor(name: string, seeds: readonly Buffer[], keys: Keyring) {
    this.name = name;
    this.#seeds = seeds;
    this.signed = signedHeadsOf(keys);
  }

  /** The name of an account's log: the origin of its checkpoints, and the name of its keys. */
  originOf(accountId: string): string {
    return `${this.name}/${escaped(accountId)}`;
  }

  /** The keys that sign the checkpoints of a log now, the newest one first. */
  signersOf(origin: string): NoteSigner[] {
    return this.#seeds.slice(0, SIGNING).map((seed) => signerOf(origin, this.#keyPairOf(seed)));
  }

  /** Every key that has ever signed checkpoints of a log, the newest one first. */
  verifiersOf(origin: string): NoteVerifier[] {
    return this.#seeds.map((seed) => signerOf(origin, this.#keyPairOf(seed)));
  }

  #keyPairOf(seed: Buffer): KeyPair {
    const pair = this.#keyPairs.get(seed) ?? keyPairOf(seed);
    this.#keyPairs.set(seed, pair);
    return pair;
  }
}

/**
 * The names and keys of the database's logs, as they are now. The first call creates a key and a name; concurrent first
 * calls of several gateways come to the same ones. Fails with a LedgerError if the database had a key and lacks it now,
 * and as `openSecret` if one can't be opened.
 */
export async function openLogKeys({ db, keys, logName }: KeySource): Promise<LogKeys> {
  let seeds = await readSeeds(db, keys);
  if (seeds.length === 0) {
    if (keys.reached.has("ledger_signed")) throw new LedgerError(KEY_IS_GONE);
    await db.transaction((tx) => createKey(tx, keys, byGateway(), 1));
    seeds = await readSeeds(db, keys);
  }
  if (!keys.reached.has("ledger_signed")) await recordMilestone(db, keys, "ledger_signed", Date.now());
  const name = logName ?? `kyc-gateway/${await madeName(db, keys)}`;
  return new LogKeys(name, seeds, keys);
}

const KEY_IS_GONE =
  "the signing key of the ledger is no longer in the database: restore the table secrets, or make a new key with `audit key rotate`";

async function madeName(db: Executor, keys: Keyring): Promise<string> {
  return (await openSecret(db, keys, NAME_SECRET)).subarray(0, NAME_LENGTH).toString("hex");
}

const numberOf = (name: string) => Number(name.slice(KEY_PREFIX.length));

/** Newest first. */
async function readSeeds(db: Executor, keys: Keyring): Promise<Buffer[]> {
  const found = [...(await openSecrets(db, keys, KEY_PREFIX))];
  return found.toSorted(([a], [b]) => numberOf(b) - numberOf(a)).map(([, seed]) => seed);
}

/** Creates the key with this number, with its event in the trail of each account. False: it exists. */
async function createKey(tx: Executor, keys: Keyring, by: Administrator, number: number): Promise<boolean> {
  if (!(await createSecret(tx, keys, `${KEY_PREFIX}${number}`))) return false;
  const action = number === 1 ? "signing_key_created" : "signing_key_rotated";
  await recordActForAll(tx, by, { action, subject: String(number), at: Date.now() });
  return true;
}

/**
 * Afterwards there is a new key, which signs all further checkpoints together with the one before, and an event of it in
 * the trail of each account; older keys stay to verify. Returns its number, from 1 on. Fails with a LedgerError if
 * somebody else makes one at the same time; then nothing has changed.
 */
export async function rotateSigningKey(db: Database, keys: Keyring, by: Administrator): Promise<number> {
  const numbers = [...(await openSecrets(db, keys, KEY_PREFIX)).keys()].map(numberOf);
  const number = Math.max(0, ...numbers) + 1;
  if (await db.transaction((tx) => createKey(tx, keys, by, number))) return number;
  throw new LedgerError("somebody else makes a new key at the same time: see `audit key`");
}
