// Opens the embedded database in the given folder and prints "ready", or "refused" if another process has it open.
// Closes it and ends on SIGTERM.
import { loadSource } from "../../support/load-source.mjs";

const { openEmbedded } = await loadSource("db/embedded/embedded.ts");
try {
  const database = await openEmbedded(process.argv[2], { onWarning: (text) => console.error(text) });
  console.log("ready");
  process.on("SIGTERM", async () => {
    await database.close();
    process.exit(0);
  });
} catch (error) {
  if (error.name !== "DataDirInUseError") throw error;
  console.log(`refused ${error.message}`);
}
