// Shared by all references: the connections to PostgreSQL, and printing the address.
import { once } from "node:events";
import postgres from "postgres";

/** Runs one statement, prepared on each connection: the text with its values, and then the rows. */
/** @typedef {(text: string, values: any[]) => Promise<any[]>} Run */

/** Opens the connections that the environment names. @returns {Run} */
export function connect() {
  const { DATABASE_URL, DATABASE_POOL_SIZE } = process.env;
  const sql = postgres(String(DATABASE_URL), { max: Number(DATABASE_POOL_SIZE), fetch_types: false });
  return (text, values) => sql.unsafe(text, values, { prepare: true });
}

/** Prints the address of the server on stdout, for the bench. @param {import("node:http").Server} server */
export async function announce(server) {
  if (!server.listening) await once(server, "listening");
  const { port } = /** @type {import("node:net").AddressInfo} */ (server.address());
  console.log(`http://127.0.0.1:${port}`);
}
