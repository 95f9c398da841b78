import { hasScope, type Viewer } from "../auth/scopes.ts";
import { badUserInput } from "../errors.ts";
import { MASK, maskNumber } from "./number/document-number.ts";

/**
 * The reason for the audit trail. It must contain neither the number in the request nor the record's number, regardless of
 * spaces, hyphens and case; a short number counts only as whole words, because many texts contain it by chance. Otherwise
 * this fails with BAD_USER_INPUT. If it contains the record's number, `onStored` is called first, because the error
 * confirms the number. For a viewer without access to the number, everything that matches its mask is masked instead, so
 * that neither an answer nor the trail reveals whether a guess was right.
 */
export function toAuditReason(
  viewer: Viewer,
  reason: string | undefined,
  given: string | undefined,
  stored?: () => string,
  onStored: () => void = () => {},
): string | undefined {
  if (reason === undefined) return undefined;
  if (given !== undefined && !given.includes(MASK) && hasNumber(reason, given)) throw containsNumber();
  if (!stored) return reason;
  if (!hasScope(viewer, "kyc:pii")) return maskLookalikes(reason, maskNumber(stored()));
  if (hasNumber(reason, stored())) {
    onStored();
    throw containsNumber();
  }
  return reason;
}

function containsNumber() {
  return badUserInput([
    { path: ["reason"], kind: "invalid", message: "must not contain the document number" },
  ]);
}

/** A character with its combining marks, its index in the text, and its form for comparison. */
interface Character {
  at: number;
  text: string;
  folded: string;
}

/** Many texts contain fewer characters than this by chance, so shorter numbers are matched only as whole words. */
const LONG = 6;
/** Matches what words consist of: a sign or a space ends a word. */
export const LETTER_OR_DIGIT = /[\p{L}\p{N}]/u;
const ANYTHING = /./u;

/** The same text for every way to write the same characters. */
export const foldText = (text: string): string => text.normalize("NFKC").toLowerCase();

/** The letters and digits of the text, or all of it if the number consists only of signs. */
function foldFor(wanted: string, text: string): Character[] {
  const compared = wanted === "" || LETTER_OR_DIGIT.test(wanted) ? LETTER_OR_DIGIT : ANYTHING;
  return Array.from(text.matchAll(/\P{M}\p{M}*/gu), ({ 0: character, index }) => {
    const folded = [...foldText(character)].filter((part) => compared.test(part));
    return { at: index, text: character, folded: folded.join("") };
  }).filter(({ folded }) => folded !== "");
}

const joined = (characters: readonly Character[]) => characters.map(({ folded }) => folded).join("");

function hasNumber(reason: string, number: string): boolean {
  const wanted = joined(foldFor(number, number));
  const characters = foldFor(number, reason);
  if ([...wanted].length >= LONG) return joined(characters).includes(wanted);
  return wordEdges(characters).some((end) => {
    const start = findStart(characters, end, wanted);
    return start !== undefined && isWordEdge(characters, start);
  });
}

/** Whether a word can begin or end before the character at this index. */
function isWordEdge(characters: readonly Character[], index: number): boolean {
  const [before, after] = [characters[index - 1], characters[index]];
  if (!before || !after || before.at + before.text.length < after.at) return true;
  return !LETTER_OR_DIGIT.test(before.text) || !LETTER_OR_DIGIT.test(after.text);
}

function wordEdges(characters: readonly Character[]): number[] {
  return Array.from({ length: characters.length + 1 }, (_, index) => index).filter((index) =>
    isWordEdge(characters, index),
  );
}

/** The start of the characters that end before `end` and spell the folded text; undefined if there are none. */
function findStart(characters: readonly Character[], end: number, folded: string): number | undefined {
  let start = end;
  for (let rest = folded; rest !== ""; ) {
    const character = characters[--start];
    if (!character || !rest.endsWith(character.folded)) return undefined;
    rest = rest.slice(0, rest.length - character.folded.length);
  }
  return start;
}

/**
 * Masks everything in the reason that could be the hidden part of the number, wherever the visible part of the mask follows.
 * The result depends only on the mask.
 */
function maskLookalikes(reason: string, mask: string): string {
  const shown = mask.replaceAll(MASK, "");
  const hidden = [...mask].length - [...shown].length;
  const tail = joined(foldFor(shown, shown));
  const characters = foldFor(shown, reason);
  const find = [...mask].length < LONG ? findInWords : findAnywhere;
  let result = "";
  let from = 0;
  for (const index of [...find(characters, tail, hidden)].sort((a, b) => a - b)) {
    const { at, text } = characters[index] as Character;
    result += reason.slice(from, at) + MASK;
    from = at + text.length;
  }
  return result + reason.slice(from);
}

/** The characters before each tail, as many as are hidden. */
function findAnywhere(characters: readonly Character[], tail: string, hidden: number): Set<number> {
  const found = new Set<number>();
  if (tail === "") return found;
  const text = joined(characters);
  const ownerOf = characters.flatMap(({ folded }, index) => Array<number>(folded.length).fill(index));
  for (let at = text.indexOf(tail); at >= 0; at = text.indexOf(tail, at + 1)) {
    const end = ownerOf[at] as number;
    for (let index = Math.max(0, end - hidden); index < end; index++) found.add(index);
  }
  return found;
}

/** The same if they and the tail are whole words. The hidden part can contain signs, so there can be fewer characters. */
function findInWords(characters: readonly Character[], tail: string, hidden: number): Set<number> {
  const found = new Set<number>();
  for (const wordEnd of wordEdges(characters)) {
    const end = findStart(characters, wordEnd, tail);
    if (end === undefined) continue;
    let start = Math.max(0, end - hidden);
    while (start < end && !isWordEdge(characters, start)) start += 1;
    for (let index = start; index < end; index++) found.add(index);
  }
  return found;
}
