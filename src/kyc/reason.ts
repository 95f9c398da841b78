import { hasScope, type Viewer } from "../auth/scopes.ts";
import { badUserInput } from "../errors.ts";
import { MASK, maskNumber } from "./document-number.ts";

/**
 * The reason as the trail may have it: without the number that the request gives, and without the one that the record
 * has. Fails with BAD_USER_INPUT where it has one of them, however it is spaced, hyphenated or capitalised. For a
 * viewer who may not see the record's number all that could be it by its mask is masked instead: neither an answer nor
 * the trail tells whoever guesses whether the guess was right.
 */
export function toAuditReason(
  viewer: Viewer,
  reason: string | undefined,
  given: string | undefined,
  stored?: () => string,
): string | undefined {
  if (reason === undefined) return undefined;
  if (given !== undefined && !given.includes(MASK) && hasNumber(reason, given)) throw containsNumber();
  if (!stored) return reason;
  if (!hasScope(viewer, "kyc:pii")) return maskLookalikes(reason, maskNumber(stored()));
  if (hasNumber(reason, stored())) throw containsNumber();
  return reason;
}

function containsNumber() {
  return badUserInput([
    { path: ["reason"], kind: "invalid", message: "must not contain the document number" },
  ]);
}

/** A character with its marks: where it is in the text, and what it is compared as. */
interface Character {
  at: number;
  text: string;
  folded: string;
}

const LETTER_OR_DIGIT = /[\p{L}\p{N}]/u;
const ANYTHING = /./u;

/** The text's letters and digits, or all of it where what is looked for has none of them. */
function foldFor(wanted: string, text: string): Character[] {
  const compared = LETTER_OR_DIGIT.test(wanted) ? LETTER_OR_DIGIT : ANYTHING;
  return Array.from(text.matchAll(/\P{M}\p{M}*/gu), ({ 0: character, index }) => {
    const folded = [...character.normalize("NFKC").toLowerCase()].filter((part) => compared.test(part));
    return { at: index, text: character, folded: folded.join("") };
  }).filter(({ folded }) => folded !== "");
}

const joined = (characters: readonly Character[]) => characters.map(({ folded }) => folded).join("");

const hasNumber = (reason: string, number: string) =>
  joined(foldFor(number, reason)).includes(joined(foldFor(number, number)));

/**
 * The reason with as many characters masked before each occurrence of what the mask shows as the mask hides. It depends
 * on the mask alone. One that shows nothing has no lookalikes.
 */
function maskLookalikes(reason: string, mask: string): string {
  const shown = mask.replaceAll(MASK, "");
  const hidden = [...mask].length - [...shown].length;
  const tail = joined(foldFor(shown, shown));
  if (tail === "") return reason;
  const characters = foldFor(shown, reason);
  const text = joined(characters);
  const ownerOf = characters.flatMap(({ folded }, index) => Array<number>(folded.length).fill(index));
  const masked = new Set<Character>();
  for (let at = text.indexOf(tail); at >= 0; at = text.indexOf(tail, at + 1)) {
    const end = ownerOf[at] as number;
    for (const character of characters.slice(Math.max(0, end - hidden), end)) masked.add(character);
  }
  let result = "";
  let from = 0;
  for (const { at, text: character } of masked) {
    result += reason.slice(from, at) + MASK;
    from = at + character.length;
  }
  return result + reason.slice(from);
}
