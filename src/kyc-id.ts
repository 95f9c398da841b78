import { randomInt } from "node:crypto";

const ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const TIME_LENGTH = 7;
const RANDOM_LENGTH = 9;
export const ID_SHAPE = /^[0-9A-Za-z]{16}$/;

/** A new record id: ids sort (byte-wise) by the millisecond in which they were made, and can't be guessed. */
export function newKycId(now: number): string {
  let random = "";
  for (let i = 0; i < RANDOM_LENGTH; i++) random += ALPHABET[randomInt(62)];
  return timePart(now) + random;
}

/** An id that sorts as if it was made at this time, in epoch milliseconds, and whose other part is the number. */
export function toTimedId(millis: number, number: bigint): string {
  let other = "";
  for (let rest = number, i = 0; i < RANDOM_LENGTH; i++, rest /= 62n) other += ALPHABET[Number(rest % 62n)];
  return timePart(Math.max(0, millis)) + other;
}

function timePart(millis: number): string {
  let time = "";
  for (let rest = millis, i = 0; i < TIME_LENGTH; i++, rest = Math.floor(rest / 62)) {
    time = ALPHABET[rest % 62] + time;
  }
  return time;
}

/** Whether a string has the shape of a record id. Nothing else is ever the id of a record. */
export function isKycId(id: string): boolean {
  return ID_SHAPE.test(id);
}

/** The text as an id. A text that can't be an id becomes one that no record has, because the database refuses some texts. */
export function toKycId(text: string): string {
  return isKycId(text) ? text : "";
}
