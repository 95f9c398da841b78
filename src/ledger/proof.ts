import { decodeBase64, parseDecimal } from "./encoding.ts";
import { HASH_LENGTH } from "./tree.ts";

// Proofs that can be verified offline: https://c2sp.org/tlog-proof

const FIRST_LINE = "c2sp.org/tlog-proof@v1";
/** A tree with more leaves than there are safe integers would need more hashes. */
const MOST_HASHES = 53;

/** A text is no proof. */
export class ProofError extends Error {
  override readonly name = "ProofError";
}

/** That a log has an entry: nothing in it has been verified. */
export interface InclusionProof {
  /** The entry itself, so that it need not be made again from what a client was shown. Not authenticated. */
  extra?: Buffer;
  index: number;
  /** From the sibling of the leaf up to a child of the root. */
  hashes: Buffer[];
  /** The signed note, as it is. */
  checkpoint: string;
}

export function formatProof({ extra, index, hashes, checkpoint }: InclusionProof): string {
  const lines = [FIRST_LINE];
  if (extra) lines.push(`extra ${extra.toString("base64")}`);
  lines.push(`index ${index}`, ...hashes.map((hash) => hash.toString("base64")));
  return `${lines.join("\n")}\n\n${checkpoint}`;
}

/** Parses a proof. Fails with a ProofError unless it has exactly the right form. Its checkpoint is not checked. */
export function parseProof(text: string): InclusionProof {
  const end = text.indexOf("\n\n");
  const [first, ...lines] = (end === -1 ? "" : text.slice(0, end)).split("\n");
  if (first !== FIRST_LINE) throw new ProofError("this text is no proof");
  const extra = lines[0]?.startsWith("extra ") ? readBytes(lines.shift() as string, "extra ") : undefined;
  const [indexLine = "", ...hashLines] = lines;
  const index = indexLine.startsWith("index ") ? parseDecimal(indexLine.slice("index ".length)) : null;
  if (index === null) throw new ProofError("the proof has no index");
  if (hashLines.length > MOST_HASHES) throw new ProofError("the proof has too many hashes");
  const hashes = hashLines.map((line) => readBytes(line));
  if (hashes.some(({ length }) => length !== HASH_LENGTH)) {
    throw new ProofError("a line of the proof is no hash");
  }
  return { ...(extra && { extra }), index, hashes, checkpoint: text.slice(end + 2) };
}

function readBytes(line: string, name = ""): Buffer {
  const bytes = decodeBase64(line.slice(name.length));
  if (!bytes) throw new ProofError("a line of the proof is not base64");
  return bytes;
}
