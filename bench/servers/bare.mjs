// Reference (a): what someone writes by hand who wants nothing but these requests to be fast. It has none of the
// gateway's duties.
import { createServer } from "node:http";
import { createAnswers, send } from "./answers.mjs";
import { announce, connect } from "./connect.mjs";
import { openRecords } from "./records.mjs";

const answer = createAnswers(openRecords(connect()));
const call = { viewer: { accountId: String(process.env.ACCOUNT) } };

const server = createServer(async (request, response) => send(response, await answer(call, request)));
await announce(server.listen(Number(process.env.PORT), "127.0.0.1"));
