import type { IncomingHttpHeaders } from "node:http";
import { hasScope, requireViewer } from "../auth/scopes.ts";
import type { OperationContext } from "../context.ts";
import type { FieldFault } from "../errors.ts";
import { parseTags, type Tags } from "./etag.ts";

/** The conditions of one request (RFC 9110, section 13). Dates are ignored, because no answer has a Last-Modified. */
export interface Conditions {
  /** The versions in `If-Match`; undefined without the header. */
  ifMatch: number[] | "any" | undefined;
  /** The versions of which `If-None-Match` lists the tag that this token gets. Undefined without the header. */
  ifNoneMatch: number[] | "any" | undefined;
  faults: FieldFault[];
}

interface ConditionalRequest {
  operationContext: OperationContext;
  headers: IncomingHttpHeaders;
}

/**
 * Reads the conditions. `If-Match` accepts the tags of the full and of the masked answer, because it is about the record.
 * `If-None-Match` is about this token's answer.
 */
export function readConditions({ headers, operationContext }: ConditionalRequest): Conditions {
  const isMasked = !hasScope(requireViewer(operationContext.viewer), "kyc:pii");
  const faults: FieldFault[] = [];
  const read = (name: "If-Match" | "If-None-Match"): Tags | undefined => {
    const header = headers[name.toLowerCase()];
    const tags = header === undefined ? undefined : parseTags(String(header));
    if (tags !== null) return tags;
    const message = 'must be * or a list of entity tags such as "1"';
    faults.push({ path: [name], kind: "invalid", message });
    return undefined;
  };
  const versionsOf = (tags: Tags | undefined, matches: (tag: { isMasked: boolean }) => boolean) =>
    typeof tags === "object" ? tags.filter(matches).map(({ version }) => version) : tags;
  return {
    ifMatch: versionsOf(read("If-Match"), () => true),
    ifNoneMatch: versionsOf(read("If-None-Match"), (tag) => tag.isMasked === isMasked),
    faults,
  };
}

/** The expected versions for an operation on a record. `*` adds nothing, because the operation needs the record anyway. */
export function toExpected({ ifMatch }: Conditions): { expectedVersion?: number[] } {
  return typeof ifMatch === "object" ? { expectedVersion: ifMatch } : {};
}

/** The same for a URL without a record: neither a tag nor `*` matches it. */
export function toExpectedOfNone({ ifMatch }: Conditions): { expectedVersion?: number[] } {
  return ifMatch === undefined ? {} : { expectedVersion: [] };
}

/** The versions at which an operation on a record must not be done. */
export function toUnwanted({ ifNoneMatch }: Conditions): { unwantedVersion?: number[] | "any" } {
  return ifNoneMatch === undefined ? {} : { unwantedVersion: ifNoneMatch };
}

/** Whether the client already has the answer of this version; undefined stands for an answer without a tag. */
export function isKnown({ ifNoneMatch }: Conditions, version: number | undefined): boolean {
  if (ifNoneMatch === "any") return true;
  return version !== undefined && (ifNoneMatch ?? []).includes(version);
}
