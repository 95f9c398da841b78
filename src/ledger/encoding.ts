/** The bytes of a base64 text with its padding, by RFC 4648, section 4. Null for any other spelling of the same bytes. */
export function decodeBase64(text: string): Buffer | null {
  const bytes = Buffer.from(text, "base64");
  return bytes.toString("base64") === text ? bytes : null;
}

/** A number from 0 on as ASCII digits without leading zeroes. Null for any other text, and for an unsafe integer. */
export function parseDecimal(text: string): number | null {
  const number = Number(text);
  return /^(0|[1-9]\d*)$/.test(text) && Number.isSafeInteger(number) ? number : null;
}
