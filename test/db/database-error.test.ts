import { expect, test } from "vitest";
import { DatabaseError, withoutValues } from "../../src/db/database-error.ts";
import { connect } from "../../src/db/pool/pool.ts";
import { createTestDatabase } from "../support/database.ts";

const withCode = (code: string) => Object.assign(new Error("of 'a value'"), { code });

test.each(["08006", "25006", "25P03", "25P04", "40001", "53100", "55P03", "57014", "58030", "58P01"])(
  "SQLSTATE %s says that the database can't serve now",
  (code) => {
    expect(withoutValues(withCode(code))).toMatchObject({ code: "UNAVAILABLE", cause: { code } });
  },
);

test.each(["22P02", "23505", "25P02", "42601", "XX000"])("SQLSTATE %s is a refusal", (code) => {
  const failure = withoutValues(withCode(code));
  expect(failure).toBeInstanceOf(DatabaseError);
  expect(failure).toMatchObject({ code, message: expect.not.stringContaining("a value") });
});

test.each(["ECONNREFUSED", "EPIPE", "EAI_AGAIN", "EAI_NODATA", "CONNECT_TIMEOUT", "CONNECTION_CLOSED"])(
  "%s says that the database can't be reached",
  (code) => {
    expect(withoutValues(withCode(code))).toMatchObject({ code: "UNAVAILABLE" });
  },
);

test("a fault of ours is no fault of the database's", () => {
  const error = withCode("ERR_INVALID_ARG_TYPE");
  expect(withoutValues(error)).toBe(error);
});

test("the server's own words for an idle transaction and a host without a name are understood", async () => {
  const database = await createTestDatabase();
  const idle = database.db.transaction(async (tx) => {
    await tx.execute("set local idle_in_transaction_session_timeout = 50");
    await new Promise((resolve) => setTimeout(resolve, 300));
    await tx.execute("select 1");
  });
  await expect(idle).rejects.toMatchObject({ code: "UNAVAILABLE" });
  await database.drop();
  const nowhere = connect({
    ...{ address: { url: "postgres://user@no-such-host.invalid/db" }, poolSize: 1, prepare: true },
  });
  await expect(nowhere.send("select 1", [])).rejects.toMatchObject({ code: "UNAVAILABLE" });
  await nowhere.close();
});
