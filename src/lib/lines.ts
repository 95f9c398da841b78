import { isUtf8 } from "node:buffer";

/** A line of a text. */
export interface Line {
  /** The first is 1. */
  number: number;
  /** Without its end; null if the line is longer than allowed or not UTF-8. */
  text: string | null;
  /** Why there is no text. */
  fault: string | null;
}

const LF = 10;
const CR = 13;
const BYTE_ORDER_MARK = "\uFEFF";

/**
 * Reads lines that end in LF, CR LF or CR, those of one chunk together. Of a line with more than `longest` bytes nothing is
 * kept. A byte order mark at the start is left out.
 */
export async function* readLines(chunks: AsyncIterable<Buffer>, longest: number): AsyncGenerator<Line[]> {
  const assembly = new LineAssembly(longest);
  /** The last chunk ended in a CR, and an LF that follows belongs to it. */
  let endsInCr = false;
  for await (const chunk of chunks) {
    if (chunk.length === 0) continue;
    const lines: Line[] = [];
    let from = endsInCr && chunk[0] === LF ? 1 : 0;
    endsInCr = chunk.at(-1) === CR;
    let lf = chunk.indexOf(LF, from);
    let cr = chunk.indexOf(CR, from);
    while (lf >= 0 || cr >= 0) {
      const isCr = cr >= 0 && (lf < 0 || cr < lf);
      const at = isCr ? cr : lf;
      assembly.add(chunk.subarray(from, at));
      lines.push(assembly.end());
      from = at + (isCr && chunk[at + 1] === LF ? 2 : 1);
      if (lf >= 0 && lf < from) lf = chunk.indexOf(LF, from);
      if (cr >= 0 && cr < from) cr = chunk.indexOf(CR, from);
    }
    assembly.add(chunk.subarray(from));
    if (lines.length > 0) yield lines;
  }
  if (assembly.length > 0) yield [assembly.end()];
}

/** Puts a line together from the chunks that it is spread over. */
class LineAssembly {
  readonly #longest: number;
  #number = 0;
  #pieces: Buffer[] = [];
  /** Bytes of the line so far. */
  length = 0;

  constructor(longest: number) {
    this.#longest = longest;
  }

  add(piece: Buffer): void {
    this.length += piece.length;
    if (this.length > this.#longest) this.#pieces = [];
    else if (piece.length > 0) this.#pieces.push(piece);
  }

  end(): Line {
    const number = ++this.#number;
    const isTooLong = this.length > this.#longest;
    const bytes = this.#pieces.length === 1 ? (this.#pieces[0] as Buffer) : Buffer.concat(this.#pieces);
    this.#pieces = [];
    this.length = 0;
    if (isTooLong) return { number, text: null, fault: `has more than ${this.#longest} bytes` };
    if (!isUtf8(bytes)) return { number, text: null, fault: "is not UTF-8" };
    const text = bytes.toString();
    const isMarked = number === 1 && text.startsWith(BYTE_ORDER_MARK);
    return { number, text: isMarked ? text.slice(BYTE_ORDER_MARK.length) : text, fault: null };
  }
}
