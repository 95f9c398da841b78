// What the ledger costs: sealing events of one transaction and of many, and verifying and exporting a log.
import postgres from "postgres";
import { cpuMicros, waitFor } from "./children.mjs";
import { watchCommand } from "./gateway.mjs";
import { startServer } from "./servers.mjs";

/** Events of one transaction, if there are many transactions. */
const FEW = 100;
/** From one look at a process to the next. Milliseconds. */
const LOOK_MS = 50;
/** How long sealing may take. Milliseconds. */
const MOST_MS = 1_800_000;

/** @typedef {{ what: string, perSecond: number, cpu: number }} Sealing CPU of the gateway's process, in µs for an event */
/** @typedef {{ events: number, sealing: Sealing[], runs: import("./gateway.mjs").CommandRun[] }} Ledger */

/**
 * @param {import("./session.mjs").Session} session
 * @param {import("./options.mjs").Options} options
 * @param {(line: string) => void} say
 * @returns {Promise<Ledger>}
 */
export async function measureLedger({ database, folder }, { events, pool }, say) {
  const sql = postgres(database, { max: 1, onnotice: () => {} });
  try {
    const sealing = [];
    for (const [what, size] of /** @type {const} */ ([
      ["one-transaction", events],
      [`transactions-of-${FEW}`, FEW],
    ])) {
      say(`writing ${events.toLocaleString("en")} events in ${what} …`);
      await write(sql, what, events, size);
      const server = await startServer("gateway", { database, pool, folder });
      sealing.push({ what, ...(await watch(sql, what, events, server.pid)) });
      await server.stop();
      say(`sealed ${what}: ${Math.round(Number(sealing.at(-1)?.perSecond))}/s`);
    }
    const runs = [];
    for (const command of ["verify", "export"]) {
      const args = ["audit", command, "--account", "one-transaction"];
      runs.push(await watchCommand(args, { database, folder, output: "/dev/null" }));
      say(`audit ${command}: ${runs.at(-1)?.seconds.toFixed(1)} s`);
    }
    return { events, sealing, runs };
  } finally {
    await sql.end({ timeout: 5 });
  }
}

/**
 * Waits until an account's events are sealed. The figures are those of the last nine tenths: the start is left out.
 *
 * @param {postgres.Sql} sql
 * @param {string} account
 * @param {number} events
 * @param {number} pid
 */
async function watch(sql, account, events, pid) {
  const reach = (/** @type {number} */ wanted) =>
    waitFor(
      async () => {
        const [head] = await sql`select size::float8 from ledger_heads where account_id = ${account}`;
        return head?.size >= wanted
          ? { size: head?.size, at: performance.now(), cpu: cpuMicros(pid) }
          : undefined;
      },
      { timeout: MOST_MS, interval: LOOK_MS, what: `${wanted} events of ${account} to be sealed` },
    );
  const first = await reach(events / 10);
  const last = await reach(events);
  const sealed = last.size - first.size;
  return { perSecond: (1000 * sealed) / (last.at - first.at), cpu: (last.cpu - first.cpu) / sealed };
}

/**
 * Writes events about records of their own, as the gateway's statements do.
 *
 * @param {postgres.Sql} sql
 * @param {string} account
 * @param {number} events
 * @param {number} size events of one transaction
 */
async function write(sql, account, events, size) {
  await sql.unsafe(`do $$ begin for turn in 1 .. ${Math.ceil(events / size)} loop
    with event as (
      insert into audit_events (account_id, at, token_id, token_name, surface, request_id, action, kyc_ids, changed_fields,
        status_after, document_type_after, version_after, has_customers)
      select '${account}', clock_timestamp(), 'tok_0123456789', 'bench', 'rest', 'req_' || turn, 'created',
        array[lpad(turn || '-' || n, 16, '0')], '{}', 'pending', 'passport', 1, true
      from generate_series(1, ${size}) as n
      returning account_id, kyc_ids[1] as id, sequence
    ),
    about as (insert into audit_event_records (account_id, kyc_id, sequence) select * from event)
    insert into audit_event_customers (account_id, customer_digest, sequence)
    select account_id, substring(sha256(id::bytea) for 16), sequence from event;
    commit;
  end loop; end $$`);
}

/** @param {Ledger} ledger @param {(line: string) => void} print */
export function printLedger({ events, sealing, runs }, print) {
  print(`\n${events.toLocaleString("en")} events`);
  for (const { what, perSecond, cpu } of sealing)
    print(`sealed, of ${what}: ${Math.round(perSecond)}/s, ${cpu.toFixed(1)} µs CPU for each`);
  for (const { command, seconds, cpu, peak } of runs)
    print(`${command}: ${seconds.toFixed(1)} s, ${cpu.toFixed(1)} s CPU, peak ${peak.toFixed(0)} MB`);
}
