import Table from "cli-table3";

/** Words are for people, on stderr. */
export const say = (line: string): void => {
  process.stderr.write(`${line}\n`);
};
/** Results are for programs too, on stdout. Whether they get there, `printed` says. */
export const print = (line: string): void => {
  process.stdout.write(`${line}\n`);
};

/** Nobody reads stdout any more, or it can't be written. */
export class OutputError extends Error {
  /** Whether its reader has left, as `head` does when it has seen enough. */
  readonly isUnread: boolean;

  constructor(cause: NodeJS.ErrnoException) {
    super(`stdout can't be written: ${cause.message}`, { cause });
    this.isUnread = cause.code === "EPIPE";
  }
}

/** Resolves when the operating system has taken everything that was printed; fails with an OutputError if it has not. */
export function printed(): Promise<void> {
  return new Promise((resolve, reject) => {
    process.stdout.write("", (error) => {
      const fault = process.stdout.errored ?? error;
      if (fault) reject(new OutputError(fault));
      else resolve();
    });
  });
}

/** What is in a table: on a terminal a list has a line for each of its words, and of a time there is the day. */
type Cell = string | readonly string[] | Date;

export const isOnTerminal = (): boolean => process.stdout.isTTY;

/** The day of a time, for people. */
export const toDay = (time: Date): string => time.toISOString().slice(0, 10);

/**
 * With borders on a terminal; elsewhere a line for each row and a tab between columns, as cut and awk read them.
 * `widths` are those of columns on a terminal that must not grow with what is in them.
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
