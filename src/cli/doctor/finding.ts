import { setTimeout as wait } from "node:timers/promises";
import { explainDatabase } from "../../db/advice.ts";
import { ConfigError } from "../../lib/settings.ts";

/** Empty: nothing is migrated. Behind: this release's migrations are pending. Unknown: this role may not see it. */
export type Stage = "empty" | "behind" | "current" | "unknown";

/** Problem: it would keep the gateway from starting, or harm it. Warning: it deserves a examine, or could not be checked. */
type State = "ok" | "warning" | "problem";

/** The result of one check, without any secret. */
export interface Finding {
  area: string;
  check: string;
  state: State;
  found: string;
  /** Null: nothing is to be done. */
  todo: string | null;
}

/** How long one check may take. Milliseconds. */
const CHECK_LIMIT_MS = 8000;

/** Creates the findings of one area. */
export class Area {
  readonly name: string;
  /** Whether a check took longer than it may. It may still be running. */
  isLate = false;

  constructor(name: string) {
    this.name = name;
  }

  ok(check: string, found: string): Finding {
    return { area: this.name, check, state: "ok", found, todo: null };
  }

  warning(check: string, found: string, todo: string): Finding {
    return { area: this.name, check, state: "warning", found, todo };
  }

  problem(check: string, found: string, todo: string): Finding {
    return { area: this.name, check, state: "problem", found, todo };
  }

  /** For a check that another problem prevents, so that it does not examine as if it had passed. */
  notChecked(check: string, why: string): Finding {
    return this.warning(check, `not checked: ${why}`, "Run this again once that is solved");
  }

  /** The findings of a check. If it fails, or takes longer than `limitMs` milliseconds, that is the finding. */
  async run(
    check: string,
    examine: () => Finding | Finding[] | Promise<Finding | Finding[]>,
    limitMs = CHECK_LIMIT_MS,
  ): Promise<Finding[]> {
    const ending = new AbortController();
    const late = wait(limitMs, "late" as const, { signal: ending.signal }).catch(() => "late" as const);
    try {
      const findings = await Promise.race([Promise.resolve().then(examine), late]);
      if (findings !== "late") return [findings].flat();
      this.isLate = true;
      const found = `not checked: it took more than ${limitMs / 1000} s`;
      return [this.warning(check, found, "Run this again when the database has less to do")];
    } catch (error) {
      const lines =
        error instanceof ConfigError ? error.faults : [explainDatabase(error) ?? (error as Error).message];
      return lines.map((line) => this.problem(check, line.replace(/\s+/g, " "), "See what was found"));
    } finally {
      ending.abort();
    }
  }
}
