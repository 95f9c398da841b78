import { z } from "zod";
import { duration } from "../lib/setting-values.ts";
import { setting } from "../lib/settings.ts";

const LOG_NAME = /^[\w.:~-]+(\/[\w.:~-]+)*$/;

export const ledgerSettings = {
  /** The first part of the names of all logs; undefined: one that is made for the database. */
  auditLogName: setting(
    "AUDIT_LOG_NAME",
    z
      .string()
      .max(128, "must have at most 128 characters")
      .regex(LOG_NAME, "must be a name such as kyc.example.com/eu")
      .optional(),
  ),
  /** From one publication of checkpoints to the next. Milliseconds. */
  auditCheckpointInterval: setting("AUDIT_CHECKPOINT_INTERVAL", duration.default(600_000)),
  /** The path of the file that checkpoints are appended to; undefined: they are only in the log. */
  auditCheckpointFile: setting("AUDIT_CHECKPOINT_FILE", z.string().optional()),
};
