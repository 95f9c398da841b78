import { readdirSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { OF_OTHERS } from "../../lib/private-files.ts";
import { packageFile } from "../../package-file.ts";
import { asEngineError } from "./engine.ts";

/** It has one file, whose name changes with the engine and the migrations. */
const PREPARED = packageFile("../dist/new-database/");

/**
 * Afterwards `folder`, which must be empty, has the files of a new database, which the build has prepared with all migrations.
 * Fails with an EngineError if they can't be written; some of them may remain.
 */
export async function unpackNewDatabase(folder: string): Promise<void> {
  const [name] = readdirSync(PREPARED).filter((entry) => entry.endsWith(".tar.br"));
  if (name === undefined) throw new Error(`${fileURLToPath(PREPARED)} lacks the new database: build again`);
  // Only a first start needs the library.
  const { extract } = await import("tar");
  try {
    extract({
      file: fileURLToPath(new URL(name, PREPARED)),
      cwd: folder,
      // If it ran asynchronously and failed, it could still be writing after this function returns.
      sync: true,
      strict: true,
      preserveOwner: false,
      noMtime: true,
      umask: OF_OTHERS,
    });
  } catch (error) {
    throw asEngineError(folder, error);
  }
}
