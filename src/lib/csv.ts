/** A value of a table's cell. */
export type Cell = string | number | boolean | null;

// Spreadsheets treat a text that begins like this as a formula, and some strip white space first. The apostrophes are those
// of earlier escapes, so that each text has one escaped form.
const LOOKS_LIKE_FORMULA = /^'*(?:\s*[=+\-@＝＋－＠]|[\t\r\n])/;
const NEEDS_QUOTES = /[",;\r\n\t]|^\s|\s$/;

/**
 * A row of CSV by RFC 4180, with its line end. Null is an empty cell. A text that a spreadsheet would run as a formula gets
 * an apostrophe before it.
 */
export function toCsvRow(cells: readonly Cell[]): string {
  return `${cells.map(toCell).join(",")}\r\n`;
}

function toCell(cell: Cell): string {
  if (cell === null) return "";
  if (typeof cell !== "string") return String(cell);
  const text = LOOKS_LIKE_FORMULA.test(cell) ? `'${cell}` : cell;
  return NEEDS_QUOTES.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/** The text of a cell of `toCsvRow`, without the quotes and without the apostrophe before what looks like a formula. */
export function fromCsvCell(cell: string): string {
  return cell.startsWith("'") && LOOKS_LIKE_FORMULA.test(cell.slice(1)) ? cell.slice(1) : cell;
}
