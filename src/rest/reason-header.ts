import type { IncomingHttpHeaders } from "node:http";
import { headerText } from "../lib/header-text.ts";

/** The reason in the `Kyc-Reason` header, if there is one. */
export function readReason({ headers }: { headers: IncomingHttpHeaders }): { reason?: string } {
  const header = headers["kyc-reason"];
  return header === undefined ? {} : { reason: headerText(String(header)) };
}
