import type { DocumentType, VerificationStatus } from "../vocabulary.ts";

/** The kinds of values that a record has. */
interface Kinds {
  text: string;
  status: VerificationStatus;
  documentType: DocumentType;
  /** Personal data. It is stored encrypted in separate columns: see SealedNumber. */
  number: string;
  /** Epoch milliseconds. */
  time: number;
  integer: number;
}

export type FieldKind = keyof Kinds;

interface FieldDefinition {
  kind: FieldKind;
  /** Whether a record can lack a value for it. */
  nullable?: true;
  /** `always`: clients set and change it. `once`: clients set it in a new record. `never`: the gateway sets it. */
  given: "always" | "once" | "never";
  /** Its name on REST; null if only GraphQL has it, because REST keeps the fields of the legacy API. */
  rest: string | null;
}

/** Every field of a record. Code that reads, writes or shows records is derived from this table, or checked against it by types. */
export const FIELDS = {
  id: { kind: "text", given: "never", rest: "id" },
  customerId: { kind: "text", given: "once", rest: "customer_id" },
  verificationStatus: { kind: "status", given: "always", rest: "verification_status" },
  documentType: { kind: "documentType", given: "always", rest: "document_type" },
  documentNumber: { kind: "number", given: "always", rest: "document_number" },
  createdAt: { kind: "time", given: "never", rest: "created_at" },
  updatedAt: { kind: "time", given: "never", rest: "updated_at" },
  statusSince: { kind: "time", given: "never", rest: null },
  expiresAt: { kind: "time", nullable: true, given: "always", rest: null },
  relationshipEndedAt: { kind: "time", nullable: true, given: "always", rest: null },
  version: { kind: "integer", given: "never", rest: null },
} as const satisfies Record<string, FieldDefinition>;

type Fields = typeof FIELDS;
export type FieldName = keyof Fields;
/** The names of the fields whose definitions match. */
type FieldsWith<Definition> = {
  [Name in FieldName]: Fields[Name] extends Definition ? Name : never;
}[FieldName];

/** Fields that are stored in plain columns: all except the document number. */
export type PlainName = Exclude<FieldName, FieldsWith<{ kind: "number" }>>;
export type ChangeableName = FieldsWith<{ given: "always" }>;
/** Fields that a client sets in a new record. */
export type GivenName = ChangeableName | FieldsWith<{ given: "once" }>;
/** Plain fields that a client can change. */
export type ChangeablePlainName = ChangeableName & PlainName;

export type ValueOf<Name extends FieldName> =
  | Kinds[Fields[Name]["kind"]]
  | (Fields[Name] extends { nullable: true } ? null : never);

type Definition = Fields[FieldName];
type Given = Definition["given"];
/** The REST names of the fields with this value of `given`. */
export type RestName<How extends Given = Given> = Extract<Definition, { given: How; rest: string }>["rest"];
/** The field with this REST name. */
export type FieldOfRest<Name extends RestName> = FieldsWith<{ rest: Name }>;

/** All lists here are in the order of the table. */
export const NAMES = Object.keys(FIELDS) as FieldName[];
/** Whether this is a plain field. */
export const isPlain = (name: string): name is PlainName =>
  name in FIELDS && FIELDS[name as FieldName].kind !== "number";

export const PLAIN: readonly PlainName[] = NAMES.filter(isPlain);
export const CHANGEABLE = NAMES.filter((name) => FIELDS[name].given === "always") as ChangeableName[];
export const CHANGEABLE_PLAIN = CHANGEABLE.filter(isPlain) as ChangeablePlainName[];

export function restNames<How extends Given>(how: How): RestName<How>[] {
  const names = NAMES.filter((name) => FIELDS[name].given === how).map((name) => FIELDS[name].rest);
  return names.filter((name) => name !== null) as RestName<How>[];
}

export type PlainValues = { readonly [Name in PlainName]: ValueOf<Name> };
type NullableName = PlainName & FieldsWith<{ nullable: true }>;
/** Plain values, of which the nullable ones can also be absent, because clients and earlier releases may omit them. */
type GivenValues = Omit<PlainValues, NullableName> & {
  readonly [Name in NullableName]?: ValueOf<Name> | undefined;
};

/** A copy of a record's plain values. It is written out rather than derived, because every record that is read passes through it. */
export class RecordValues implements PlainValues {
  readonly id: string;
  readonly customerId: string;
  readonly verificationStatus: VerificationStatus;
  readonly documentType: DocumentType;
  readonly createdAt: number;
  readonly updatedAt: number;
  readonly statusSince: number;
  readonly expiresAt: number | null;
  readonly relationshipEndedAt: number | null;
  readonly version: number;

  constructor(from: GivenValues) {
    this.id = from.id;
    this.customerId = from.customerId;
    this.verificationStatus = from.verificationStatus;
    this.documentType = from.documentType;
    this.createdAt = from.createdAt;
    this.updatedAt = from.updatedAt;
    this.statusSince = from.statusSince;
    this.expiresAt = from.expiresAt ?? null;
    this.relationshipEndedAt = from.relationshipEndedAt ?? null;
    this.version = from.version;
  }
}
