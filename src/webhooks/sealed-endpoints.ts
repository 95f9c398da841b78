import { keyIdOf } from "../sealing/keyring.ts";
import type { SealedPlace } from "../sealing/place.ts";
import { goThrough, inSteps } from "../sealing/reseal.ts";
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
  ...goThrough<StoredEndpoint, string>((db, keys) => ({
    steps: inSteps((after, limit) => findEndpointsAfter(db, after, limit), { accountId: "", id: "" }, STEP),
    nameOf: ({ accountId, id }) => ({ kind: "webhook", account: accountId, id }),
    isDone: ({ sealedSecrets }) => keyIdOf(sealedSecrets) === keys.newestId,
    open: ({ accountId, id, sealedSecrets }) => {
      const secrets = openEndpointSecrets(keys, accountId, id, sealedSecrets);
      return () => sealSecrets(keys, accountId, id, secrets);
    },
    replace: async (replacements) => {
      let written = 0;
      for (const { from, to } of replacements) if (await replaceSealedSecrets(db, from, to)) written += 1;
      return written;
    },
  })),
};
