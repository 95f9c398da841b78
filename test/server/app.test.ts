import { once } from "node:events";
import { connect } from "node:net";
import { setTimeout as wait } from "node:timers/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { listTokens, revokeToken } from "../../src/auth/tokens.ts";
import { createTestApp, type TestApp } from "../support/app.ts";

let gateway: TestApp;
let port: number;
beforeAll(async () => {
  gateway = await createTestApp();
  port = Number(new URL(await gateway.app.listen({ port: 0, host: "127.0.0.1" })).port);
});
afterAll(() => gateway.close());

const BODY = "customer_id=c&verification_status=pending&document_type=visa&document_number=1";

/** A request that has sent its headers and the first bytes of its body, and waits. */
async function beginUpload(token: string, path = "/v1/kyc", body = BODY) {
  const socket = connect(port, "127.0.0.1");
  await once(socket, "connect");
  const type = path === "/graphql" ? "application/json" : "application/x-www-form-urlencoded";
  socket.write(
    `POST ${path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${token}\r\nConnection: close\r\n` +
      `Content-Type: ${type}\r\nContent-Length: ${body.length}\r\n\r\n${body.slice(0, 10)}`,
  );
  return {
    socket,
    finish: async () => {
      let answer = "";
      socket.on("data", (chunk) => {
        answer += chunk;
      });
      socket.write(body.slice(10));
      await once(socket, "close");
      return answer;
    },
  };
}

test.each([
  ["/v1/kyc", BODY],
  ["/graphql", JSON.stringify({ query: "{ kycs { totalCount } }" })],
])("a token that is revoked while %s is being sent its body opens nothing", async (path, body) => {
  const token = await gateway.token("parked");
  const upload = await beginUpload(token, path, body);
  for (const { id, accountId } of await listTokens(gateway.db, gateway.keys)) {
    if (accountId === "parked") await revokeToken(gateway.db, gateway.keys, id, Date.now(), null);
  }
  await wait(1000);
  expect(await upload.finish()).toMatch(/^HTTP\/1.1 401 /);
  expect(await gateway.db.execute("select id from kycs where account_id = 'parked'")).toEqual([]);
});

test("a client that goes away while it sends is no failure of the gateway's", async () => {
  const token = await gateway.token("hasty");
  for (const path of ["/v1/kyc", "/graphql"]) {
    const { socket } = await beginUpload(token, path);
    await wait(200);
    socket.destroy();
  }
  await wait(500);
  expect(gateway.logged()).not.toContain("unforeseen");
});
