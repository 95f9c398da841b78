#!/usr/bin/env node
import tab from "@bomb.sh/tab/commander";
import { Command } from "commander";
import { awaitStop } from "../server/stop-signal.ts";
import { readVersion } from "../version.ts";
import { keepOutputFailures, print, printed } from "./print.ts";

/** All commands except `serve` and `schema`, in the order of the help. The code of a command is loaded if it is needed. */
const COMMANDS: readonly { names: readonly string[]; load: () => Promise<Command[]> }[] = [
  { names: ["migrate"], load: async () => [(await import("./migrate-command.ts")).migrateCommand()] },
  { names: ["doctor"], load: async () => [(await import("./doctor/doctor-command.ts")).doctorCommand()] },
  { names: ["demo"], load: async () => [(await import("./demo-command.ts")).demoCommand()] },
  { names: ["import"], load: async () => [(await import("./import-command.ts")).importCommand()] },
  { names: ["export"], load: async () => [(await import("./export-command.ts")).exportCommand()] },
  { names: ["customer"], load: async () => [(await import("./customer-commands.ts")).customerCommands()] },
  { names: ["token"], load: async () => [(await import("./token-commands.ts")).tokenCommands()] },
  { names: ["link"], load: async () => [(await import("./link-command.ts")).linkCommand()] },
  { names: ["keys"], load: async () => [(await import("./keys-commands.ts")).keysCommands()] },
  { names: ["audit"], load: async () => [(await import("./audit-commands.ts")).auditCommands()] },
  { names: ["webhook"], load: async () => [(await import("./webhook-commands.ts")).webhookCommands()] },
  { names: ["deliver"], load: async () => [(await import("./deliver-command.ts")).deliverCommand()] },
  { names: ["backup", "restore"], load: async () => (await import("./backup-commands.ts")).backupCommands() },
];

/** First arguments of the program for which none of those commands is loaded. */
const WITHOUT_COMMANDS: readonly string[] = ["serve", "schema", "--version", "-V"];

/** The commands that these arguments of the program can need: one if they begin with its name, otherwise all. */
async function loadCommands([name = ""]: readonly string[]): Promise<Command[]> {
  if (WITHOUT_COMMANDS.includes(name)) return [];
  const named = COMMANDS.filter(({ names }) => names.includes(name));
  const loaded = await Promise.all((named.length > 0 ? named : COMMANDS).map(({ load }) => load()));
  return loaded.flat();
}

async function createProgram(args: readonly string[]): Promise<Command> {
  const program = new Command("kyc-gateway")
    .description(
      "A GraphQL and REST API for KYC records on PostgreSQL. Settings are environment variables: see docs/configuration.md.",
    )
    .version(readVersion(), "-V, --version", "print the release")
    .exitOverride()
    .showHelpAfterError();
  program.command("serve").description("run the gateway").action(serveUntilStopped);
  program
    .command("schema")
    .description("print the GraphQL schema")
    .action(async () => {
      const { printSdl } = await import("../graphql/schema.ts");
      print(printSdl().trimEnd());
    });
  for (const command of await loadCommands(args)) program.addCommand(command);
  await addCompletion(program);
  for (const command of withSubcommands(program)) command.exitOverride();
  return program;
}

const withSubcommands = (command: Command): Command[] => [
  command,
  ...command.commands.flatMap(withSubcommands),
];

async function serveUntilStopped(): Promise<void> {
  // Before anything else: without a listener, the first process of a container ignores signals.
  const stop = awaitStop();
  // graphql-js reads it once, when it is loaded: without it each check of a type looks for second copies of itself.
  process.env.NODE_ENV ??= "production";
  const { serve } = await import("../server/serve.ts");
  const { readConfig } = await import("./command.ts");
  const say = async (...lines: string[]) => {
    for (const line of lines) print(line);
    await printed();
  };
  const code = await serve(readConfig(), say, stop);
  // Everything is closed. Retries of the exporter of traces would keep the process alive for up to ten seconds.
  process.exit(code);
}

/** Adds `completion`, which makes a shell complete commands, options and scopes. */
async function addCompletion(program: Command): Promise<void> {
  const completion = tab(program, { completionCommandName: "completion" });
  const scopes = completion.commands.get("token create")?.options.get("scopes");
  if (!scopes) return;
  const { completeScopes } = await import("./token-commands.ts");
  scopes.handler = (add) => {
    for (const value of completeScopes(process.argv.at(-1) ?? "")) add(value, "");
  };
}

/** Prints what failed, and returns the exit code. */
async function reportFailure(error: unknown): Promise<number> {
  const { report } = await import("./report.ts");
  return report(error);
}

keepOutputFailures();
try {
  const program = await createProgram(process.argv.slice(2));
  await program.parseAsync();
} catch (error) {
  process.exitCode = await reportFailure(error);
}
await printed().catch(async (error) => {
  process.exitCode ||= await reportFailure(error);
});
