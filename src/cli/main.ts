#!/usr/bin/env node
import tab from "@bomb.sh/tab/commander";
import { Command } from "commander";
import { awaitStop } from "../server/stop-signal.ts";
import { readVersion } from "../version.ts";
import { auditCommands } from "./audit-commands.ts";
import { backupCommands } from "./backup-commands.ts";
import { readConfig } from "./command.ts";
import { demoCommand } from "./demo-command.ts";
import { doctorCommand } from "./doctor/doctor-command.ts";
import { keysCommands } from "./keys-commands.ts";
import { linkCommand } from "./link-command.ts";
import { migrateCommand } from "./migrate-command.ts";
import { print, printed } from "./print.ts";
import { report } from "./report.ts";
import { completeScopes, tokenCommands } from "./token-commands.ts";

function createProgram(): Command {
  const program = new Command("kyc-gateway")
    .description(
      "A GraphQL and REST API for KYC records on PostgreSQL. Settings are environment variables: see docs/configuration.md.",
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
      const code = await serve(readConfig(), say, stop);
      // Everything is closed. Retries of the exporter of traces would keep the process for up to ten seconds.
      process.exit(code);
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
  program.addCommand(demoCommand());
  program.addCommand(tokenCommands());
  program.addCommand(linkCommand());
  program.addCommand(keysCommands());
  program.addCommand(auditCommands());
  for (const command of backupCommands()) program.addCommand(command);
  const completion = tab(program, { completionCommandName: "completion" });
  const scopes = completion.commands.get("token create")?.options.get("scopes");
  if (scopes) {
    scopes.handler = (add) => {
      for (const value of completeScopes(process.argv.at(-1) ?? "")) add(value, "");
    };
  }
  for (const command of withSubcommands(program)) command.exitOverride();
  return program;
}

const withSubcommands = (command: Command): Command[] => [
  command,
  ...command.commands.flatMap(withSubcommands),
];

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
