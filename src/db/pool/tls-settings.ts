import { existsSync, readFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import type { ConnectionOptions, SecureVersion } from "node:tls";
import { type ConnectionParameters, DatabaseUrlError } from "./connection-url.ts";

/** The TLS settings of a connection. */
export interface TlsSettings {
  /** `prefer`: use TLS if the server supports it. */
  mode: "disable" | "prefer" | "require";
  /** Whether TLS starts without asking the server first. */
  isDirect: boolean;
  /** Whether the server's name is sent (SNI). */
  namesServer: boolean;
  /** Reads the files again for each connection, because they may have been replaced. Fails if one can't be read. */
  options(): ConnectionOptions;
}

const VERSIONS: Record<string, SecureVersion> = {
  tlsv1: "TLSv1",
  "tlsv1.1": "TLSv1.1",
  "tlsv1.2": "TLSv1.2",
  "tlsv1.3": "TLSv1.3",
};

/** The TLS settings that these parameters specify, as libpq interprets them. Fails with a DatabaseUrlError. */
export function readTls(all: ConnectionParameters): TlsSettings {
  const home = (name: string) => {
    const path = join(homedir(), ".postgresql", name);
    return existsSync(path) ? path : undefined;
  };
  const isDirect = all.sslnegotiation === "direct";
  const usesSystem = all.sslrootcert === "system";
  const sslmode = all.sslmode ?? (usesSystem ? "verify-full" : isDirect ? "require" : "prefer");
  const root = usesSystem ? undefined : (all.sslrootcert ?? home("root.crt"));
  // The driver does not support channel binding. Verifying the certificate stops the same attackers.
  const bindsChannel = all.channel_binding === "require";
  const mode = sslmode === "disable" ? "disable" : /^(allow|prefer)$/.test(sslmode) ? "prefer" : "require";
  if (mode !== "require" && (isDirect || bindsChannel || usesSystem)) {
    const cause = isDirect
      ? "sslnegotiation=direct"
      : bindsChannel
        ? "channel_binding=require"
        : "sslrootcert=system";
    throw new DatabaseUrlError(`needs sslmode=verify-full with ${cause}`);
  }
  const verifiesChain = root !== undefined || usesSystem || bindsChannel || sslmode.startsWith("verify-");
  const verifiesName = sslmode === "verify-full" || (bindsChannel && root === undefined);
  const read = (path: string | undefined) => (path === undefined ? undefined : readFileSync(path));
  const version = (name: string) => readVersion(all[name], name);
  const versions = {
    minVersion: version("ssl_min_protocol_version") ?? "TLSv1.2",
    maxVersion: version("ssl_max_protocol_version") ?? "TLSv1.3",
  };
  const cert = all.sslcert ?? home("postgresql.crt");
  const key = all.sslkey ?? home("postgresql.key");
  return {
    mode,
    isDirect,
    namesServer: all.sslsni !== "0",
    options: () => {
      const files = { ca: read(root), crl: read(all.sslcrl), cert: read(cert), key: read(cert && key) };
      return {
        ...Object.fromEntries(Object.entries(files).filter(([, file]) => file !== undefined)),
        ...versions,
        ...(all.sslpassword !== undefined && { passphrase: all.sslpassword }),
        rejectUnauthorized: verifiesChain,
        ...(!verifiesName && { checkServerIdentity: () => undefined }),
      };
    },
  };
}

function readVersion(text: string | undefined, name: string): SecureVersion | undefined {
  if (text === undefined) return undefined;
  const version = VERSIONS[text.toLowerCase()];
  if (version === undefined) throw new DatabaseUrlError(`needs another ${name}: one of TLSv1.2, TLSv1.3`);
  return version;
}
