import type { Executor } from "./client.ts";

/** The database's encoding can't store every text. The message says what to do. */
export class EncodingError extends Error {
  override readonly name = "EncodingError";
}

/** Fails with an EncodingError unless the database can store all of Unicode. */
export async function requireUtf8(db: Executor): Promise<void> {
  const [row] = await db.execute<{ encoding: string; name: string }>(
    "select current_setting('server_encoding') as encoding, current_database() as name",
  );
  if (!row || row.encoding === "UTF8") return;
  throw new EncodingError(
    `the database ${row.name} has the encoding ${row.encoding}, which lacks characters of many names. Use one that is ` +
      "made with: CREATE DATABASE … ENCODING 'UTF8' LOCALE 'C.UTF-8' TEMPLATE template0",
  );
}
