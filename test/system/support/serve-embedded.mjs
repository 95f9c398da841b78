// Opens the embedded database in the folder given and says "ready", or "refused" where another process has it.
// Ends in good order on SIGTERM.
import { DataDirInUseError, openEmbedded } from "../../../dist/db/embedded.js";

try {
  const database = await openEmbedded(process.argv[2], { onWarning: (text) => console.error(text) });
  console.log("ready");
  process.on("SIGTERM", async () => {
    await database.close();
    process.exit(0);
  });
} catch (error) {
  if (!(error instanceof DataDirInUseError)) throw error;
  console.log(`refused ${error.message}`);
}
