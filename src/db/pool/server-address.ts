import { readFileSync, statSync } from "node:fs";
import { homedir, userInfo } from "node:os";
import { join } from "node:path";
import {
  type ConnectionParameters,
  DatabaseUrlError,
  parseConnectionUrl,
  quoteName,
} from "./connection-url.ts";
import { readTls, type TlsSettings } from "./tls-settings.ts";

export type Env = Record<string, string | undefined>;

/** One server: its name or address and its port, or the socket of a server on this machine. */
export type Host = { host: string; address: string; port: number } | { path: string };

/** How to reach a database, and as which user. */
export interface ServerAddress {
  /** In the order in which they are tried. */
  hosts: [Host, ...Host[]];
  user: string;
  password: string;
  database: string;
  tls: TlsSettings;
  /** Whether to leave a read-only server and try the next host. */
  writableOnly: boolean;
  /** Time limit of one attempt with one host. Milliseconds; undefined: not specified. */
  connectTimeout: number | undefined;
  /** Seconds of silence after which the connection is probed; false: never. */
  keepAlive: number | false;
  /** How long a connection may be used. Milliseconds; undefined: not specified. */
  maxLifetime: number | undefined;
  /** Settings that the server gets at the start of a session. */
  session: Record<string, string>;
}

/** The environment variables for parameters that a URL may omit. */
const FROM_ENV: Record<string, string> = {
  ...{ host: "PGHOST", hostaddr: "PGHOSTADDR", port: "PGPORT", dbname: "PGDATABASE", user: "PGUSER" },
  ...{ password: "PGPASSWORD", passfile: "PGPASSFILE", options: "PGOPTIONS", service: "PGSERVICE" },
  ...{
    application_name: "PGAPPNAME",
    connect_timeout: "PGCONNECT_TIMEOUT",
    client_encoding: "PGCLIENTENCODING",
  },
  ...{ sslmode: "PGSSLMODE", sslcert: "PGSSLCERT", sslkey: "PGSSLKEY", sslrootcert: "PGSSLROOTCERT" },
  ...{ sslcrl: "PGSSLCRL", sslnegotiation: "PGSSLNEGOTIATION", sslsni: "PGSSLSNI" },
  ...{
    ssl_min_protocol_version: "PGSSLMINPROTOCOLVERSION",
    ssl_max_protocol_version: "PGSSLMAXPROTOCOLVERSION",
  },
  ...{ gssencmode: "PGGSSENCMODE", channel_binding: "PGCHANNELBINDING", requirepeer: "PGREQUIREPEER" },
  ...{ require_auth: "PGREQUIREAUTH", target_session_attrs: "PGTARGETSESSIONATTRS" },
  ...{ load_balance_hosts: "PGLOADBALANCEHOSTS" },
};

const KNOWN = new Set([
  ...Object.keys(FROM_ENV),
  ...[
    "fallback_application_name",
    "keepalives",
    "keepalives_idle",
    "keepalives_interval",
    "keepalives_count",
  ],
  ...["tcp_user_timeout", "sslcompression", "sslpassword", "krbsrvname", "gsslib", "gssdelegation"],
  ...["replication", "max_lifetime"],
]);

/** The supported values of parameters. The gateway has no use for the others, or the driver does not support them. */
const CHOICES: Record<string, { values: readonly string[]; otherwise?: string }> = {
  sslmode: { values: ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"] },
  sslnegotiation: { values: ["postgres", "direct"] },
  channel_binding: { values: ["disable", "prefer", "require"] },
  gssencmode: { values: ["disable", "prefer"], otherwise: "GSSAPI is not supported" },
  target_session_attrs: {
    values: ["any", "read-write", "primary"],
    otherwise: "the gateway writes, and needs a server that takes writes",
  },
  load_balance_hosts: { values: ["disable", "random"] },
  client_encoding: { values: ["utf8", "utf-8", "unicode", "auto"], otherwise: "the gateway speaks UTF8" },
  replication: { values: ["false", "off", "no", "0"], otherwise: "the gateway does not replicate" },
  keepalives: { values: ["0", "1"] },
  sslsni: { values: ["0", "1"] },
};

/** Parameters that the gateway does not support. It refuses them rather than ignore them. */
const UNSUPPORTED = ["service", "requirepeer", "require_auth"];
const NUMBERS = [
  "connect_timeout",
  "keepalives_idle",
  "keepalives_interval",
  "keepalives_count",
  "max_lifetime",
];

const DEFAULT_PORT = 5432;
const KEEP_ALIVE_SECONDS = 60;

/**
 * The address of the database, from its URL. As with psql, what the URL omits comes from the PG* environment variables,
 * and the password from the password file. Fails with a DatabaseUrlError, whose message contains no value of either.
 */
export function readServerAddress(url: string, env: Env): ServerAddress {
  const given = parseConnectionUrl(url);
  requireKnown(given);
  const all: ConnectionParameters = {};
  for (const [name, variable] of Object.entries(FROM_ENV)) if (env[variable]) all[name] = env[variable];
  for (const [name, value] of Object.entries(given)) if (value !== "") all[name] = value;
  requireUsable(all, given);
  const hosts = readHosts(all);
  const user = all.user ?? userInfo().username;
  const database = all.dbname ?? user;
  const seconds = (name: string) => (all[name] === undefined ? undefined : Number(all[name]));
  const password =
    all.password ?? findPassword(all.passfile ?? join(homedir(), ".pgpass"), hosts[0], database, user);
  return {
    hosts,
    user,
    database,
    password: normalize(password ?? ""),
    tls: readTls(all),
    writableOnly: hosts.length > 1 || (all.target_session_attrs ?? "any") !== "any",
    // Zero means no limit; libpq treats one second as two.
    connectTimeout: seconds("connect_timeout")
      ? Math.max(2, seconds("connect_timeout") ?? 0) * 1000
      : undefined,
    keepAlive: all.keepalives === "0" ? false : seconds("keepalives_idle") || KEEP_ALIVE_SECONDS,
    maxLifetime: seconds("max_lifetime") ? (seconds("max_lifetime") ?? 0) * 1000 : undefined,
    session: {
      application_name: all.application_name ?? all.fallback_application_name ?? "kyc-gateway",
      ...(all.options !== undefined && { options: all.options }),
    },
  };
}

/** Normalises a password for SCRAM (most of RFC 4013), as the server has done. The driver does not. */
function normalize(password: string): string {
  return password
    .replace(/[\u00a0\u2000-\u200a\u202f\u205f\u3000]/g, " ")
    .replace(/\u00ad/g, "")
    .normalize("NFKC");
}

/** The address of a database for messages, without user and password. */
export function describeAddress({ hosts, database }: ServerAddress): string {
  const names = hosts.map((one) =>
    "path" in one ? one.path : `${one.host.includes(":") ? `[${one.host}]` : one.host}:${one.port}`,
  );
  return `${names.join(",")}/${database}`;
}

/** Whether traffic to the database stays on this machine. */
export function isLoopback({ hosts }: ServerAddress): boolean {
  return hosts.every((one) => "path" in one || /^(localhost|::1|127(\.\d+){3})$/.test(one.address));
}

function requireKnown(given: ConnectionParameters): void {
  const unknown = Object.keys(given).filter((name) => !KNOWN.has(name));
  if (unknown.length === 0) return;
  throw new DatabaseUrlError(
    `has ${unknown.length === 1 ? "a parameter" : "parameters"} that PostgreSQL's own programs do not know: ` +
      `${unknown.map(quoteName).join(", ")}. Remove ${unknown.length === 1 ? "it" : "them"}; a setting of the server ` +
      "goes into options=-cname%3Dvalue",
  );
}

function requireUsable(all: ConnectionParameters, given: ConnectionParameters): void {
  const describe = (name: string) =>
    given[name] === undefined ? `needs another ${FROM_ENV[name]}` : `needs another ${name}`;
  for (const name of UNSUPPORTED) {
    if (all[name] !== undefined) {
      throw new DatabaseUrlError(
        `can't be used with ${given[name] === undefined ? FROM_ENV[name] : name}: the gateway does not support it`,
      );
    }
  }
  for (const [name, { values, otherwise }] of Object.entries(CHOICES)) {
    const value = all[name]?.toLowerCase();
    if (value === undefined || values.includes(value)) continue;
    throw new DatabaseUrlError(
      `${describe(name)}: one of ${values.join(", ")}${otherwise ? ` (${otherwise})` : ""}`,
    );
  }
  for (const name of NUMBERS) {
    if (all[name] !== undefined && !/^-?\d{1,9}$/.test(all[name].trim())) {
      throw new DatabaseUrlError(`${describe(name)}: a whole number of seconds`);
    }
  }
}

function readHosts(all: ConnectionParameters): [Host, ...Host[]] {
  const names = all.host?.split(",") ?? [];
  const addresses = all.hostaddr?.split(",") ?? [];
  const ports = (all.port ?? "").split(",");
  const count = Math.max(names.length, addresses.length, 1);
  if (names.length > 0 && addresses.length > 0 && names.length !== addresses.length) {
    throw new DatabaseUrlError("has another number of hosts than of host addresses");
  }
  if (ports.length > 1 && ports.length !== count) {
    throw new DatabaseUrlError("has another number of ports than of hosts");
  }
  const hosts = Array.from({ length: count }, (_, index) => {
    const port = readPort((ports.length === 1 ? ports[0] : ports[index]) ?? "");
    const name = names[index] ?? "";
    const address = addresses[index] || name;
    if (address === "") return localHost(port);
    if (address.startsWith("/")) return { path: `${address}/.s.PGSQL.${port}` };
    // A socket in Linux's abstract namespace.
    if (address.startsWith("@")) return { path: `\0${address.slice(1)}/.s.PGSQL.${port}` };
    return { host: name || address, address, port };
  });
  if (all.load_balance_hosts === "random") hosts.sort(() => Math.random() - 0.5);
  return hosts as [Host, ...Host[]];
}

function readPort(text: string): number {
  if (text === "") return DEFAULT_PORT;
  const port = Number(text);
  if (/^\d{1,5}$/.test(text) && port >= 1 && port <= 65_535) return port;
  throw new DatabaseUrlError("has a port that is not a number from 1 to 65535");
}

/** Default socket folders: of Debian and Red Hat, and of PostgreSQL built with its own defaults. */
const SOCKET_FOLDERS = ["/var/run/postgresql", "/tmp"];

/** The server on this machine, through its socket if there is one, as in psql. */
function localHost(port: number): Host {
  const paths = SOCKET_FOLDERS.map((folder) => `${folder}/.s.PGSQL.${port}`);
  const path = paths.find((one) => statSync(one, { throwIfNoEntry: false })?.isSocket());
  return path === undefined ? { host: "localhost", address: "localhost", port } : { path };
}

/** The password of the first matching line in a libpq password file. Files that other users can read are ignored. */
function findPassword(file: string, host: Host, database: string, user: string): string | undefined {
  const found = statSync(file, { throwIfNoEntry: false });
  if (!found?.isFile() || (found.mode & 0o077) !== 0) return undefined;
  const wanted = "path" in host ? ["localhost", host.path.split(".").at(-1)] : [host.host, String(host.port)];
  for (const line of readFileSync(file, "utf8").split("\n")) {
    if (line.startsWith("#")) continue;
    const fields = (line.match(/(?:\\.|[^:\\])*(?::|$)/g) ?? []).map((field) =>
      field.replace(/:$/, "").replace(/\\(.)/g, "$1"),
    );
    const fits = [...wanted, database, user].every(
      (value, index) => fields[index] === "*" || fields[index] === value,
    );
    if (fits) return fields[4];
  }
  return undefined;
}
