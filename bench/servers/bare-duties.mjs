// Reference (a) with the gateway's duties: `duties.mjs` has those towards a request, `sealed-records.mjs` those towards
// a record.
import { createServer } from "node:http";
import { createAnswers, send } from "./answers.mjs";
import { announce, connect } from "./connect.mjs";
import { HEADERS, logAnswered, newRequestId, openTokens } from "./duties.mjs";
import { openSealedRecords } from "./sealed-records.mjs";

const run = connect();
const findViewer = openTokens(run);
const answer = createAnswers(openSealedRecords(run));
const headers = Object.entries(HEADERS).flat();

const server = createServer(async (request, response) => {
  const came = performance.now();
  const requestId = newRequestId();
  const viewer = await findViewer(request.headers.authorization).catch(() => undefined);
  const answered = viewer
    ? await answer({ viewer, requestId }, request)
    : { status: 401, body: { error: { code: "unauthenticated" } }, route: String(request.url) };
  response.once("finish", () => {
    const { status, route, operation } = answered;
    const ms = performance.now() - came;
    logAnswered({ requestId, method: request.method, route, status, ms, viewer, operation });
  });
  send(response, answered, [...headers, "request-id", requestId]);
});
await announce(server.listen(Number(process.env.PORT), "127.0.0.1"));
