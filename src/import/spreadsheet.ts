import { FIELDS, type FieldName } from "../kyc/fields.ts";
import type { LineFault, RawValues } from "./fields.ts";

/** What spreadsheets call the first and the last day that could be meant: 1970-01-01 and 2099-12-31. */
const [FIRST_DAY, LAST_DAY] = [25_569, 73_050];

/** A long number as spreadsheets show it: its last digits are lost. */
const ROUNDED = /^\d(?:[.,]\d+)?E\+\d+$/i;

const TIMES = (Object.keys(FIELDS) as FieldName[]).filter((name) => FIELDS[name].kind === "time");

/** The cells that a spreadsheet has changed so that they would be read as another value. */
export function findSpreadsheetFaults(values: RawValues): LineFault[] {
  const faults: LineFault[] = [];
  for (const field of TIMES) {
    const day = Number(values[field]);
    if (day >= FIRST_DAY && day <= LAST_DAY)
      faults.push({ field, message: "is the number that a spreadsheet has for a day: format it as a time" });
  }
  for (const field of ["customerId", "documentNumber"] as const) {
    if (ROUNDED.test(String(values[field])))
      faults.push({ field, message: "is a number that a spreadsheet has rounded: format it as text" });
  }
  return faults;
}

/** The delimiter that a line before the header declares, as `sep=;` does; undefined: it is no such line. */
export function readSeparator(text: string | null): string | undefined {
  return /^"?sep=([,;|\t])"?$/i.exec(text?.trimStart() ?? "")?.[1];
}
