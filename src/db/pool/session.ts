/**
 * What a session must be like, whatever the defaults of the server, the database or the role are: texts of times and
 * numbers have one form, lists may hold nulls, and writes that meet wait for each other instead of failing.
 */
export const SESSION_SETTINGS: Readonly<Record<string, string>> = {
  DateStyle: "ISO, MDY",
  IntervalStyle: "postgres",
  TimeZone: "UTC",
  array_nulls: "on",
  bytea_output: "hex",
  default_transaction_deferrable: "off",
  default_transaction_isolation: "read committed",
  extra_float_digits: "1",
  idle_session_timeout: "0",
  lock_timeout: "0",
  standard_conforming_strings: "on",
  transform_null_equals: "off",
};

/** Those that a transaction can set for itself where a pooler refuses them at the start of a session. */
const LOCAL_SETTINGS = Object.keys(SESSION_SETTINGS).filter(
  (name) => !name.startsWith("default_transaction_") && name !== "idle_session_timeout",
);

/** Finds which of the settings a session lacks: their names. */
export const FIND_DEVIATIONS = `
  select name from pg_settings join (values ${Object.entries(SESSION_SETTINGS)
    .map(([name, value]) => `('${name}', '${value}')`)
    .join(", ")}) as wanted(name, value) using (name)
  where setting <> value`;

/** Gives a transaction the settings; its isolation comes with its beginning. */
export const SET_LOCAL = LOCAL_SETTINGS.map((name) => `set local ${name} = '${SESSION_SETTINGS[name]}'`).join(
  ";",
);
