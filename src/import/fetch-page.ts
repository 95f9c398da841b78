import { setTimeout as wait } from "node:timers/promises";
import { SourceError } from "./source-error.ts";

/** The list of records of another server, and how it is asked. */
export interface RemoteList {
  /** Its address: https, or http on a loopback host. */
  url: URL;
  /** Sent as a bearer token, to the origin of the URL only. */
  token: string;
  /** Called before a pause of a second or more, with the reason. */
  onWait: (reason: string, seconds: number) => void;
  /** Milliseconds. */
  limits?: Partial<typeof LIMITS>;
}

/** A page in the shape of the seed's API. */
export interface RemotePage {
  hasMore: boolean;
  records: unknown[];
}

/** Which page is asked for. */
export interface PageQuery {
  limit: number;
  /** The id of the record before the page; undefined: the first page. */
  after: string | undefined;
}

const LIMITS = {
  /** For a whole page. */
  pageMs: 60_000,
  /** Without a byte of the answer. */
  idleMs: 20_000,
  /** Before the second try. It doubles with each try. */
  pauseMs: 250,
};

/** Including the first. */
const TRIES = 8;
/** The longest pause that a server can ask for. */
const LONGEST_WAIT_MS = 600_000;
/** Bytes of a page, after decompression. */
const LARGEST_PAGE_BYTES = 16 * 2 ** 20;
const MOST_REDIRECTS = 5;
const REDIRECTS: readonly number[] = [301, 302, 303, 307, 308];
const TRANSIENT: readonly number[] = [408, 425, 429];
const OF_TOKEN: readonly number[] = [401, 403];

/** The server does not accept the request, and would not if it were repeated. */
export class PageRefused extends SourceError {
  readonly status: number;

  constructor(status: number) {
    super(`the server answered ${status}. Is the URL that of a list of records?`);
    this.status = status;
  }
}

/** A failure that can pass. */
class PassingFailure extends Error {
  /** How long the server asks to wait. Milliseconds. */
  readonly retryAfter: number;

  constructor(message: string, retryAfter = 0) {
    super(message);
    this.retryAfter = retryAfter;
  }
}

/**
 * A page of the list. A failure that can pass is tried again, as late as the server asks for. Fails with a PageRefused, and
 * with a SourceError if the token is refused, the failures don't pass, or the page is too large. No message contains anything
 * that the server has sent.
 */
export async function fetchPage(list: RemoteList, query: PageQuery): Promise<RemotePage> {
  const { pauseMs } = { ...LIMITS, ...list.limits };
  for (let tries = 1; ; tries++) {
    try {
      return await tryPage(list, query);
    } catch (error) {
      if (!(error instanceof PassingFailure)) throw error;
      const { message, retryAfter } = error;
      if (tries === TRIES) throw new SourceError(`the server ${message}, at ${TRIES} tries`);
      if (retryAfter > LONGEST_WAIT_MS) {
        throw new SourceError(
          `the server ${message} and asks to wait ${Math.ceil(retryAfter / 1000)} s: repeat the import then`,
        );
      }
      const pause = Math.max(retryAfter, pauseMs * 2 ** (tries - 1) * (0.75 + Math.random() / 4));
      if (pause >= 1000) list.onWait(`the server ${message}`, Math.ceil(pause / 1000));
      await wait(pause);
    }
  }
}

async function tryPage(list: RemoteList, { limit, after }: PageQuery): Promise<RemotePage> {
  const url = new URL(list.url);
  url.searchParams.set("limit", String(limit));
  if (after !== undefined) url.searchParams.set("starting_after", after);
  const { pageMs, idleMs } = { ...LIMITS, ...list.limits };
  const idle = new AbortController();
  const timer = setTimeout(() => idle.abort(), idleMs);
  const signal = AbortSignal.any([idle.signal, AbortSignal.timeout(pageMs)]);
  try {
    const response = await followRedirects(list, url, signal);
    timer.refresh();
    const { ok, status, headers } = response;
    if (!ok) {
      await response.body?.cancel();
      throw toFailure(status, headers);
    }
    const text = await readText(response, () => timer.refresh());
    return readPage(text, headers.get("content-type"));
  } catch (error) {
    if (error instanceof SourceError || error instanceof PassingFailure) throw error;
    if (signal.aborted) {
      const seconds = (idle.signal.aborted ? idleMs : pageMs) / 1000;
      throw new PassingFailure(
        `sent no ${idle.signal.aborted ? "byte" : "complete page"} within ${seconds} s`,
      );
    }
    throw describeConnection(error);
  } finally {
    clearTimeout(timer);
  }
}

/** The answer to the request. A redirect to another origin is refused, because the token would be sent there. */
async function followRedirects({ url: start, token }: RemoteList, first: URL, signal: AbortSignal) {
  let url = first;
  for (let redirects = 0; redirects <= MOST_REDIRECTS; redirects++) {
    const headers = { authorization: `Bearer ${token}`, accept: "application/json" };
    const response = await fetch(url, { headers, redirect: "manual", signal });
    if (!REDIRECTS.includes(response.status)) return response;
    await response.body?.cancel();
    const location = response.headers.get("location") ?? "";
    if (!URL.canParse(location, url.href)) throw new SourceError("the server redirects to no valid URL");
    url = new URL(location, url);
    if (url.origin !== start.origin) {
      throw new SourceError(
        "the server redirects to another origin, which would get the token: give its URL",
      );
    }
  }
  throw new SourceError(`the server redirects more than ${MOST_REDIRECTS} times`);
}

function toFailure(status: number, headers: Headers): Error {
  if (TRANSIENT.includes(status) || status >= 500)
    return new PassingFailure(`answered ${status}`, readRetryAfter(headers));
  if (OF_TOKEN.includes(status))
    return new SourceError(`the server refuses the token, or what it may do (${status})`);
  return new PageRefused(status);
}

/** Milliseconds; 0 if the answer does not say it. A date is compared with the server's own clock. */
function readRetryAfter(headers: Headers): number {
  const value = headers.get("retry-after")?.trim() ?? "";
  if (/^\d{1,9}$/.test(value)) return 1000 * Number(value);
  const now = Date.parse(headers.get("date") ?? "");
  const millis = Date.parse(value) - (Number.isNaN(now) ? Date.now() : now);
  return Number.isNaN(millis) ? 0 : Math.max(0, millis);
}

async function readText(response: Response, onChunk: () => void): Promise<string> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  // Ending the loop early closes the connection.
  for await (const chunk of response.body ?? []) {
    onChunk();
    bytes += chunk.length;
    if (bytes > LARGEST_PAGE_BYTES) {
      throw new SourceError(
        `a page has more than ${LARGEST_PAGE_BYTES / 2 ** 20} MiB: use a smaller --page-size`,
      );
    }
    chunks.push(chunk);
  }
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(Buffer.concat(chunks));
  } catch {
    throw new PassingFailure("sent text that is not UTF-8");
  }
}

/** What proxies and servers in trouble send instead of a page can pass. */
function readPage(text: string, type: string | null): RemotePage {
  let body: unknown;
  try {
    body = JSON.parse(text);
  } catch {
    const isJson = /[/+]json\b/i.test(type ?? "");
    throw new PassingFailure(isJson ? "sent no valid JSON" : "sent something else than JSON");
  }
  const { has_more: hasMore, data } = (body ?? {}) as { has_more?: unknown; data?: unknown };
  if (typeof hasMore !== "boolean" || !Array.isArray(data)) {
    throw new PassingFailure('sent JSON that is no page: {"has_more": …, "data": […]}');
  }
  return { hasMore, records: data };
}

const IN_WORDS: Record<string, string> = {
  ECONNREFUSED: "refuses the connection",
  ECONNRESET: "closed the connection",
  EPIPE: "closed the connection",
  UND_ERR_SOCKET: "closed the connection",
  ENOTFOUND: "has a name that can't be resolved",
  EAI_AGAIN: "has a name that can't be resolved now",
  ETIMEDOUT: "can't be reached",
  UND_ERR_CONNECT_TIMEOUT: "can't be reached",
  EHOSTUNREACH: "can't be reached",
  ENETUNREACH: "can't be reached",
  UND_ERR_HEADERS_OVERFLOW: "sent too many headers",
};
const OF_CERTIFICATES = /^(CERT_|ERR_TLS|ERR_SSL|DEPTH_ZERO|SELF_SIGNED|UNABLE_TO|EPROTO|HOSTNAME_MISMATCH)/;

/** The failure of a connection in words. Those of certificates don't pass. */
function describeConnection(error: unknown): Error {
  const { code = "", errors } = ((error as Error).cause ?? error) as NodeJS.ErrnoException & {
    errors?: NodeJS.ErrnoException[];
  };
  const known = code || (errors?.[0]?.code ?? "");
  if (OF_CERTIFICATES.test(known)) {
    return new SourceError(
      `the server has no certificate that can be verified (${known}). NODE_EXTRA_CA_CERTS names the certificates of your own authority`,
    );
  }
  return new PassingFailure(IN_WORDS[known] ?? "sent no complete answer of HTTP");
}
