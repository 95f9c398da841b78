import { Command, InvalidArgumentError } from "commander";
import { requireKeySource } from "../sealing/open-keyring.ts";
import { addSealCounts } from "../sealing/seal-counts.ts";
import { CommandFailure, nameDatabase, withDatabase } from "./command.ts";
import { ACCOUNT_NAME } from "./names.ts";
import { openKeys } from "./open-keys.ts";
import { say } from "./print.ts";

const MOST_RECORDS = 100_000;

function parseCount(text: string): number {
  const count = /^\d{1,9}$/.test(text) ? Number(text) : 0;
  if (count >= 1 && count <= MOST_RECORDS) return count;
  throw new InvalidArgumentError(`It must be an integer from 1 to ${MOST_RECORDS}.`);
}

interface Options {
  account: string;
  records: number;
  again: boolean;
}

/** The command that fills an account. */
export function demoCommand(): Command {
  return new Command("demo")
    .description("fill an account with made-up records to explore")
    .option("--account <account>", "which account", ACCOUNT_NAME, "demo")
    .option("--records <count>", "how many records", parseCount, 200)
    .option("--again", "add them even if the account has records", false)
    .action(fill);
}

async function fill(options: Options): Promise<void> {
  const { account, records } = options;
  const step = Math.ceil(records / 4);
  const showProgress = (made: number) => {
    if (made === 1) say(`Making ${records} records in the account ${account} …`);
    if (made % step === 0 && made < records) say(`  ${made} of ${records}`);
  };
  const filled = await withDatabase(
    async (scene) => {
      const { db } = scene;
      const keys = await openKeys(scene);
      const { fillDemo } = await import("../demo/fill-demo.ts");
      const filled = await fillDemo({ db, keys }, { ...options, now: Date.now() }, showProgress);
      await addSealCounts(db, keys);
      return filled;
    },
    (config) => {
      requireKeySource(config);
      nameDatabase(config);
    },
  );
  if (!filled) throw new CommandFailure(`the account ${account} has records already; --again adds to them`);
  say(`The account ${account} has ${records} more records.`);
}
