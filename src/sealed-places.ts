import { sealedResults } from "./idempotency/sealed-results.ts";
import { sealedNumbers } from "./kyc/sealed-numbers.ts";
import type { SealedPlace } from "./sealing/place.ts";

/** Everything of the database that is sealed: what a key is needed for, and what `keys rotate` seals anew. */
export const SEALED_PLACES: readonly SealedPlace[] = [sealedNumbers, sealedResults];
