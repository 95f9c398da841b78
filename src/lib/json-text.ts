/** A list of unknown length, a page at a time. */
export type Pages = AsyncIterable<readonly unknown[]>;

/**
 * The text of one JSON object: the members of `head`, then each list under its name, then the members that `end` returns once
 * it gets the length of each list. A page is read when the text before it was consumed, so the memory does not depend on the
 * lengths. Each item is one line. A text that was cut is not JSON.
 */
export async function* toJsonText<Name extends string>(
  head: object,
  lists: Readonly<Record<Name, Pages>>,
  end: (counts: Record<Name, number>) => object,
): AsyncGenerator<string> {
  const counts: Partial<Record<Name, number>> = {};
  yield membersOf(head);
  for (const name of Object.keys(lists) as Name[]) {
    let count = 0;
    yield `${JSON.stringify(name)}:[`;
    for await (const page of lists[name]) {
      const lines = page.map((item, index) => `${count + index > 0 ? "," : ""}\n${JSON.stringify(item)}`);
      count += page.length;
      if (lines.length > 0) yield lines.join("");
    }
    yield "\n],\n";
    counts[name] = count;
  }
  yield `${JSON.stringify(end(counts as Record<Name, number>)).slice(1)}\n`;
}

/** The beginning of an object with these members, after which another one must follow. */
function membersOf(head: object): string {
  return `${JSON.stringify(head).slice(0, -1)},\n`;
}
