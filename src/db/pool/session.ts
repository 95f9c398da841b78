/**
 * Settings that every session needs, regardless of the defaults of the server, the database or the role. They fix the
 * text form of times and numbers, allow nulls in arrays, and make concurrent writes wait for each other instead of fail.
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

/**
 * Settings that make statements fast. By default, PostgreSQL before version 19 compiles a statement whose plan looks
 * expensive (`jit`). Ours are short: with a million events, compiling takes two seconds for each look of the sealer, which
 * takes less than a millisecond without.
 */
export const FAST_SETTINGS: Readonly<Record<string, string>> = { jit: "off" };

/** Selects `compiles`: whether the server compiles statements in a session like this one. */
export const FIND_COMPILING = "select pg_jit_available() as compiles";

/** The settings that a transaction can set for itself if a pooler refuses them at the start of a session. */
const LOCAL_SETTINGS = Object.keys(SESSION_SETTINGS).filter(
  (name) => !name.startsWith("default_transaction_") && name !== "idle_session_timeout",
);

/** Selects the names of the settings that have another value in this session. */
export const FIND_DEVIATIONS = `
  select name from pg_settings join (values ${Object.entries(SESSION_SETTINGS)
    .map(([name, value]) => `('${name}', '${value}')`)
    .join(", ")}) as wanted(name, value) using (name)
  where setting <> value`;

/** Sets the settings for one transaction. BEGIN sets its isolation level. */
export const SET_LOCAL = [
  ...LOCAL_SETTINGS.map((name) => [name, SESSION_SETTINGS[name]]),
  ...Object.entries(FAST_SETTINGS),
]
  .map(([name, value]) => `set local ${name} = '${value}'`)
  .join(";");
