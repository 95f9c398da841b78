import type { Executor } from "../../src/db/client.ts";

/** A step of a plan, as PostgreSQL writes it in JSON. What was counted is there only after an execution. */
export interface PlanNode {
  "Node Type": string;
  "Relation Name"?: string;
  "Index Name"?: string;
  "Index Cond"?: string;
  Filter?: string;
  "Actual Rows"?: number;
  "Actual Loops"?: number;
  "Rows Removed by Filter"?: number;
  Plans?: PlanNode[];
}

/** The steps of the plan for whatever values may come, as a statement gets it that is prepared and often used. */
export function planOf(db: Executor, text: string): Promise<PlanNode[]> {
  return explain(db, "generic_plan", text);
}

/** Executes the statement with these values, and gives the steps with what each has read. */
export function executedPlanOf(db: Executor, text: string, values: readonly unknown[]): Promise<PlanNode[]> {
  return explain(db, "analyze", text, values);
}

async function explain(db: Executor, how: string, text: string, values?: readonly unknown[]) {
  const [row] = await db.execute<{ "QUERY PLAN": [{ Plan: PlanNode }] }>(
    `explain (${how}, format json) ${text}`,
    values,
  );
  return nodesOf((row as { "QUERY PLAN": [{ Plan: PlanNode }] })["QUERY PLAN"][0].Plan);
}

const nodesOf = (plan: PlanNode): PlanNode[] => [plan, ...(plan.Plans ?? []).flatMap(nodesOf)];
