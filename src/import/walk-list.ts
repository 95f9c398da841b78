import { ID_SHAPE } from "../kyc-id.ts";
import { fetchPage, PageRefused, type RemoteList, type RemotePage } from "./fetch-page.ts";
import type { SourceEntry } from "./fields.ts";
import { IdSet } from "./id-set.ts";
import { toEntry } from "./ndjson.ts";
import type { RecordSource } from "./open-source.ts";
import { SourceError } from "./source-error.ts";

/** How the records of another server are read. */
export interface WalkOptions {
  list: RemoteList;
  /** Records of one page. */
  pageSize: number;
  ignoresUnknown: boolean;
  onWarning: (message: string) => void;
}

/** Ids that are kept to continue behind if the last record of a page was deleted. */
const KEPT_IDS = 256;

/**
 * The records of a list in the shape of the seed's API, each id once. Records that are in the list during the whole walk are
 * read, whatever is added, changed or deleted meanwhile, if the order of the others stays or changed ones move to the front.
 * Each entry's `line` is its number in this walk. Fails as `fetchPage`, and if the list can't be walked to its end.
 */
export function openWalk(options: WalkOptions): RecordSource {
  let read = 0;
  async function* entries(): AsyncGenerator<SourceEntry[]> {
    for await (const records of new Walk(options).pages()) {
      yield records.map((record) => {
        read += 1;
        return { ...toEntry(read, record, options.ignoresUnknown), id: shownId(record) };
      });
    }
  }
  return { size: undefined, read: () => read, entries: entries() };
}

const idOf = (record: unknown): string | undefined => {
  const id = (record as { id?: unknown } | null)?.id;
  return typeof id === "string" && id !== "" ? id : undefined;
};

/** The id for the report of bad records; undefined if it has another shape: it could be any value of the record. */
const shownId = (record: unknown): string | undefined => {
  const id = idOf(record);
  return id !== undefined && ID_SHAPE.test(id) ? id : undefined;
};

class Walk {
  readonly #options: WalkOptions;
  readonly #seen = new IdSet();
  #limit: number;
  /** The ids of the records that were read last, in their order: the next page is behind the last of them. */
  #last: string[] = [];
  /** Whether the server has no cursor, so that the list is read from its start with a larger limit each time. */
  #isGrowing = false;
  /** Whether the end has been reached, and the start is read again for what was moved there meanwhile. */
  #isChecking = false;
  /** Pages with records that were not known, and pages without since the last of them. */
  #newPages = 0;
  #oldPages = 0;

  constructor(options: WalkOptions) {
    this.#options = options;
    this.#limit = options.pageSize;
  }

  /** The records that are not known yet, of one page after another. */
  async *pages(): AsyncGenerator<unknown[]> {
    let pages = 0;
    for (;;) {
      const page = await this.#next();
      pages += 1;
      const found = page.records.filter((record) => this.#isNew(record));
      if (found.length > 0) yield found;
      this.#newPages += found.length > 0 ? 1 : 0;
      this.#oldPages = found.length > 0 ? 0 : this.#oldPages + 1;
      if (this.#isChecking && found.length === 0) return;
      if (!page.hasMore) {
        if (pages === 1 || this.#isChecking || this.#isGrowing) return;
        this.#isChecking = true;
        this.#last = [];
      } else if (this.#isGrowing || this.#oldPages > this.#newPages + 1) this.#grow(found.length);
      else this.#moveTo(page.records);
    }
  }

  #isNew(record: unknown): boolean {
    const isNew = this.#seen.add(idOf(record) ?? `without id ${JSON.stringify(record)}`);
    if (!this.#seen.isFull) return isNew;
    throw new SourceError(
      "the list has more than four million records: import parts of it, with filters in the URL",
    );
  }

  #moveTo(records: readonly unknown[]): void {
    const ids = records.flatMap((record) => idOf(record) ?? []);
    if (ids.length === 0)
      throw new SourceError("a page has no record with an id, behind which the next one would be");
    this.#last = [...this.#last, ...ids].slice(-KEPT_IDS);
  }

  /** Without progress by cursors, the list is read from its start, twice as much of it as before. */
  #grow(found: number): void {
    if (this.#isGrowing && found === 0) throw noFurther();
    this.#isGrowing = true;
    this.#last = [];
    this.#limit *= 2;
  }

  /** The page behind the last record. One that says that there are more, and has none, is read a second time. */
  async #next(): Promise<RemotePage> {
    const page = await this.#fetch();
    if (!page.hasMore || page.records.length > 0) return page;
    const again = await this.#fetch();
    if (!again.hasMore || again.records.length > 0) return again;
    this.#options.onWarning(
      "The server says that there are more records, and sends none: taking it for the end.",
    );
    return { hasMore: false, records: [] };
  }

  /** If the last record was deleted, the page behind one of those before it, and at last the first page. */
  async #fetch(): Promise<RemotePage> {
    const { list } = this.#options;
    for (let back = 1; ; back *= 2) {
      const after = this.#last.at(-back);
      try {
        return await fetchPage(list, { limit: this.#limit, after });
      } catch (error) {
        if (!(error instanceof PageRefused)) throw error;
        if (this.#isGrowing) throw noFurther();
        if (after === undefined) throw error;
      }
    }
  }
}

const noFurther = () =>
  new SourceError(
    "the server has more records, and knows neither starting_after nor a larger limit: import a file, or parts of the list, with filters in the URL",
  );
