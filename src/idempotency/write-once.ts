import { createHmac, randomBytes } from "node:crypto";
import { hasScope, type Viewer } from "../auth/scopes.ts";
import type { Database, Executor } from "../db/client.ts";
import { AppError, type ErrorCode, unavailable } from "../errors.ts";
import { type Keyring, MissingKeyError } from "../sealing/keyring.ts";
import { hashKey, type IdempotencyRequest } from "./key.ts";
import { openResult, sealResult } from "./sealed-results.ts";
import { type Claim, type ClaimFinding, claimKey, completeKey } from "./store.ts";

/** Each row has its own digest key, which is sealed together with the result. Bytes. */
const SECRET_BYTES = 32;

/** The outcome of the first request under a key: its result, or why it failed. */
type Outcome<Result> = { result: Result; failure?: undefined } | { result?: undefined; failure: AppError };

/** These failures depend on the state of records and could differ another time, so they use up the key. */
const LASTING: ReadonlySet<ErrorCode> = new Set(["NOT_FOUND", "VERSION_CONFLICT"]);

/** A write under an `Idempotency-Key`: makes the row to store, and reads the stored row of the first request. */
export class KeyedWrite<Result> {
  readonly accountId: string;
  readonly #keys: Keyring;
  readonly #request: IdempotencyRequest;
  readonly #key: { keyHash: string; lock: string };
  readonly #operation: string;
  readonly #maskedOperation: string;
  readonly #seesNumbers: boolean;

  /**
   * `operation` is the canonical text of the request, the same on both surfaces; `maskedOperation` is the same text as a
   * viewer without `kyc:pii` would see it.
   */
  constructor(
    keys: Keyring,
    request: IdempotencyRequest,
    viewer: Viewer,
    operation: string,
    maskedOperation: string,
  ) {
    const { accountId } = viewer;
    this.accountId = accountId;
    this.#keys = keys;
    this.#request = request;
    this.#key = hashKey(accountId, request);
    this.#operation = operation;
    this.#maskedOperation = maskedOperation;
    this.#seesNumbers = hasScope(viewer, "kyc:pii");
  }

  /** The claim of the key for a write on this record whose outcome is not known yet. */
  claim(kycId: string): Claim {
    return { ...this.#key, kycId, requestDigest: null, sealedResult: null };
  }

  /** The claim of the key with the outcome of the write. */
  claimWith(kycId: string, { result, failure }: Outcome<Result>): Claim {
    const secret = randomBytes(SECRET_BYTES).toString("base64url");
    const { code, message, currentVersion } = failure ?? {};
    const said = failure && { code, message, currentVersion };
    const json = JSON.stringify([secret, result, digest(secret, this.#maskedOperation), said]);
    const sealedResult = sealResult(this.#keys, this.accountId, this.#key.keyHash, json);
    return { ...this.#key, kycId, requestDigest: digest(secret, this.#operation), sealedResult };
  }

  /**
   * The result of the first request under the key; undefined if none has ended, so that the key must be claimed again.
   * Fails as the first request did; with IDEMPOTENCY_IN_PROGRESS while it runs, with IDEMPOTENCY_MISMATCH if it was another
   * request, and with NOT_FOUND if its record was deleted since. For a viewer without `kyc:pii` only the masks of the numbers
   * are compared: otherwise the key would confirm a guessed number.
   */
  replay({ first, free, claimedFor }: ClaimFinding): { result: Result } | undefined {
    if (!first) {
      if (free || claimedFor !== null) return undefined;
      throw new AppError("IDEMPOTENCY_IN_PROGRESS", "The first request with this key is still running.");
    }
    if (first.sealedResult === null) {
      throw new AppError("NOT_FOUND", "The record of the first request with this key was deleted since.");
    }
    const [secret, result, maskedDigest, failure] = JSON.parse(this.#open(first.sealedResult));
    const isSame = this.#seesNumbers
      ? first.requestDigest === digest(secret, this.#operation)
      : maskedDigest === digest(secret, this.#maskedOperation);
    if (!isSame) {
      throw keyMismatch();
    }
    this.#request.replayed = true;
    if (failure) {
      const { code, message, currentVersion } = failure;
      throw new AppError(code, message, { replayed: true, currentVersion });
    }
    return { result };
  }

  #open(sealed: string): string {
    try {
      return openResult(this.#keys, this.accountId, this.#key.keyHash, sealed);
    } catch (error) {
      throw error instanceof MissingKeyError ? unavailable(error) : error;
    }
  }
}

/** The error for a key that was used with another request. */
export function keyMismatch(): AppError {
  return new AppError("IDEMPOTENCY_MISMATCH", "The key was used with another request. Use a new key.");
}

function digest(secret: string, operation: string): string {
  return createHmac("sha256", secret).update(operation).digest("base64url");
}

/**
 * The write under the request's key; null if it has none. `input` is valid, because faults must not use up a key. `mask`
 * returns the input as a viewer without `kyc:pii` may see it.
 */
export function toKeyedWrite<Result, Input extends object>(
  ctx: { keys: Keyring; idempotency: IdempotencyRequest | null },
  viewer: Viewer,
  name: string,
  input: Input,
  mask: (input: Input) => Input = (same) => same,
): KeyedWrite<Result> | null {
  if (!ctx.idempotency) return null;
  const fields = Object.keys(input).sort();
  const toText = (value: Input) => JSON.stringify([name, value], fields);
  return new KeyedWrite(ctx.keys, ctx.idempotency, viewer, toText(input), toText(mask(input)));
}

/**
 * Does the work in one transaction or, under the key of an earlier request, repeats its answer. Key and work are committed
 * together. If the work fails with NOT_FOUND or VERSION_CONFLICT, which it may only do before it has written anything, each
 * repetition fails the same way; any other failure leaves the key unused. `deadline` is the time limit of the transaction,
 * in milliseconds.
 */
export async function writeOnce<Result>(
  { db }: { db: Database },
  keyed: KeyedWrite<Result> | null,
  kycId: string,
  work: (tx: Executor) => Promise<Result>,
  deadline?: number,
): Promise<Result> {
  if (!keyed) return db.transaction(work, deadline);
  const outcome = await db.transaction(async (tx): Promise<Outcome<Result>> => {
    const wanted = keyed.claim(kycId);
    for (;;) {
      const finding = await claimKey(tx, keyed.accountId, wanted);
      if (finding.claimedFor !== null) break;
      const first = keyed.replay(finding);
      if (first) return first;
    }
    const first = await work(tx).then((result) => ({ result }), toLastingFailure);
    await completeKey(tx, keyed.accountId, keyed.claimWith(kycId, first));
    return first;
  }, deadline);
  if (outcome.failure) throw outcome.failure;
  return outcome.result;
}

function toLastingFailure(error: unknown): Outcome<never> {
  if (error instanceof AppError && LASTING.has(error.code)) return { failure: error };
  throw error;
}
