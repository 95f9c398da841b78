import type { FastifyRequest } from "fastify";

/** What the `Kyc-Reason` header says, where there is one: UTF-8, or Latin-1 where it can't be that. */
export function readReason({ headers }: FastifyRequest): { reason?: string } {
  const header = headers["kyc-reason"];
  if (header === undefined) return {};
  // Node takes each byte of a header for a character.
  const bytes = Buffer.from(String(header), "latin1");
  const text = bytes.toString();
  return { reason: text.includes("\uFFFD") ? String(header) : text };
}
