const TAG = /(?:W\/)?"([^"]*)"/g;
const TAG_LIST = /^\s*(?:W\/)?"[^"]*"\s*(?:,\s*(?:W\/)?"[^"]*"\s*)*$/;

/** The entity tag of a record at this version. */
export function toEtag(version: number): string {
  return `"${version}"`;
}

/**
 * The versions that an `If-Match` or `If-None-Match` header lists, "any" for `*`, null where it is no list of tags.
 * Tags that a proxy has made weak count as they are; a tag that is not ours is a version that no record has.
 */
export function parseEtags(header: string): number[] | "any" | null {
  if (header.trim() === "*") return "any";
  if (!TAG_LIST.test(header)) return null;
  return [...header.matchAll(TAG)].map(([, tag]) => (/^[1-9]\d{0,9}$/.test(tag ?? "") ? Number(tag) : 0));
}
