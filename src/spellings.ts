import {
  AUDIT_ACTIONS,
  type AuditAction,
  DOCUMENT_TYPES,
  type DocumentType,
  VERIFICATION_STATUSES,
  type VerificationStatus,
} from "./vocabulary.ts";

/** The words of a list, each with all spellings that requests may use. */
export interface Words<Word extends string> {
  /** A pattern, without flags, of all accepted spellings. */
  pattern: string;
  spellings: readonly { word: Word; accepts: RegExp }[];
}

/** Spellings of other providers. The apostrophe can be omitted, straight or curly. */
type OtherSpellings<Word extends string> = Partial<Record<Word, readonly string[]>>;

const OTHER_DOCUMENT_TYPES: OtherSpellings<DocumentType> = {
  drivers_license: ["driver's_license", "driver_license", "driving_license", "driving_licence"],
  id_card: ["national_id", "national_identity_card", "identity_card"],
};

/** The same spellings, each in one form. */
export const OTHER_SPELLINGS: readonly string[] = Object.values(OTHER_DOCUMENT_TYPES)
  .flat()
  .map((spelling) => (spelling.includes("'") ? spelling.replace("_", " ") : spelling));

export const STATUS_WORDS = describeWords<VerificationStatus>(VERIFICATION_STATUSES, {});
export const DOCUMENT_TYPE_WORDS = describeWords<DocumentType>(DOCUMENT_TYPES, OTHER_DOCUMENT_TYPES);

export const ACTION_WORDS = describeWords<AuditAction>(AUDIT_ACTIONS, {});

function describeWords<Word extends string>(
  words: readonly Word[],
  others: OtherSpellings<Word>,
): Words<Word> {
  const all = words.map((word) => ({
    word,
    pattern: [word, ...(others[word] ?? [])].map(toPattern).join("|"),
  }));
  return {
    pattern: anchored(all.map(({ pattern }) => pattern).join("|")),
    spellings: all.map(({ word, pattern }) => ({ word, accepts: new RegExp(anchored(pattern)) })),
  };
}

function anchored(pattern: string): string {
  return `^ *(?:${pattern}) *$`;
}

/** Any case, with spaces, hyphens or underscores between the parts. JSON Schema has no flag for case. */
function toPattern(spelling: string): string {
  return spelling.replace(/[a-z]|_|'/g, (sign) => {
    if (sign === "_") return "[ _-]+";
    return sign === "'" ? "['‘’]?" : `[${sign.toUpperCase()}${sign}]`;
  });
}

/** The word for a spelling; the value itself if it is not one. */
export function toWord<Word extends string>({ spellings }: Words<Word>, value: unknown): Word {
  if (typeof value !== "string") return value as Word;
  return spellings.find(({ accepts }) => accepts.test(value))?.word ?? (value as Word);
}
