import { isIP } from "node:net";
import ms, { type StringValue } from "ms";
import { z } from "zod";

export const integer = (min: number, max: number) => {
  const message = `must be an integer from ${min} to ${max}`;
  return z
    .string()
    .regex(/^\d{1,15}$/, message)
    .transform(Number)
    .refine((value) => value >= min && value <= max, message);
};

const WORDS: Record<string, boolean> = { true: true, 1: true, on: true, false: false, 0: false, off: false };
export const flag = z
  .string()
  .transform((word) => WORDS[word.toLowerCase()])
  .pipe(z.boolean("must be true or false"));

const isOrigin = (text: string) => URL.canParse(text) && new URL(text).origin === text;
export const origins = z
  .string()
  .transform((list) => list.split(",").map((origin) => origin.trim()))
  .refine(
    (list) => list.every(isOrigin),
    "must be origins such as https://app.example.com, with commas between",
  );

/** Of a server that this process sends to. */
export const httpUrl = z
  .string()
  .refine(
    (text) => URL.canParse(text) && /^https?:$/.test(new URL(text).protocol),
    "must be a URL such as http://127.0.0.1:4318",
  );

const UNITS: Record<string, number> = { "": 1, kib: 1024, mib: 1024 ** 2 };
export const bytes = z
  .string()
  .regex(/^\d{1,9} *(KiB|MiB)?$/i, "must be a size such as 102400, 100 KiB or 1 MiB")
  .transform((text) => Number.parseInt(text, 10) * (UNITS[text.replace(/[\d ]/g, "").toLowerCase()] ?? 1))
  .refine((size) => size > 0, "must be above zero");

/** Milliseconds of a time span such as `5s`, `5 min` or `90d`; undefined if it is none, or has no unit. */
export function parseTimeSpan(text: string): number | undefined {
  if (!/^\d{1,9}(\.\d{1,3})? *[a-z]+$/i.test(text)) return undefined;
  const millis = ms(text as StringValue);
  return millis === undefined ? undefined : Math.round(millis);
}

const LONGEST_MS = 3_600_000;
export const duration = z
  .string()
  .transform((text) => (/^\d{1,9}$/.test(text) ? Number(text) : parseTimeSpan(text)))
  .pipe(z.number("must be a time such as 500 ms, 5 s, 5m or 5000, which are milliseconds"))
  .refine((millis) => millis > 0 && millis <= LONGEST_MS, "must be above zero and at most 60 min");

function isNetwork(text: string): boolean {
  const [address = "", prefix, ...more] = text.split("/");
  const longest = { 0: 0, 4: 32, 6: 128 }[isIP(address)] ?? 0;
  const isPrefix = prefix === undefined || (/^\d{1,3}$/.test(prefix) && Number(prefix) >= 1);
  return longest > 0 && isPrefix && Number(prefix ?? 1) <= longest && more.length === 0;
}

export const networks = z
  .string()
  .transform((list) => list.split(",").map((network) => network.trim()))
  .refine(
    (list) => list.every(isNetwork),
    "must be addresses or networks such as 10.0.0.7 or 10.0.0.0/8, with commas between",
  );

/** A name or an address; IPv6 may be in brackets, as in a URL. */
export const host = z.string().transform((text) => text.replace(/^\[(.+)\]$/, "$1"));
