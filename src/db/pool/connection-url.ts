/** The parameters of a connection URL under libpq's names. Hosts and ports are comma-separated lists. */
export type ConnectionParameters = Partial<Record<string, string>>;

/** A database URL can't be used. The message says why, and never repeats a user, a password or a value. */
export class DatabaseUrlError extends Error {
  override readonly name = "DatabaseUrlError";
}

/**
 * Parses a URL as libpq does. This differs from web URLs: there can be several hosts, a `+` is a plus sign, and a host
 * can be the path of a folder. Fails with a DatabaseUrlError.
 */
export function parseConnectionUrl(url: string): ConnectionParameters {
  const scheme = /^postgres(?:ql)?:\/\//.exec(url)?.[0];
  if (scheme === undefined)
    throw new DatabaseUrlError("must be a URL such as postgres://user@host:5432/name");
  const rest = url.slice(scheme.length);
  const [beforeQuery, query] = splitAt(rest, "?");
  if (query?.includes("@") && !beforeQuery.includes("@")) {
    throw new DatabaseUrlError("has an @ after its first ?: a ? in a user or password is written %3F");
  }
  // libpq ends the credentials at the first @ before any slash.
  const [, credentials, place] = /^(?:([^@/]*)@)?(.*)$/s.exec(beforeQuery) as unknown as string[];
  const [authority, path] = splitAt(place ?? "", "/");
  const [user, password] = splitAt(credentials ?? "", ":");
  const parameters: ConnectionParameters = {
    ...parseHosts(authority),
    ...(user && { user: decode(user, "user") }),
    ...(password && { password: decode(password, "password") }),
    ...(path && { dbname: decode(path, "database name") }),
  };
  for (const pair of query ? query.split("&") : []) Object.assign(parameters, parseOption(pair));
  return parameters;
}

function parseHosts(authority: string): ConnectionParameters {
  const hosts: string[] = [];
  const ports: string[] = [];
  for (const one of authority.split(",")) {
    const parts = /^(?:\[([^\]]+)\]|([^[\]:]*))(?::(.*))?$/.exec(one);
    if (!parts)
      throw new DatabaseUrlError("has a host that can't be read. An IPv6 address has brackets: [::1]");
    hosts.push(decode(parts[1] ?? parts[2] ?? "", "host"));
    ports.push(decode(parts[3] ?? "", "port"));
  }
  return {
    ...(hosts.some((host) => host !== "") && { host: hosts.join(",") }),
    ...(ports.some((port) => port !== "") && { port: ports.join(",") }),
  };
}

function parseOption(pair: string): ConnectionParameters {
  const [encoded, value] = splitAt(pair, "=");
  const name = decode(encoded, "parameter's name");
  if (value === undefined || value.includes("=")) {
    throw new DatabaseUrlError("has a parameter that is not of the form name=value");
  }
  // Java drivers write it this way.
  if (name === "ssl" && value === "true") return { sslmode: "require" };
  return { [name]: decode(value, `parameter ${quoteName(name)}`) };
}

/**
 * A parameter's name for a message. If an @ or ? in a password was not encoded, a part of the password looks like a
 * parameter's name, so names with unusual characters are not repeated.
 */
export function quoteName(name: string): string {
  return /^\w{1,40}$/.test(name) ? name : "with an odd name (is a character of the password not encoded?)";
}

function splitAt(text: string, separator: string): [before: string, after: string | undefined] {
  const index = text.indexOf(separator);
  return index === -1 ? [text, undefined] : [text.slice(0, index), text.slice(index + 1)];
}

function decode(text: string, what: string): string {
  try {
    const decoded = decodeURIComponent(text);
    if (!decoded.includes("\0")) return decoded;
  } catch {
    // The error below reports it without repeating the text.
  }
  throw new DatabaseUrlError(`has a ${what} that is not percent-encoded rightly`);
}
