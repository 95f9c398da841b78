import { execFile } from "node:child_process";
import { chown } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";

const execute = promisify(execFile);

/** A server's certificate for `localhost`, and the authority that has signed it: paths of files. */
export interface Certificate {
  authority: string;
  cert: string;
  key: string;
}

/** Makes an authority and a certificate in a folder. The key belongs to the user, as PostgreSQL wants it. */
export async function makeCertificate(folder: string, name: string, owner?: number): Promise<Certificate> {
  const at = (file: string) => join(folder, `${name}-${file}`);
  const openssl = (...args: string[]) => execute("openssl", args, { cwd: folder });
  const curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"];
  const [authority, cert, key] = [at("ca.crt"), at("server.crt"), at("server.key")];
  await openssl(
    "req",
    "-x509",
    ...curve,
    "-subj",
    `/CN=${name} authority`,
    "-keyout",
    at("ca.key"),
    "-out",
    authority,
  );
  await openssl(
    ...["req", "-x509", ...curve, "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"],
    ...["-addext", "basicConstraints=critical,CA:false", "-CA", authority, "-CAkey", at("ca.key")],
    ...["-keyout", key, "-out", cert],
  );
  if (owner !== undefined) await chown(key, owner, owner);
  return { authority, cert, key };
}
