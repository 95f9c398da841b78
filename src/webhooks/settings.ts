import { flag, networks } from "../lib/setting-values.ts";
import { setting } from "../lib/settings.ts";

export const webhookSettings = {
  /** Whether `serve` delivers webhooks. */
  webhooks: setting("WEBHOOKS", flag.default(true)),
  /** Networks besides the public ones that webhooks may be in. */
  webhookAllowPrivate: setting("WEBHOOK_ALLOW_PRIVATE", networks.default([])),
};
