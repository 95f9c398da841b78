import type { DocumentType, VerificationStatus } from "../vocabulary.ts";

/** The kinds of values that a record has. */
interface Kinds {
  text: string;
  status: VerificationStatus;
  documentType: DocumentType;
  /** Personal data. It is stored encrypted, in columns of its own: see SealedNumber. */
  number: string;
  /** Epoch milliseconds. */
  time: number;
  integer: number;
}

interface FieldDefinition {
  kind: keyof Kinds;
  /** Whether a record may lack it. */
  nullable?: true;
  /** `always`: a client gives it, and can change it. `once`: a client gives it with a new record. `never`: the gateway does. */
  given: "always" | "once" | "never";
  /** Its name over REST, which keeps the fields that its clients know; null: GraphQL alone has it. */
  rest: string | null;
}

/** Every field of a record. What reads, writes or shows records is derived from this table, or does not compile without it. */
export const FIELDS = {
  id: { kind: "text", given: "never", rest: "id" },
  customerId: { kind: "text", given: "once", rest: "customer_id" },
  verificationStatus: { kind: "status", given: "always", rest: "verification_status" },
  documentType: { kind: "documentType", given: "always", rest: "document_type" },
  documentNumber: { kind: "number", given: "always", rest: "document_number" },
  createdAt: { kind: "time", given: "never", rest: "created_at" },
  updatedAt: { kind: "time", given: "never", rest: "updated_at" },
  version: { kind: "integer", given: "never", rest: null },
} as const satisfies Record<string, FieldDefinition>;

type Fields = typeof FIELDS;
export type FieldName = keyof Fields;
/** The names of the fields that a definition like this one has. */
type FieldsWith<Definition> = {
  [Name in FieldName]: Fields[Name] extends Definition ? Name : never;
}[FieldName];

/** Fields that are stored as they are: all but the document number. */
export type PlainName = Exclude<FieldName, FieldsWith<{ kind: "number" }>>;
export type ChangeableName = FieldsWith<{ given: "always" }>;
/** Fields of a new record that a client gives. */
export type GivenName = ChangeableName | FieldsWith<{ given: "once" }>;
/** What a client can change of the fields that are stored as they are. */
export type ChangeablePlainName = ChangeableName & PlainName;

export type ValueOf<Name extends FieldName> =
  | Kinds[Fields[Name]["kind"]]
  | (Fields[Name] extends { nullable: true } ? null : never);

type Definition = Fields[FieldName];
type Given = Definition["given"];
/** The names over REST of fields that clients give like this. */
export type RestName<How extends Given = Given> = Extract<Definition, { given: How; rest: string }>["rest"];
/** The field of this name over REST. */
export type FieldOfRest<Name extends RestName> = FieldsWith<{ rest: Name }>;

const NAMES = Object.keys(FIELDS) as FieldName[];
/** Whether this is a field that is stored as it is. */
export const isPlain = (name: string): name is PlainName =>
  name in FIELDS && FIELDS[name as FieldName].kind !== "number";

/** In the order of the table, as all of these lists. */
export const PLAIN: readonly PlainName[] = NAMES.filter(isPlain);
export const CHANGEABLE = NAMES.filter((name) => FIELDS[name].given === "always") as ChangeableName[];
export const CHANGEABLE_PLAIN = CHANGEABLE.filter(isPlain) as ChangeablePlainName[];

export function restNames<How extends Given>(how: How): RestName<How>[] {
  const names = NAMES.filter((name) => FIELDS[name].given === how).map((name) => FIELDS[name].rest);
  return names.filter((name) => name !== null) as RestName<How>[];
}

export type PlainValues = { readonly [Name in PlainName]: ValueOf<Name> };
type NullableName = PlainName & FieldsWith<{ nullable: true }>;
/** Values of which those that may be null may be absent, too: clients and earlier releases don't give them. */
type GivenValues = Omit<PlainValues, NullableName> & {
  readonly [Name in NullableName]?: ValueOf<Name> | undefined;
};

/** The values of a record that are stored as they are, copied. It is written out because every record that is read goes through it. */
export class RecordValues implements PlainValues {
  readonly id: string;
  readonly customerId: string;
  readonly verificationStatus: VerificationStatus;
  readonly documentType: DocumentType;
  readonly createdAt: number;
  readonly updatedAt: number;
  readonly version: number;

  constructor(from: GivenValues) {
    this.id = from.id;
    this.customerId = from.customerId;
    this.verificationStatus = from.verificationStatus;
    this.documentType = from.documentType;
    this.createdAt = from.createdAt;
    this.updatedAt = from.updatedAt;
    this.version = from.version;
  }
}
