/** An answer with a masked document number is a different representation, so it needs a different tag. */
const MASKED = "-masked";

/** The entity tag of a record at this version. The masked answer has another tag than the full one. */
export function toEtag({ version, isMasked }: { version: number; isMasked: boolean }): string {
  return `"${version}${isMasked ? MASKED : ""}"`;
}

/** The meaning of a tag: the answer of one version, masked or not. */
interface Tag {
  /** 0 if the tag is not one of ours. No record has this version. */
  version: number;
  isMasked: boolean;
}

/** The tags in `If-Match` or `If-None-Match`; "any" for `*`. */
export type Tags = readonly Tag[] | "any";

// RFC 9110, section 5.6.1: an element may be empty.
const ELEMENT = /[ \t]*(?:(?:W\/)?"([^"]*)"[ \t]*)?(,|$)/y;

// A proxy that compresses answers adds the coding to their tags, and not every proxy removes it on the way back.
const OURS = new RegExp(
  `^([1-9]\\d{0,9})(${MASKED})?(?:[-;]{1,2}(?:x-)?(?:gzip|gunzip|br|zstd|deflate|compress))*$`,
  "i",
);

/**
 * The tags that an `If-Match` or `If-None-Match` header lists; null if it is not a list of tags. Weak tags, and tags that a
 * compressing proxy has extended, count as the original tags.
 */
export function parseTags(header: string): Tags | null {
  if (/^[ \t]*\*[ \t]*$/.test(header)) return "any";
  const tags: Tag[] = [];
  for (let at = 0; ; at = ELEMENT.lastIndex) {
    ELEMENT.lastIndex = at;
    const [, tag, end] = ELEMENT.exec(header) ?? [];
    if (end === undefined) return null;
    if (tag !== undefined) tags.push(toTag(tag));
    if (end === "") return tags;
  }
}

function toTag(text: string): Tag {
  const [, version = "0", masked] = OURS.exec(text) ?? [];
  return { version: Number(version), isMasked: masked !== undefined };
}
