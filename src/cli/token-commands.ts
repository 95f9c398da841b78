import { Command, InvalidArgumentError, Option } from "commander";
import { SCOPES, type Scope } from "../auth/scopes.ts";
import { openSignInNames } from "../auth/sign-in-name.ts";
import { issueToken, listTokens, revokeToken, type TokenRecord, withdrawToken } from "../auth/tokens.ts";
import { parseTimeSpan } from "../lib/setting-values.ts";
import type { Keyring } from "../sealing/keyring.ts";
import { requireKeySource } from "../sealing/open-keyring.ts";
import {
  CommandFailure,
  type CommandScene,
  nameDatabase,
  withDatabase,
  withKnownDatabase,
} from "./command.ts";
import { ACCOUNT_NAME, parseName } from "./names.ts";
import { openKeys } from "./open-keys.ts";
import { isOnTerminal, type OutputError, print, printed, printTable, say, toDay } from "./print.ts";

function parseScopes(list: string): Scope[] {
  const scopes = [...new Set(list.split(",").map((scope) => scope.trim()))];
  const unknown = scopes.filter((scope) => !(SCOPES as readonly string[]).includes(scope));
  if (unknown.length === 0) return scopes as Scope[];
  throw new InvalidArgumentError(`Known are ${SCOPES.join(", ")}.`);
}

/** The completions of a partly typed `--scopes`: with one more scope each. */
export function completeScopes(typed: string): string[] {
  const given = typed
    .replace(/^--scopes=/, "")
    .split(",")
    .slice(0, -1);
  return SCOPES.filter((scope) => !given.includes(scope)).map((scope) => [...given, scope].join(","));
}

function parseDuration(text: string): number {
  const duration = parseTimeSpan(text);
  if (duration && Number.isFinite(new Date(Date.now() + duration).getTime())) return duration;
  throw new InvalidArgumentError("It must be a time span such as 12h or 90d.");
}

function stateOf(token: TokenRecord, now: number): string {
  if (token.revokedAt !== null) return "revoked";
  if (!token.isAuthentic) return "forged";
  return token.expiresAt !== null && token.expiresAt <= now ? "expired" : "good";
}

function printTokens(tokens: readonly TokenRecord[], json: boolean): void {
  const day = (millis: number | null) => (millis === null ? null : new Date(millis).toISOString());
  const rows = tokens.map((token) => ({
    id: token.id,
    account: token.accountId,
    name: token.name,
    scopes: token.scopes,
    state: stateOf(token, Date.now()),
    created: day(token.createdAt),
    expires: day(token.expiresAt),
    revoked: day(token.revokedAt),
  }));
  if (json) {
    print(JSON.stringify(rows, null, 2));
    return;
  }
  if (isOnTerminal()) {
    printTokenTable(tokens);
    return;
  }
  printTable(
    ["id", "account", "name", "scopes", "state", "created", "expires"],
    rows.map(({ id, account, name, scopes, state, created, expires }) => [
      ...[id, account, name, scopes, state],
      ...[String(created), expires ?? "never"],
    ]),
  );
}

/** The widths of the columns besides the account's, with all borders: the id, the scopes, and two times. */
const TOKEN_COLUMNS = { id: 22, others: 3 * 12 + 6 };

/** Prints a table at most as wide as the terminal, but with at least 80 columns. */
function printTokenTable(tokens: readonly TokenRecord[]): void {
  const { id, others } = TOKEN_COLUMNS;
  const longest = Math.max(0, ...tokens.map(({ accountId }) => accountId.length));
  const room = Math.max(80, process.stdout.columns || 0) - id - others;
  printTable(
    ["token", "account", "scopes", "state", "created"],
    tokens.map((token) => {
      const state = stateOf(token, Date.now());
      const until = token.revokedAt ?? token.expiresAt;
      return [
        ...[[token.id, token.name], token.accountId, token.scopes],
        until === null ? state : [`${state} ${state === "good" ? "until" : "on"}`, toDay(new Date(until))],
        new Date(token.createdAt),
      ];
    }),
    [id, longest + 2 > room ? room : null],
  );
}

/**
 * Creates a token and prints it. If it can't be printed, nobody has it, so it is revoked, and this fails with a
 * CommandFailure.
 */
async function createAndPrint(
  { db, by }: CommandScene,
  keys: Keyring,
  issue: Parameters<typeof issueToken>[2],
): Promise<void> {
  const secret = await issueToken(db, keys, issue, by);
  print(secret);
  await printed().catch(async (error: OutputError) => {
    await withdrawToken(db, keys, secret, Date.now(), by);
    throw new CommandFailure(`${error.message}. The token could not be shown, and is revoked`);
  });
}

/** The commands below `token`. */
export function tokenCommands(): Command {
  const token = new Command("token").description("create, list and revoke tokens");
  token
    .command("create")
    .description("create a token and print it: it can't be shown again")
    .requiredOption("--account <account>", "the account whose records it opens", ACCOUNT_NAME)
    .requiredOption(
      "--name <name>",
      "a name to recognise it by",
      parseName((name) => /^\P{C}{1,100}$/u.test(name), "It has 1 to 100 printable characters."),
    )
    .requiredOption("--scopes <scopes>", `what it may do: ${SCOPES.join(",")}`, parseScopes)
    .option(
      "--expires <span>",
      "how long it works, such as 12h or 90d (default: until it is revoked)",
      parseDuration,
    )
    .action(async (options: { account: string; name: string; scopes: Scope[]; expires?: number }) => {
      const now = Date.now();
      const expiresAt = options.expires === undefined ? null : now + options.expires;
      const { account: accountId, name, scopes } = options;
      const issue = { accountId, name, scopes, expiresAt, now };
      await withDatabase(
        async (scene) => createAndPrint(scene, await openKeys(scene), issue),
        (config) => {
          requireKeySource(config);
          nameDatabase(config);
        },
      );
      say("Keep it safe: it is stored only as a hash, and can't be shown again.");
      if (!scopes.includes("kyc:pii") && (scopes.includes("kyc:read") || scopes.includes("kyc:write"))) {
        say("It lacks kyc:pii: document numbers will be masked, and can't be searched by.");
      }
    });
  token
    .command("list")
    .description("list the tokens, without their secrets")
    .option("--account <account>", "only those of this account")
    .addOption(new Option("--json", "print JSON").default(false))
    .action(async (options: { account?: string; json: boolean }) => {
      const list = await withKnownDatabase(
        async (scene) => listTokens(scene.db, await openKeys(scene), options.account),
        requireKeySource,
      );
      printTokens(list, options.json);
    });
  token
    .command("revoke")
    .description("revoke a token: within a second every gateway refuses it")
    .argument("<id>", "its id, as `token list` shows it")
    .action(async (id: string) => {
      const found = await withKnownDatabase(
        async (scene) => revokeToken(scene.db, await openKeys(scene), id, Date.now(), scene.by),
        requireKeySource,
      );
      if (!found) throw new CommandFailure(`there is no token ${id}`);
      say(`${id} is revoked.`);
    });
  addSignIn(token);
  return token;
}

function addSignIn(token: Command): void {
  token
    .command("sign-in")
    .description(
      "print the name that the audit trail and the log have for a subject of the identity provider",
    )
    .argument("<sub>", "the claim sub of their tokens")
    .addOption(new Option("--issuer <iss>", "the claim iss").env("JWT_ISSUER").makeOptionMandatory())
    .action(async (sub: string, { issuer }: { issuer: string }) => {
      const name = await withKnownDatabase(
        async (scene) => (await openSignInNames(scene.db, await openKeys(scene)))(issuer, sub),
        requireKeySource,
      );
      print(name);
    });
}
