import { Command, Option } from "commander";
import type { Config } from "../../config/config.ts";
import type { Database } from "../../db/client.ts";
import { connect } from "../../db/pool/pool.ts";
import type { Keyring } from "../../sealing/keyring.ts";
import { isOnTerminal, print, printed, printTable } from "../print.ts";
import { checkClocks, clocks } from "./check-clock.ts";
import { checkDocuments, readConfiguration } from "./check-configuration.ts";
import { checkConnections, checkPooler, checkServer, checkSettings, database } from "./check-database.ts";
import { checkKeys, checkNumbers, checkTokens, checkWithKeys, keyArea, readKeys } from "./check-keys.ts";
import { checkDisks, checkFiles, checkMemory, limits } from "./check-limits.ts";
import { checkMigrations, findStage } from "./check-migrations.ts";
import { checkDatabaseTls, checkDataDir, checkListening, folders, network } from "./check-surroundings.ts";
import type { Finding, Stage } from "./finding.ts";
import { type InspectedDatabase, openForInspection } from "./open-for-inspection.ts";

/** The exit code if something would keep the gateway from starting, or harm it. */
const PROBLEM = 1;

/** `doctor`. */
export function doctorCommand(): Command {
  return new Command("doctor")
    .description(
      "check the configuration, the database, the keys, the clocks and the limits, and say what to do; changes nothing, and exits with 1 if there is a problem",
    )
    .addOption(new Option("--json", "print JSON").default(false))
    .action(async ({ json }: { json: boolean }) => {
      const findings = await examine(process.env);
      const hasProblem = findings.some(({ state }) => state === "problem");
      if (json) print(JSON.stringify(findings, null, 2));
      else printFindings(findings);
      process.exitCode = hasProblem ? PROBLEM : 0;
      // A check that is still running would keep the process alive.
      if ([database, keyArea, clocks, limits, folders, network].some(({ isLate }) => isLate)) {
        await printed();
        process.exit();
      }
    });
}

/** How long opening the embedded database may take, also on a busy machine. Milliseconds. */
const OPEN_EMBEDDED_MS = 45_000;

/** Widths on a terminal of 100 columns and more: the two texts share what the others leave. */
const NARROW = [15, 14, 9];
const BORDERS = 6;

function printFindings(findings: readonly Finding[]): void {
  const room =
    Math.max(100, process.stdout.columns || 0) - NARROW.reduce((sum, width) => sum + width, BORDERS);
  const widths = [...NARROW, Math.ceil(room / 2), Math.floor(room / 2)];
  printTable(
    ["area", "check", "state", "found", "what to do"],
    findings.map(({ area, check, state, found, todo }) => [area, check, state, found, todo ?? ""]),
    isOnTerminal() ? widths : [],
  );
}

/** Does all checks, even if some fail. */
async function examine(env: NodeJS.ProcessEnv): Promise<Finding[]> {
  const { config, faulty, findings } = readConfiguration(env);
  findings.push(...(await checkDocuments(config)));
  const isDatabaseKnown = !faulty.has("DATABASE_URL");
  const isEmbedded = isDatabaseKnown && config.databaseUrl === undefined;
  const keys = await readKeysInTime(
    config,
    isDatabaseKnown && !faulty.has("ENCRYPTION_KEYS") && !faulty.has("ENCRYPTION_KEYS_FILE"),
  );
  findings.push(...(await examineDatabase(config, isDatabaseKnown, keys)));
  findings.push(...(await limits.run("open files", () => checkFiles(config))));
  findings.push(...(await limits.run("memory", () => checkMemory(config))));
  if (isDatabaseKnown) findings.push(...(await limits.run("disk", () => checkDisks(config))));
  if (isEmbedded) findings.push(...(await folders.run("folder", () => checkDataDir(config))));
  const { databaseUrl } = config;
  if (databaseUrl !== undefined)
    findings.push(...(await network.run("database", () => checkDatabaseTls(databaseUrl))));
  findings.push(...(await network.run("HOST", () => checkListening(config))));
  return findings;
}

interface KnownKeys {
  /** Undefined if they can't be read, or are misconfigured. */
  keys: Keyring | null | undefined;
  findings: Finding[];
}

async function readKeysInTime(config: Config, isConfigured: boolean): Promise<KnownKeys> {
  if (!isConfigured) {
    return { keys: undefined, findings: [keyArea.notChecked("source", "the configuration has a fault")] };
  }
  let keys: Keyring | null | undefined;
  const findings = await keyArea.run("source", async () => {
    const known = await readKeys(config);
    keys = known.keys;
    return known.findings;
  });
  return { keys, findings };
}

async function examineDatabase(config: Config, isKnown: boolean, known: KnownKeys): Promise<Finding[]> {
  const unopened = (why: string) => [
    ...[database.notChecked("contents", why), ...known.findings],
    ...[keyArea.notChecked("registered", why), clocks.notChecked("database", why)],
  ];
  if (!isKnown) return unopened("DATABASE_URL has a fault");
  let inspected: InspectedDatabase | null | undefined;
  const open = async () => {
    inspected = await openForInspection(config);
    if (inspected === null)
      return database.ok("reachable", "there is no embedded database yet: the first start makes it");
    return database.ok("reachable", `it answers${inspected.how && `, ${inspected.how}`}`);
  };
  const opened = await database.run("reachable", open, config.databaseUrl ? undefined : OPEN_EMBEDDED_MS);
  if (inspected === null) return [...opened, ...known.findings];
  if (!inspected) return [...opened, ...unopened("the database can't be asked")];
  try {
    return [...opened, ...(await examineOpen(config, inspected, known))];
  } finally {
    await inspected.close();
  }
}

async function examineOpen(
  config: Config,
  inspected: InspectedDatabase,
  { keys, findings }: KnownKeys,
): Promise<Finding[]> {
  const { db } = inspected;
  const stage = await findStage(db);
  const found = await database.run("server", () => checkServer(inspected, stage));
  found.push(...(await database.run("migrations", () => checkMigrations(db))));
  if (config.databaseUrl !== undefined) {
    found.push(...(await database.run("settings", () => checkSettings(inspected, config))));
    found.push(...(await database.run("connections", () => checkConnections(inspected, config))));
    const prepared = connect({
      address: { url: config.databaseUrl },
      poolSize: 1,
      prepare: true,
      statementTimeout: 3000,
    });
    found.push(...(await database.run("pooler", () => checkPooler(inspected, prepared, config))));
    await prepared.close();
  }
  found.push(...findings);
  found.push(...(await examineKeys(config, db, keys, stage)));
  found.push(...(await clocks.run("database", () => checkClocks(db, stage))));
  return found;
}

async function examineKeys(
  config: Config,
  db: Database,
  keys: KnownKeys["keys"],
  stage: Stage,
): Promise<Finding[]> {
  if (keys === undefined) return [keyArea.notChecked("registered", "there are no keys to compare")];
  if (stage === "unknown") return [keyArea.notChecked("registered", "this role does not see the migrations")];
  const run = (name: string, check: (keys: Keyring | null) => Promise<Finding[]>) =>
    keyArea.run(name, () => checkWithKeys(config, keys, check));
  const found = await run("registered", (present) => checkKeys(db, present, stage));
  if (stage === "behind") found.push(keyArea.notChecked("numbers and tokens", "migrations are pending"));
  if (stage !== "current") return found;
  found.push(...(await run("numbers", (present) => checkNumbers(db, present))));
  found.push(...(await run("tokens", (present) => checkTokens(db, present))));
  return found;
}
