import type { IncomingHttpHeaders } from "node:http";

const ASCII = /^[\x20-\x7e]*$/;

/** The text of a header. Node decodes headers as Latin-1; if the bytes are valid UTF-8, this decodes them as UTF-8. */
export function headerText(header: string): string {
  if (ASCII.test(header)) return header;
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(Buffer.from(header, "latin1"));
  } catch {
    return header;
  }
}

/** Whether the connection to the last proxy is encrypted, according to `X-Forwarded-Proto`. */
export const usedTls = (headers: IncomingHttpHeaders): boolean =>
  /^\s*https\s*(,|$)/i.test(String(headers["x-forwarded-proto"] ?? ""));
