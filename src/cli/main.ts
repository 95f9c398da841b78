#!/usr/bin/env node
import tab from "@bomb.sh/tab/commander";
import { Command, CommanderError, InvalidArgumentError, Option } from "commander";
import { ACCOUNT_ID_RULE, isAccountId, SCOPES, type Scope } from "../auth/scopes.ts";
import { openSignInNames } from "../auth/sign-in-name.ts";
import { issueToken, listTokens, revokeToken, type TokenRecord, withdrawToken } from "../auth/tokens.ts";
import { ConfigError } from "../config.ts";
import { parseTimeSpan } from "../config-values.ts";
import { explainRefusal, findRefusal } from "../db/advice.ts";
import type { Database } from "../db/client.ts";
import { BackupError } from "../db/embedded/backup.ts";
import { DataDirError } from "../db/embedded/data-dir.ts";
import { DataDirInUseError } from "../db/embedded/embedded.ts";
import { EngineError } from "../db/embedded/engine.ts";
import { EncodingError } from "../db/encoding.ts";
import { MigrationBlockedError } from "../db/migrating/migrate.ts";
import { AppError } from "../errors.ts";
import { SEALED_PLACES } from "../sealed-places.ts";
import type { Keyring } from "../sealing/keyring.ts";
import { openKeyring, requireKeySource } from "../sealing/open-keyring.ts";
import { awaitStop } from "../server/stop-signal.ts";
import { readVersion } from "../version.ts";
import { backupCommands } from "./backup-commands.ts";
import {
  CommandFailure,
  type CommandScene,
  isOnTerminal,
  nameDatabase,
  OutputError,
  print,
  printed,
  printTable,
  readConfig,
  say,
  toDay,
  withDatabase,
  withKnownDatabase,
} from "./command.ts";
import { demoCommand } from "./demo-command.ts";
import { doctorCommand } from "./doctor/doctor-command.ts";
import { keysCommands } from "./keys-commands.ts";
import { linkCommand } from "./link-command.ts";
import { migrateCommand } from "./migrate-command.ts";

const EXIT_FAILURE = 1;
const EXIT_USAGE = 2;
/** The exit code that a shell reports for a program that SIGPIPE has ended: nobody reads its output any more. */
const EXIT_UNREAD = 141;

function parseScopes(list: string): Scope[] {
  const scopes = [...new Set(list.split(",").map((scope) => scope.trim()))];
  const unknown = scopes.filter((scope) => !(SCOPES as readonly string[]).includes(scope));
  if (unknown.length === 0) return scopes as Scope[];
  throw new InvalidArgumentError(`Known are ${SCOPES.join(", ")}.`);
}

function parseDuration(text: string): number {
  const duration = parseTimeSpan(text);
  if (duration && Number.isFinite(new Date(Date.now() + duration).getTime())) return duration;
  throw new InvalidArgumentError("It must be a time span such as 12h or 90d.");
}

const parseName = (fits: (text: string) => boolean, rule: string) => (text: string) => {
  if (fits(text)) return text;
  throw new InvalidArgumentError(rule);
};

const ACCOUNT_NAME = parseName(isAccountId, ACCOUNT_ID_RULE);

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

/** What the columns take besides the account's, with all borders: that of the id, of the scopes, and of two times. */
const TOKEN_COLUMNS = { id: 22, others: 3 * 12 + 6 };

/** As wide as the terminal at most, down to 80 columns. */
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
 * Makes a token and prints it. If it can't be printed, nobody has it: it is revoked, and this fails with a
 * CommandFailure.
 */
async function handOut(db: Database, keys: Keyring, issue: Parameters<typeof issueToken>[2]): Promise<void> {
  const secret = await issueToken(db, keys, issue);
  print(secret);
  await printed().catch(async (error: OutputError) => {
    await withdrawToken(db, keys, secret, Date.now());
    throw new CommandFailure(`${error.message}. The token could not be shown, and is revoked`);
  });
}

/** Tokens are authenticated under the encryption keys. */
const openKeys = ({ config, db }: CommandScene) => openKeyring(config, db, SEALED_PLACES, say);

function tokenCommands(): Command {
  const token = new Command("token").description("make, list and revoke tokens");
  token
    .command("create")
    .description("make a token, and print it: it can't be shown again")
    .requiredOption("--account <account>", "whose records it opens", ACCOUNT_NAME)
    .requiredOption(
      "--name <name>",
      "what you will know it by",
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
        async (scene) => handOut(scene.db, await openKeys(scene), issue),
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
    .description("revoke a token: within a second no gateway takes it any more")
    .argument("<id>", "its id, as `token list` shows it")
    .action(async (id: string) => {
      const found = await withKnownDatabase(
        async (scene) => revokeToken(scene.db, await openKeys(scene), id, Date.now()),
        requireKeySource,
      );
      if (!found) throw new CommandFailure(`there is no token ${id}`);
      say(`${id} is revoked.`);
    });
  token
    .command("sign-in")
    .description("print what the audit trail and the log call a subject of the identity provider")
    .argument("<sub>", "the claim sub of their tokens")
    .addOption(new Option("--issuer <iss>", "the claim iss").env("JWT_ISSUER").makeOptionMandatory())
    .action(async (sub: string, { issuer }: { issuer: string }) => {
      const name = await withKnownDatabase(
        async (scene) => (await openSignInNames(scene.db, await openKeys(scene)))(issuer, sub),
        requireKeySource,
      );
      print(name);
    });
  return token;
}

function createProgram(): Command {
  const program = new Command("kyc-gateway")
    .description(
      "The GraphQL front door to KYC records on PostgreSQL. Its configuration is in the environment: see the README.",
    )
    .version(readVersion(), "-V, --version", "print the release")
    .exitOverride()
    .showHelpAfterError();
  program
    .command("serve")
    .description("run the gateway")
    .action(async () => {
      // Before anything else: without a listener, the first process of a container ignores signals.
      const stop = awaitStop();
      // graphql-js reads it once, when it is loaded: without it each check of a type looks for second copies of itself.
      process.env.NODE_ENV ??= "production";
      const { serve } = await import("../server/serve.ts");
      const say = async (...lines: string[]) => {
        for (const line of lines) print(line);
        await printed();
      };
      process.exitCode = await serve(readConfig(), say, stop);
    });
  program
    .command("schema")
    .description("print the GraphQL schema")
    .action(async () => {
      const { printSdl } = await import("../graphql/schema.ts");
      print(printSdl().trimEnd());
    });
  program.addCommand(migrateCommand());
  program.addCommand(doctorCommand());
  program.addCommand(demoCommand(ACCOUNT_NAME));
  program.addCommand(tokenCommands());
  program.addCommand(linkCommand());
  program.addCommand(keysCommands());
  for (const command of backupCommands()) program.addCommand(command);
  tab(program, { completionCommandName: "completion" });
  for (const command of [program, ...program.commands, ...program.commands.flatMap((c) => c.commands)]) {
    command.exitOverride();
  }
  return program;
}

/** Says what failed, and answers the exit code. */
function report(error: unknown): number {
  // Commander has said what is wrong with the usage, or has printed the help that was asked for.
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : EXIT_USAGE;
  if (error instanceof ConfigError) {
    for (const fault of error.faults) say(`configuration: ${fault}`);
    return EXIT_USAGE;
  }
  if (error instanceof DataDirError) {
    say(`configuration: ${error.message}`);
    return EXIT_USAGE;
  }
  if (error instanceof OutputError && error.isUnread) return EXIT_UNREAD;
  for (const line of explain(error)) say(`error: ${line}`);
  return EXIT_FAILURE;
}

/** Their message is all that there is to say. */
const FAILURES_IN_WORDS = [
  ...[BackupError, CommandFailure, DataDirInUseError, EncodingError, EngineError],
  ...[MigrationBlockedError, OutputError],
];

function explain(error: unknown): string[] {
  const refusal = findRefusal(error);
  if (refusal) return [explainRefusal(refusal)];
  if (error instanceof AppError && error.code === "UNAVAILABLE") {
    const { code, message } = (error.cause ?? {}) as { code?: string; message?: string };
    return [`the database can't be reached: ${message || code || "no answer"}`];
  }
  if (FAILURES_IN_WORDS.some((kind) => error instanceof kind)) return [(error as Error).message];
  if (!(error instanceof Error)) return [String(error)];
  // A failure of the system, such as a port in use, says all in its message.
  return ["syscall" in error ? error.message : (error.stack ?? error.message)];
}

// `printed` reports what stdout could not take. If stderr is closed, there is nowhere left to report it.
process.stdout.on("error", () => {});
process.stderr.on("error", () => {});
try {
  await createProgram().parseAsync();
} catch (error) {
  process.exitCode = report(error);
}
await printed().catch((error) => {
  process.exitCode ||= report(error);
});
