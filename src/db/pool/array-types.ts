/** PostgreSQL's numbers of array types. They are the same on every server. */
const TEXTS = 1009;
const INTEGERS = 1007;
const BIG_INTEGERS = 1016;

/**
 * The array types that our statements use, declared for the driver. Without them the driver asks every new connection
 * for all array types, and if the connection ends during that query, the driver's error ends the process.
 */
export const ARRAY_TYPES = {
  texts: { to: TEXTS, from: [TEXTS], serialize: writeArray, parse: readTexts },
  integers: { to: INTEGERS, from: [], serialize: writeArray, parse: readTexts },
  bigIntegers: { to: BIG_INTEGERS, from: [], serialize: writeArray, parse: readTexts },
};

/** The text form of a list in PostgreSQL's array syntax. Other values have been written as text already. */
function writeArray(list: unknown): unknown {
  if (!Array.isArray(list)) return list;
  return `{${list.map(quote).join(",")}}`;
}

function quote(item: unknown): string {
  if (item === null) return "null";
  const text = String(item);
  // Testing first takes a third of the time, because hardly any text contains these characters.
  return `"${/["\\]/.test(text) ? text.replace(/["\\]/g, "\\$&") : text}"`;
}

const ITEM = /"((?:[^"\\]|\\.)*)"|[^{},]+/gs;

/** Parses an array that PostgreSQL wrote. It must have one dimension and contain only texts and nulls. */
function readTexts(array: string): (string | null)[] {
  if (array === "{}") return [];
  // Ids and the like are written without quotes.
  if (!array.includes('"')) return array.slice(1, -1).split(",").map(readPlain);
  return Array.from(array.matchAll(ITEM), ([plain, quoted]) => {
    if (quoted !== undefined) return quoted.replace(/\\(.)/gs, "$1");
    return readPlain(plain);
  });
}

function readPlain(text: string): string | null {
  return text === "NULL" ? null : text;
}
