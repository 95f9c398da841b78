import { describeFailure, type Resealing, type Unreadable } from "./place.ts";

/** How to go through the texts of one kind. `To` is what replaces a stored text. */
interface Texts<Stored, To> {
  /** All of them, in steps. */
  steps(): AsyncIterable<readonly Stored[]>;
  nameOf(stored: Stored): Omit<Unreadable, "why">;
  /** Opens one, which fails if it can't be opened, and returns its replacement; undefined: it stays as it is. */
  renew(stored: Stored): To | undefined;
  /** Writes replacements, each unless the text has changed since it was read; returns how many it wrote. */
  replace(replacements: { from: Stored; to: To }[]): Promise<number>;
  /** Gets the number of texts seen since the call before. */
  onStep?: ((seen: number) => void) | undefined;
}

/** Goes once through all texts, opens each, and replaces those that are renewed. */
export async function resealTexts<Stored, To>(texts: Texts<Stored, To>): Promise<Resealing> {
  const total: Resealing = { resealed: 0, unreadable: [] };
  for await (const some of texts.steps()) {
    const replacements: { from: Stored; to: To }[] = [];
    for (const from of some) {
      try {
        const to = texts.renew(from);
        if (to !== undefined) replacements.push({ from, to });
      } catch (error) {
        total.unreadable.push({ ...texts.nameOf(from), why: describeFailure(error) });
      }
    }
    if (replacements.length > 0) total.resealed += await texts.replace(replacements);
    texts.onStep?.(some.length);
  }
  return total;
}
