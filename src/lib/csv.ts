/** What a spreadsheet takes for the beginning of a formula. */
const FORMULA = /^[=+\-@\t\r]/;

/**
 * A line of CSV by RFC 4180, with its line end. A list becomes one field, with spaces between its items. A field that a
 * spreadsheet would execute as a formula gets an apostrophe before it, which spreadsheets don't show.
 */
export function toCsvLine(fields: readonly (string | number | readonly string[])[]): string {
  return `${fields.map(toField).join(",")}\r\n`;
}

function toField(value: string | number | readonly string[]): string {
  if (typeof value === "number") return String(value);
  const text = typeof value === "string" ? value : value.join(" ");
  const safe = FORMULA.test(text) ? `'${text}` : text;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}
