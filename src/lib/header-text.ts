import type { IncomingHttpHeaders } from "node:http";

const ASCII = /^[\x20-\x7e]*$/;

/** The text of a header. Node takes each byte for a character: they are UTF-8 where they can be, else Latin-1. */
export function headerText(header: string): string {
  if (ASCII.test(header)) return header;
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(Buffer.from(header, "latin1"));
  } catch {
    return header;
  }
}

/**
 * Whether the client's own connection is encrypted, as a proxy says: each proxy adds its own word at the end of the list.
 */
export const cameOverTls = (headers: IncomingHttpHeaders): boolean =>
  /^\s*https\s*(,|$)/i.test(String(headers["x-forwarded-proto"] ?? ""));
