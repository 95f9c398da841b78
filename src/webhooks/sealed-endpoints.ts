import type { Database } from "../db/client.ts";
import { type Keyring, keyIdOf } from "../sealing/keyring.ts";
import type { Resealing, SealedPlace } from "../sealing/place.ts";
import { resealTexts } from "../sealing/reseal.ts";
import type { StoredEndpoint } from "./endpoint.ts";
import { countEndpointsByKey, findEndpointsAfter, replaceSealedSecrets } from "./endpoint-store.ts";
import { openEndpointSecrets, sealSecrets } from "./secrets.ts";

/** Endpoints of one step. */
const STEP = 200;

/** The secrets of webhooks, as the `keys` commands see them. */
export const sealedEndpoints: SealedPlace = {
  name: "webhooks' secrets",
  countByKey: countEndpointsByKey,
  isSealedUnder: async (db, keyId) => (await countEndpointsByKey(db)).has(keyId),
  reseal: (db, keys, onStep) => visit(db, keys, { writes: true, onStep }),
  check: async (db, keys, onStep) => (await visit(db, keys, { writes: false, onStep })).unreadable,
};

/** Opens all secrets and, if it `writes`, seals those anew that are not sealed under the newest key. */
function visit(
  db: Database,
  keys: Keyring,
  { writes, onStep }: { writes: boolean; onStep: (seen: number) => void },
): Promise<Resealing> {
  return resealTexts<StoredEndpoint, string>({
    steps: () => listSteps(db),
    nameOf: ({ accountId, id }) => ({ kind: "webhook", account: accountId, id }),
    renew: ({ accountId, id, sealedSecrets }) => {
      const secrets = openEndpointSecrets(keys, accountId, id, sealedSecrets);
      if (!writes || keyIdOf(sealedSecrets) === keys.newestId) return undefined;
      return sealSecrets(keys, accountId, id, secrets);
    },
    replace: async (replacements) => {
      let written = 0;
      for (const { from, to } of replacements) if (await replaceSealedSecrets(db, from, to)) written += 1;
      return written;
    },
    onStep,
  });
}

async function* listSteps(db: Database): AsyncGenerator<StoredEndpoint[]> {
  let after: Pick<StoredEndpoint, "accountId" | "id"> | undefined = { accountId: "", id: "" };
  while (after) {
    const endpoints: StoredEndpoint[] = await findEndpointsAfter(db, after, STEP);
    yield endpoints;
    after = endpoints.length < STEP ? undefined : endpoints.at(-1);
  }
}
