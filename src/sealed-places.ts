import { tokenMacs } from "./auth/token-macs.ts";
import { sealedResults } from "./idempotency/sealed-results.ts";
import { sealedNumbers } from "./kyc/number/sealed-numbers.ts";
import type { SealedPlace } from "./sealing/place.ts";
import { sealedSecrets } from "./sealing/secrets.ts";
import { sealedEndpoints } from "./webhooks/sealed-endpoints.ts";

/** Everything in the database that needs a key: `keys rotate` seals it again, and `keys check` opens it. */
export const SEALED_PLACES: readonly SealedPlace[] = [
  sealedNumbers,
  sealedResults,
  tokenMacs,
  sealedSecrets,
  sealedEndpoints,
];
