import Table from "cli-table3";

/** Prints a message for people, on stderr. */
export const say = (line: string): void => {
  process.stderr.write(`${line}\n`);
};
/** Prints a result, on stdout. `printed` reports whether it could be written. */
export const print = (line: string): void => {
  process.stdout.write(`${line}\n`);
};

/** "1 event", "2 events". */
export const counted = (count: number, noun: string): string => `${count} ${noun}${count === 1 ? "" : "s"}`;

/** stdout can't be written, or its reader has closed it. */
export class OutputError extends Error {
  /** Whether its reader has closed it, as `head` does. */
  readonly isUnread: boolean;

  constructor(cause: NodeJS.ErrnoException) {
    super(`stdout can't be written: ${cause.message}`, { cause });
    this.isUnread = cause.code === "EPIPE";
  }
}

/** The first failure to write to stdout, because Node does not keep it. */
let failure: Error | undefined;

/** Must be called first: from then on, failures to write to stdout are kept for `printed`, and those of stderr ignored. */
export function keepOutputFailures(): void {
  process.stdout.on("error", (error) => {
    failure ??= error;
  });
  // A failure of stderr can't be reported anywhere.
  process.stderr.on("error", () => {});
}

/** Prints a text as it is, and resolves when it is written. Fails with an OutputError if it can't be. */
export function printAndWait(text: string): Promise<void> {
  process.stdout.write(text);
  return printed();
}

/** Resolves when everything that was printed is written. Fails with an OutputError if it can't be. */
export function printed(): Promise<void> {
  return new Promise((resolve, reject) => {
    process.stdout.write("", (error) => {
      const fault = failure ?? process.stdout.errored ?? error;
      if (fault) reject(new OutputError(fault));
      else resolve();
    });
  });
}

/** A cell of a table. On a terminal, a list has one line for each item, and a time is shown as a day. */
type Cell = string | readonly string[] | Date;

export const isOnTerminal = (): boolean => process.stdout.isTTY;

/** The day of a time, for people. */
export const toDay = (time: Date): string => time.toISOString().slice(0, 10);

/**
 * Prints a table: with borders on a terminal, otherwise one line for each row with tabs between columns, for cut and awk.
 * `widths` fixes the widths of columns on a terminal.
 */
export function printTable(
  head: readonly string[],
  rows: readonly Cell[][],
  widths: (number | null)[] = [],
): void {
  if (!isOnTerminal()) {
    const text = (cell: Cell) => (cell instanceof Date ? cell.toISOString() : [cell].flat().join(" "));
    for (const row of [head, ...rows]) print(row.map(text).join("\t"));
    return;
  }
  const table = new Table({
    head: head.map((title) => title.replaceAll(" ", "\n")),
    colWidths: widths,
    wordWrap: true,
    wrapOnWordBoundary: false,
    style: { head: [], border: [] },
  });
  const text = (cell: Cell) => (cell instanceof Date ? toDay(cell) : [cell].flat().join("\n"));
  table.push(...rows.map((row) => row.map(text)));
  print(table.toString());
}
