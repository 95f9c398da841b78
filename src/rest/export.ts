import { Readable } from "node:stream";
import type { FastifyInstance, FastifyRequest } from "fastify";
import { requireViewer } from "../auth/scopes.ts";
import { AppError, overloaded } from "../errors.ts";
import { exportKycs } from "../kyc/export-kycs.ts";
import { listKycs } from "../kyc/list-kycs.ts";
import { requireVersion } from "../kyc/version-condition.ts";
import { isKnown, readConditions, toExpected } from "./conditions.ts";
import { EXPORT_FORMATS, type ExportFormat, toExportText } from "./export-text.ts";
import { LIST_FILTERS, readList } from "./list-params.ts";
import { ignoreTypeOfNothing, readQuery } from "./requests.ts";

/** The parameters of an export: the format, and the filters of a list. */
const EXPORT_PARAMS = ["format", ...LIST_FILTERS] as const;

/** The call of an export, for the OpenAPI document. The path is below `/v1/export`. */
export const EXPORT_ROUTES = [{ operation: "exportKycs", methods: ["GET"], path: "/" }] as const;

const TYPES: Record<ExportFormat, string> = {
  ndjson: "application/x-ndjson; charset=utf-8",
  csv: "text/csv; charset=utf-8; header=present",
};

/** One account can have a fifth of the exports that may run. */
const SHARE_OF_ACCOUNT = 5;

interface Limits {
  /** Exports that may run at once, of all accounts. */
  most: number;
  /** Whether the gateway stops. Then the running exports are cut, and their readers miss the last line. */
  isClosed: () => boolean;
}

/** Adds the export below the prefix that the app is registered under. */
export function registerExportRoute(app: FastifyInstance, { most, isClosed }: Limits): void {
  ignoreTypeOfNothing(app);
  const running = new RunningExports(most);
  app.get("/", async (request, reply) => {
    const { filter, format, isKnown } = await readRequest(request);
    if (isKnown) return reply.code(304).send();
    reply.header("content-type", TYPES[format]);
    // As a stream it has no length, like the answer to a GET.
    if (request.method === "HEAD") return reply.send(Readable.from([]));
    const ctx = request.operationContext;
    const leave = running.enter(requireViewer(ctx.viewer).accountId);
    try {
      const text = toTextWhileOpen(toExportText(ctx, await exportKycs(ctx, filter), format), isClosed);
      // A page is read only when the reader has consumed the one before.
      const body = Readable.from(text, { objectMode: false, highWaterMark: 1 });
      body.once("close", leave);
      return reply.send(body);
    } catch (error) {
      leave();
      throw error;
    }
  });
}

/** Counts the running exports of each account. One account can't use all slots: a slow reader keeps its slot for hours. */
class RunningExports {
  readonly #most: number;
  readonly #mostOfAccount: number;
  readonly #ofAccounts = new Map<string, number>();
  #all = 0;

  constructor(most: number) {
    this.#most = most;
    this.#mostOfAccount = Math.ceil(most / SHARE_OF_ACCOUNT);
  }

  /** Occupies a slot until the returned function is called. Fails with UNAVAILABLE, or RATE_LIMITED if the account's share is used. */
  enter(accountId: string): () => void {
    if (this.#all >= this.#most) throw overloaded();
    const own = this.#ofAccounts.get(accountId) ?? 0;
    if (own >= this.#mostOfAccount) {
      const message = `Your account has ${own} exports here already, which is the limit.`;
      throw new AppError("RATE_LIMITED", message, { retryAfter: 1 });
    }
    this.#all += 1;
    this.#ofAccounts.set(accountId, own + 1);
    return () => {
      this.#all -= 1;
      const left = (this.#ofAccounts.get(accountId) ?? 1) - 1;
      if (left > 0) this.#ofAccounts.set(accountId, left);
      else this.#ofAccounts.delete(accountId);
    };
  }
}

/** Reads the request. Fails before anything is exported, naming every fault. */
async function readRequest(request: FastifyRequest) {
  const conditions = readConditions(request);
  const params = readQuery(request, EXPORT_PARAMS);
  const { input, faults } = readList(params);
  const found = [...faults, ...conditions.faults];
  const format = (params.values.get("format") ?? "ndjson") as ExportFormat;
  if (!EXPORT_FORMATS.includes(format)) {
    const message = `must be one of ${EXPORT_FORMATS.join(", ")}`;
    found.push({ path: ["format"], kind: "invalid", message });
  }
  const { filter } = input;
  await listKycs(request.operationContext, { first: 0, filter }, found);
  // An export has no tag.
  requireVersion(undefined, toExpected(conditions));
  return { filter, format, isKnown: isKnown(conditions, undefined) };
}

async function* toTextWhileOpen(
  text: AsyncIterable<string>,
  isClosed: () => boolean,
): AsyncGenerator<string> {
  for await (const page of text) {
    if (isClosed()) throw new Error("the gateway stops");
    yield page;
  }
}
