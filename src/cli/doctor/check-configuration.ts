import { type Config, parseConfig, VARIABLES } from "../../config/config.ts";
import { findConfigHints } from "../../config/hints.ts";
import { ConfigError } from "../../lib/settings.ts";
import { Area, type Finding } from "./finding.ts";

type Env = Record<string, string | undefined>;

/** The usable part of the configuration. */
export interface ReadConfiguration {
  findings: Finding[];
  /** The configuration, with defaults for the variables that have faults. */
  config: Config;
  /** The names of those variables. */
  faulty: ReadonlySet<string>;
}

const area = new Area("configuration");

/** Reads the configuration, and continues without the faulty settings, so that everything else can be checked. */
export function readConfiguration(env: Env): ReadConfiguration {
  const faulty = new Set<string>();
  const findings: Finding[] = [];
  for (;;) {
    const usable = Object.fromEntries(Object.entries(env).filter(([name]) => !faulty.has(name)));
    try {
      return { config: parseConfig(usable), faulty, findings: [...findings, ...summarize(env, findings)] };
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      const before = faulty.size;
      for (const fault of error.faults) {
        const names = VARIABLES.filter((name) => new RegExp(`\\b${name}\\b`).test(fault));
        for (const name of names) if (usable[name] !== undefined) faulty.add(name);
        findings.push(
          area.problem(
            /^[A-Z_]+/.exec(fault)?.[0] ?? "variables",
            fault,
            "Correct it: the gateway does not start",
          ),
        );
      }
      if (faulty.size === before) throw error;
    }
  }
}

function summarize(env: Env, faults: readonly Finding[]): Finding[] {
  const hints = findConfigHints(env).map((hint) =>
    area.warning(
      VARIABLES.find((name) => hint.startsWith(`${name} `)) ?? "names",
      hint,
      "Correct or remove it",
    ),
  );
  if (faults.length > 0 || hints.length > 0) return hints;
  const set = VARIABLES.filter((name) => env[name] !== undefined && env[name] !== "").length;
  return [area.ok("variables", `${set} set, and none has a fault`)];
}

/** Whether the documents of PERSISTED_OPERATIONS can be served. */
export function checkDocuments(config: Config): Promise<Finding[]> {
  const { manifest, mode } = config.persistedOperations;
  return area.run("PERSISTED_OPERATIONS", async () => {
    if (manifest === undefined || mode === "off") return [];
    const { readManifest } = await import("../../graphql/documents/manifest.ts");
    const { createValidation } = await import("../../graphql/documents/validation.ts");
    const documents = await readManifest(manifest, createValidation(config), config.queryLimits.tokens);
    return area.ok("PERSISTED_OPERATIONS", `its ${documents.size} documents can be served`);
  });
}
