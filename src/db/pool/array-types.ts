/** Types of arrays by PostgreSQL's numbers, which are the same everywhere. */
const TEXTS = 1009;
const INTEGERS = 1007;
const BIG_INTEGERS = 1016;

/**
 * The arrays of the statements, for the driver. It would ask each new connection for all types of arrays instead, and
 * a connection that ends while it does so would end the process.
 */
export const ARRAY_TYPES = {
  texts: { to: TEXTS, from: [TEXTS], serialize: writeArray, parse: readTexts },
  integers: { to: INTEGERS, from: [], serialize: writeArray, parse: readTexts },
  bigIntegers: { to: BIG_INTEGERS, from: [], serialize: writeArray, parse: readTexts },
};

/** A list as PostgreSQL reads it; what is none is written by somebody else already. */
function writeArray(list: unknown): unknown {
  if (!Array.isArray(list)) return list;
  return `{${list.map(quote).join(",")}}`;
}

function quote(item: unknown): string {
  if (item === null) return "null";
  const text = String(item);
  // To look first takes a third of the time: hardly any text has one of them.
  return `"${/["\\]/.test(text) ? text.replace(/["\\]/g, "\\$&") : text}"`;
}

const ITEM = /"((?:[^"\\]|\\.)*)"|[^{},]+/gs;

/** The list that PostgreSQL has written: of texts and nulls, of one dimension. */
function readTexts(array: string): (string | null)[] {
  return Array.from(array.matchAll(ITEM), ([plain, quoted]) => {
    if (quoted !== undefined) return quoted.replace(/\\(.)/gs, "$1");
    return plain === "NULL" ? null : plain;
  });
}
