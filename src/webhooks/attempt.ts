import type { LookupAddress, LookupOptions } from "node:dns";
import { lookup as systemLookup } from "node:dns";
import { type ClientRequest, type IncomingMessage, request as requestHttp } from "node:http";
import { request as requestHttps } from "node:https";
import { isIP } from "node:net";
import { RequestFilteringHttpAgent, RequestFilteringHttpsAgent } from "request-filtering-agent";
import type { AddressPolicy } from "./addresses.ts";
import { hasWebPort, hostOf } from "./url.ts";

/** Resolves a name, as `dns.lookup` does for all addresses. */
export type Lookup = (
  hostname: string,
  options: LookupOptions,
  callback: (error: NodeJS.ErrnoException | null, addresses: LookupAddress[]) => void,
) => void;

/** One request to a receiver. */
interface Attempt {
  /** Accounts take turns to look names up. */
  account: string;
  url: string;
  headers: Record<string, string>;
  body: string;
  policy: AddressPolicy;
  /** For all of it, from the look-up of the name on. Milliseconds. */
  timeoutMs: number;
  /** Gives the attempt up. */
  signal: AbortSignal;
  lookup?: Lookup | undefined;
  /** Certificates of authorities besides the system's. */
  ca?: string | undefined;
}

/** How an attempt ended. `result` is in words of our own: nothing of an answer is in it. */
export interface AttemptOutcome {
  /** Null: there was no answer. */
  status: number | null;
  /** From the header `Retry-After`; null: there was none. Milliseconds. */
  retryAfterMs: number | null;
  result: string;
}

/** Bytes of an answer that are read, so that receivers that send little see no broken connection. */
const MOST_BYTES = 4096;
/** How long they are waited for after the headers. Milliseconds. */
const BODY_MS = 1000;
const MOST_HEADER_BYTES = 8192;
/** Answers with 1xx before the answer. */
const MOST_INFORMED = 10;
/** Look-ups of all accounts at once: each takes one of the four threads that everything in the process shares. */
const MOST_LOOKUPS = 2;

/** The receiver's address is not one that webhooks may be sent to. */
class RefusedAddress extends Error {}

/**
 * Sends one request and resolves with its outcome; never fails. Redirects are not followed, the environment's proxies are
 * not used, each attempt has a connection and a look-up of its own, and no connection is made to an address that the
 * policy does not allow, whatever the name was resolved to before.
 */
export function attempt(work: Attempt): Promise<AttemptOutcome> {
  return new Promise((resolve) => {
    let request: ClientRequest | undefined;
    let isOver = false;
    const end = (outcome: AttemptOutcome) => {
      isOver = true;
      clearTimeout(timer);
      work.signal.removeEventListener("abort", onAbort);
      resolve(outcome);
    };
    const stop = (result: string) => {
      end({ status: null, retryAfterMs: null, result });
      request?.destroy();
    };
    const onAbort = () => stop("was given up as the gateway stopped");
    const timer = setTimeout(() => stop(`got no answer within ${work.timeoutMs / 1000} s`), work.timeoutMs);
    work.signal.addEventListener("abort", onAbort);
    try {
      request = send(work, () => isOver);
    } catch (error) {
      stop(describe(error));
      return;
    }
    // Also after the end: a request that is cut off may still report an error.
    request.on("error", (error) => stop(describe(error)));
    // Without an error, as after an answer that switches protocols.
    request.on("close", () => stop("closed the connection without an answer"));
    let informed = 0;
    request.on("information", () => {
      informed += 1;
      if (informed > MOST_INFORMED) stop("gave no valid answer of HTTP");
    });
    request.on("response", (response) => {
      const status = response.statusCode ?? 0;
      end({ status, retryAfterMs: readRetryAfter(response), result: `answered ${status}` });
      takeLittle(response);
    });
    request.end(work.body);
  });
}

function send(
  { account, url: text, headers, body, policy, lookup = systemLookup as Lookup, ca }: Attempt,
  isOver: () => boolean,
): ClientRequest {
  const url = new URL(text);
  const isPlain = url.protocol === "http:";
  // The agent looks at each address itself. It lets pass those in this list, which has what the operator allows.
  const allowed: string[] = [];
  const judge = (address: string) => {
    const isAllowed = policy.isAllowed(address);
    if (isAllowed) allowed.push(address);
    // Without TLS, and on ports of other protocols, only to networks that the operator trusts.
    return isAllowed || (!isPlain && hasWebPort(url) && policy.isPublic(address));
  };
  const host = hostOf(url);
  if (isIP(host) > 0 && !judge(host)) throw new RefusedAddress();
  const options = { keepAlive: false, allowIPAddressList: allowed };
  const common = {
    method: "POST",
    headers: { ...headers, "content-length": String(Buffer.byteLength(body)) },
    maxHeaderSize: MOST_HEADER_BYTES,
    lookup: judged(account, lookup, judge, isOver) as never,
  };
  if (isPlain) return requestHttp(url, { ...common, agent: new RequestFilteringHttpAgent(options) });
  const agent = new RequestFilteringHttpsAgent({ ...options, maxCachedSessions: 0 });
  return requestHttps(url, { ...common, agent, rejectUnauthorized: true, ...(ca !== undefined && { ca }) });
}

/** A look-up that fails if any of the addresses may not be connected to. */
function judged(account: string, lookup: Lookup, judge: (address: string) => boolean, isOver: () => boolean) {
  return (
    hostname: string,
    options: LookupOptions,
    callback: (error: Error | null, found?: LookupAddress[] | string, family?: number) => void,
  ) => {
    takeTurn(account, (done) => {
      if (isOver()) return done();
      lookup(hostname, { ...options, all: true }, (error, addresses) => {
        done();
        if (error) return callback(error);
        const [first] = addresses;
        if (!first || !addresses.every(({ address }) => judge(address)))
          return callback(new RefusedAddress());
        return options.all ? callback(null, addresses) : callback(null, first.address, first.family);
      });
    });
  };
}

/** The accounts that look a name up now. */
const looking = new Set<string>();
/** Look-ups that wait, by account; the account that has waited longest is first. */
const waiting = new Map<string, (() => void)[]>();

/** Runs look-ups: one of each account at once, and accounts in turn, so that slow names hold up only their own account. */
function takeTurn(account: string, lookup: (done: () => void) => void): void {
  const run = () => {
    looking.add(account);
    lookup(() => {
      looking.delete(account);
      startNext();
    });
  };
  waiting.set(account, [...(waiting.get(account) ?? []), run]);
  startNext();
}

function startNext(): void {
  if (looking.size >= MOST_LOOKUPS) return;
  for (const [account, [run, ...others]] of waiting) {
    if (looking.has(account)) continue;
    waiting.delete(account);
    if (others.length > 0) waiting.set(account, others);
    run?.();
    return;
  }
}

/** Reads a few bytes of an answer, and cuts the connection. */
function takeLittle(response: IncomingMessage): void {
  const cut = () => response.destroy();
  const timer = setTimeout(cut, BODY_MS).unref();
  let bytes = 0;
  response.on("data", (chunk: Buffer) => {
    bytes += chunk.length;
    if (bytes > MOST_BYTES) cut();
  });
  response.on("error", () => {});
  response.on("close", () => clearTimeout(timer));
}

function readRetryAfter({ headers }: IncomingMessage): number | null {
  const value = headers["retry-after"];
  if (value === undefined) return null;
  const millis = /^\d+$/.test(value) ? 1000 * Number(value) : Date.parse(value) - Date.now();
  return millis > 0 ? millis : null;
}

const IN_WORDS: Record<string, string> = {
  ECONNREFUSED: "refused the connection",
  ECONNRESET: "closed the connection without an answer",
  EPIPE: "closed the connection without an answer",
  ENOTFOUND: "has a name that can't be resolved",
  EAI_AGAIN: "has a name that can't be resolved now",
  ETIMEDOUT: "can't be reached",
  EHOSTUNREACH: "can't be reached",
  ENETUNREACH: "can't be reached",
  CERT_HAS_EXPIRED: "has a certificate that has expired",
  ERR_TLS_CERT_ALTNAME_INVALID: "has a certificate of another name",
  DEPTH_ZERO_SELF_SIGNED_CERT: "has a certificate of no known authority",
  SELF_SIGNED_CERT_IN_CHAIN: "has a certificate of no known authority",
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: "has a certificate of no known authority",
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: "has a certificate of no known authority",
  HPE_HEADER_OVERFLOW: "answered with too many headers",
};

/** A failure in words. Messages of libraries are not repeated: they can contain what a receiver has sent. */
function describe(error: unknown): string {
  if (error instanceof RefusedAddress) return "has an address that webhooks may not be sent to";
  const { code = "", message = "" } = error as NodeJS.ErrnoException;
  if (message.startsWith("DNS lookup ")) return "has an address that webhooks may not be sent to";
  const words = IN_WORDS[code];
  if (words !== undefined) return words;
  if (code.startsWith("HPE_")) return "gave no valid answer of HTTP";
  if (/^(ERR_SSL|ERR_TLS|CERT_|EPROTO)/.test(code)) return "made no valid connection of TLS";
  return "could not be sent to";
}
