import { readServerAddress, type ServerAddress } from "./server-address.ts";

/** The address of the database: a server's URL, or the socket of the embedded database. */
export type DatabaseAddress = { url: string } | { socketPath: string };

/** The server at this address. Fails with a DatabaseUrlError. */
export function serverAt(address: DatabaseAddress): ServerAddress {
  return "url" in address ? readServerAddress(address.url, process.env) : embedded(address.socketPath);
}

/** The embedded database. It needs no password, because only its user can open its socket. */
function embedded(path: string): ServerAddress {
  return {
    ...{ hosts: [{ path }], user: "postgres", password: "", database: "postgres", writableOnly: false },
    ...{ connectTimeout: undefined, keepAlive: false, maxLifetime: undefined },
    tls: { mode: "disable", isDirect: false, namesServer: false, options: () => ({}) },
    session: { application_name: "kyc-gateway" },
  };
}
