import { z } from "zod";
import { flag, parseTimeSpan } from "../../lib/setting-values.ts";
import { setting } from "../../lib/settings.ts";

const OFF = new Set(["off", "false", "0"]);
const LONGEST_SECONDS = 3650 * 86_400;
/** Each notice of a record is an event. */
const MOST_NOTICES = 10;

/** Seconds before the expiry, the earliest notice first. */
const notices = z
  .string()
  .transform((list) => {
    if (OFF.has(list.trim().toLowerCase())) return [];
    return list.split(",").map((text) => (parseTimeSpan(text.trim()) ?? Number.NaN) / 1000);
  })
  .refine(
    (list) =>
      list.every((seconds) => Number.isInteger(seconds) && seconds >= 1 && seconds <= LONGEST_SECONDS),
    "must be off, or times before the expiry in days, hours, minutes or seconds, up to 3650d, such as 30d,7d",
  )
  .refine((list) => list.length <= MOST_NOTICES, `must have at most ${MOST_NOTICES} times`)
  .transform((list) => [...new Set(list)].sort((a, b) => b - a));

/** The largest number of each unit: 100 years. */
const LONGEST = { years: 100, months: 1200, weeks: 5200, days: 36_500 } as const;
const RETENTION_RULE =
  "must be off, or a number of years, months, weeks or days, up to 100 years, such as 5 years or 18 months";

/** An interval of PostgreSQL. */
const retention = z
  .string()
  .transform((text) => {
    if (OFF.has(text.trim().toLowerCase())) return null;
    const [, digits, unit] = /^(\d{1,5}) *(year|month|week|day)s?$/.exec(text.trim().toLowerCase()) ?? [];
    const [count, plural] = [Number(digits), `${unit}s` as keyof typeof LONGEST];
    return count >= 1 && count <= LONGEST[plural] ? `${count} ${plural}` : undefined;
  })
  .pipe(z.string(RETENTION_RULE).nullable());

export const lifecycleSettings = {
  /** The time after `relationshipEndedAt` after which a record is erased: an interval of PostgreSQL; null: never. */
  retention: setting("RETENTION", retention.prefault("off")),
  /** Whether nothing can be deleted before. */
  retentionEnforced: setting("RETENTION_ENFORCED", flag.default(false)),
  /** When it is announced that a record will expire. */
  expiryNotices: setting("EXPIRY_NOTICE", notices.prefault("30d,7d")),
};

const UNITS = [
  ["d", 86_400],
  ["h", 3600],
  ["m", 60],
] as const;

/** The time of a notice as it is written in the setting, in the largest unit that fits: `7d`. */
export function nameOfNotice(seconds: number): string {
  const unit = UNITS.find(([, size]) => seconds % size === 0);
  return unit ? `${seconds / unit[1]}${unit[0]}` : `${seconds}s`;
}
