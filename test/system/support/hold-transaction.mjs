// Inserts into the table "asked" in a transaction, says "holding" and then does nothing until it is killed.
import postgres from "postgres";

const sql = postgres({ path: process.argv[2], database: "postgres", username: "postgres", max: 1 });
await sql.begin(async (tx) => {
  await tx`insert into asked (mark) values ('never committed')`;
  console.log("holding");
  await new Promise((resolve) => setTimeout(resolve, 60_000));
});
