// Ten connections that ask questions of every kind for so many milliseconds and compare each answer with its
// question. Prints {"asked", "wrong"}: a count, and the first few that went wrong.
// Arguments: the socket, how long, and what to call the rows of this process.
import assert from "node:assert/strict";
import postgres from "postgres";

const [path, duration, name] = process.argv.slice(2);
const sql = postgres({ path, database: "postgres", username: "postgres", max: 10, onnotice: () => {} });
const deadline = Date.now() + Number(duration);
const wrong = [];
let asked = 0;

const questions = [
  async (n) =>
    assert.deepEqual(
      [...(await sql.unsafe(`select ${n} as n, $1::text as w`, [`w${n}`]))],
      [{ n, w: `w${n}` }],
    ),
  async (n) => assert.deepEqual([...(await sql`select ${n}::int * 2 as twice`)], [{ twice: n * 2 }]),
  async (n) =>
    assert.deepEqual([...(await sql.unsafe(`select ${n} + 1 as next`).simple())], [{ next: n + 1 }]),
  async (n) => assert.rejects(sql.unsafe(`select 1 / (${n} - ${n})`), { code: "22012" }),
  async (n) => {
    const text = `${n}`.padEnd(200_000, "x");
    const [row] = await sql`select ${text}::text as back`;
    assert.ok(row.back === text);
  },
  async (n) => {
    const mark = `${name} ${n}`;
    await sql.begin(async (tx) => {
      await tx`insert into asked (mark) values (${mark})`;
      const rows = await tx`select mark from asked where mark = ${mark}`;
      assert.deepEqual([...rows], [{ mark }]);
    });
  },
  async (n) => {
    const failing = sql.begin(async (tx) => {
      await tx`insert into asked (mark) values (${`${name} rolled back ${n}`})`;
      await tx`select ${"x"}::text::int`;
    });
    await assert.rejects(failing, { code: "22P02" });
  },
];

async function ask(first) {
  for (let n = first; Date.now() < deadline; n += 10) {
    asked += 1;
    await questions[n % questions.length](n).catch((error) => wrong.push(`${n}: ${error.message}`));
  }
}

await Promise.all(Array.from({ length: 10 }, (_, first) => ask(first)));
console.log(JSON.stringify({ asked, wrong: wrong.slice(0, 5) }));
await sql.end({ timeout: 1 });
