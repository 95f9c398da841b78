import { VARIABLES } from "./config.ts";

/** A line for each variable of the environment that is probably a mistake, without its value. */
export function findConfigHints(env: Record<string, string | undefined>): string[] {
  const set = Object.keys(env).filter((name) => env[name] !== undefined && env[name] !== "");
  return [...set.flatMap(findMisspelt), ...findUnused((name) => set.includes(name), env)];
}

/** Ignores other programs' variables, unless a name is very close to one of ours. */
function findMisspelt(name: string): string[] {
  if (VARIABLES.includes(name)) return [];
  const plain = name.toUpperCase().replaceAll("-", "_");
  const meant = VARIABLES.find((known) => isClose(plain, known));
  return meant === undefined ? [] : [`${name} is not a setting of the gateway. Is ${meant} meant?`];
}

/** In a shorter name, one wrong letter can make another word, so only swapped letters count as a mistake. */
const LONG_NAME = 7;

function isClose(name: string, known: string): boolean {
  if (name === known || isSwapped(name, known)) return true;
  const [shorter, longer] = name.length < known.length ? [name, known] : [known, name];
  if (known.length < LONG_NAME || longer.length - shorter.length > 1) return false;
  const start = [...shorter].findIndex((letter, at) => letter !== longer[at]);
  if (start === -1) return true;
  const rest = shorter.length === longer.length ? start + 1 : start;
  return shorter.slice(rest) === longer.slice(start + 1);
}

function isSwapped(name: string, known: string): boolean {
  const at = [...name].findIndex((letter, index) => letter !== known[index]);
  if (at === -1 || name.length !== known.length) return false;
  return name.slice(0, at) + name.charAt(at + 1) + name.charAt(at) + name.slice(at + 2) === known;
}

/** The protocols in which spans can be exported. */
const PROTOCOLS = new Set(["http/json", "http/protobuf"]);

/** Settings that have no effect because of another one. */
function findUnused(has: (name: string) => boolean, env: Record<string, string | undefined>): string[] {
  const hints: string[] = [];
  const unused = (name: string, because: string) =>
    has(name) && hints.push(`${name} has no effect ${because}`);
  for (const name of ["JWT_ACCOUNT", "JWT_ACCOUNT_CLAIM", "JWT_SCOPE_CLAIM", "JWT_SCOPE_MAP"])
    if (!has("JWT_ISSUER")) unused(name, "without JWT_ISSUER, JWT_AUDIENCE and JWT_JWKS_URL");
  if (has("JWT_ACCOUNT")) unused("JWT_ACCOUNT_CLAIM", "if JWT_ACCOUNT is set");
  if (env.PERSISTED_OPERATIONS_MODE === "off")
    unused("PERSISTED_OPERATIONS", "if PERSISTED_OPERATIONS_MODE is off");
  if (env.PERSISTED_OPERATIONS_MODE === "only") unused("GRAPHIQL", "if PERSISTED_OPERATIONS_MODE is only");
  for (const name of ["OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"])
    if (!PROTOCOLS.has(env[name] ?? "")) unused(name, "unless it is http/json or http/protobuf");
  if (!has("DATABASE_URL"))
    for (const name of ["DATABASE_POOL_SIZE", "DATABASE_PREPARE"]) unused(name, "with the embedded database");
  if (Number(env.MAX_CONCURRENT_REQUESTS) > Number(env.MAX_CONNECTIONS))
    unused("MAX_CONCURRENT_REQUESTS", "above MAX_CONNECTIONS: a connection has one request in progress");
  if (Number(env.DATABASE_QUEUE_LIMIT) < Number(env.DATABASE_POOL_SIZE))
    unused("DATABASE_POOL_SIZE", "above DATABASE_QUEUE_LIMIT");
  return hints;
}
