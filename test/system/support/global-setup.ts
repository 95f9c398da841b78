import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestProject } from "vitest/node";
import { runCli } from "./gateway.ts";

declare module "vitest" {
  interface ProvidedContext {
    /** A data folder with a migrated, unused database. Tests copy it and must not change it. */
    unusedDataDir: string;
  }
}

/** Creating and migrating an embedded database takes as long as two starts on one: this is done once. The database is removed after the last test. */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const folder = await mkdtemp(join(tmpdir(), "kyc-unused-"));
  const teardown = () => rm(folder, { recursive: true, force: true });
  const unused = join(folder, "data");
  const { code, stderr } = await runCli(["migrate"], { DATA_DIR: unused });
  if (code !== 0) {
    await teardown();
    throw new Error(`no database was made:\n${stderr}`);
  }
  project.provide("unusedDataDir", unused);
  return teardown;
}
