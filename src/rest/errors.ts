import { type AppError, type ErrorCode, type FieldFault, RequestRefusal } from "../errors.ts";

/** The wire shape of every failure. */
export interface ErrorBody {
  error: { type: string; code: string; message: string; param?: string; current_version?: number };
}

const TYPES: Record<ErrorCode, string> = {
  UNAUTHENTICATED: "authentication_error",
  FORBIDDEN: "permission_error",
  BAD_USER_INPUT: "invalid_request_error",
  NOT_FOUND: "invalid_request_error",
  VERSION_CONFLICT: "conflict_error",
  IDEMPOTENCY_MISMATCH: "idempotency_error",
  IDEMPOTENCY_IN_PROGRESS: "idempotency_error",
  LEGAL_HOLD: "conflict_error",
  RETENTION: "conflict_error",
  QUERY_TOO_COMPLEX: "invalid_request_error",
  RATE_LIMITED: "rate_limit_error",
  UNAVAILABLE: "api_error",
  INTERNAL: "api_error",
};

/** REST codes that are not the lower-case code of the catalogue. */
const USUAL_CODES: Partial<Record<ErrorCode, string>> = {
  NOT_FOUND: "resource_missing",
  LEGAL_HOLD: "resource_held",
  RETENTION: "resource_retained",
};

/** REST names of input fields, if they differ. */
const WIRE_NAMES: Record<string, string> = {
  customerId: "customer_id",
  verificationStatus: "verification_status",
  documentType: "document_type",
  documentNumber: "document_number",
  "filter.customerId": "customer_id",
  "filter.verificationStatus": "verification_status",
  "filter.documentType": "document_type",
  "filter.documentNumber": "document_number",
  "filter.kycId": "kyc_id",
  "filter.tokenId": "token_id",
  "filter.actor": "actor",
  "filter.statusAfter": "status_after",
  first: "limit",
  last: "limit",
  after: "starting_after",
  before: "ending_before",
  "events.after": "after",
  reason: "Kyc-Reason",
};

/** The body of a failure. */
export function renderFailure(failure: AppError | RequestRefusal): ErrorBody {
  if (failure instanceof RequestRefusal) {
    return { error: { type: "invalid_request_error", code: failure.code, message: failure.message } };
  }
  const { code, message, currentVersion, detail } = failure;
  const type = TYPES[code];
  const faults = onePerField(failure.faults);
  const [first] = faults;
  if (first) {
    const said = faults.map((fault) => `${wireName(fault)} ${fault.message}`).join("; ");
    return { error: { type, code: `parameter_${first.kind}`, message: said, param: wireName(first) } };
  }
  const usual = USUAL_CODES[code] ?? code.toLowerCase();
  return {
    error: {
      type,
      code: detail ?? usual,
      message,
      ...(currentVersion !== undefined && { current_version: currentVersion }),
    },
  };
}

/** Keeps one fault for each field. Faults that this surface found take precedence. */
function onePerField(faults: readonly FieldFault[]): FieldFault[] {
  const byName = new Map<string, FieldFault>();
  for (const fault of faults) if (!byName.has(wireName(fault))) byName.set(wireName(fault), fault);
  return [...byName.values()];
}

function wireName({ path, kind }: FieldFault): string {
  const name = path.join(".");
  // An unknown parameter keeps its sender's name.
  return kind === "unknown" ? name : toWireName(name);
}

/** The REST name of an input field. */
export function toWireName(field: string): string {
  return WIRE_NAMES[field] ?? field;
}
