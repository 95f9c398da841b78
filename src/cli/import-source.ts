import { randomUUID } from "node:crypto";
import { readFile, stat } from "node:fs/promises";
import { basename } from "node:path";
import { type FileFormat, formatOf, hashFile, openSource, type RecordSource } from "../import/open-source.ts";
import { openWalk } from "../import/walk-list.ts";
import { makePrivate } from "../lib/private-files.ts";
import { isLoopbackHost } from "../server/development-token.ts";
import { CommandFailure } from "./command.ts";
import { say } from "./print.ts";

/** Where the records of an import come from, as the command names it. */
export interface SourceArguments {
  format?: FileFormat;
  from?: string;
  tokenFile?: string;
  pageSize: number;
  ignoreUnknown: boolean;
}

/** The source of an import, before it is opened. */
export interface ImportSource {
  /** For the name of the report. */
  name: string;
  /** What its entries are called in messages. */
  unit: "lines" | "records";
  /** Identifies its contents, and what is made of them. */
  digest: string;
  /** Whether each run reads it from its start. */
  isAnew: boolean;
  open: () => Promise<RecordSource>;
}

/** The error if the arguments contradict each other; null if they do not. */
export function findUsageFault(
  file: string | undefined,
  { from, tokenFile, format }: SourceArguments,
): string | null {
  if ((file === undefined) === (from === undefined)) return "give either a file, or --from with a URL";
  if ((from === undefined) !== (tokenFile === undefined)) return "--from and --token-file need each other";
  return from && format ? "--format is for files" : null;
}

/** Finds the source that the arguments name. Fails if it can't be read. */
export async function findSource(file: string | undefined, options: SourceArguments): Promise<ImportSource> {
  const { from, tokenFile } = options;
  return from ? findList(from, tokenFile as string, options) : findFile(file as string, options);
}

async function findFile(file: string, options: SourceArguments): Promise<ImportSource> {
  const { format, ignoreUnknown: ignoresUnknown } = options;
  return {
    ...{ name: file === "-" ? "import" : basename(file), unit: "lines", isAnew: false },
    digest: await digestOf(file, options),
    open: () => openSource({ file, format, ignoresUnknown }),
  };
}

/** Identifies the contents of the file, and what is made of them. What comes through a pipe can't be read twice. */
async function digestOf(file: string, { format, ignoreUnknown }: SourceArguments): Promise<string> {
  if (file === "-") return randomUUID();
  if (!(await stat(file)).isFile()) {
    throw new CommandFailure(`${file} is no regular file: give - and let the shell read it`);
  }
  const read = `${await hashFile(file)} as ${format ?? formatOf(file) ?? "unknown"}`;
  return ignoreUnknown ? `${read} without unknown fields` : read;
}

async function findList(from: string, tokenFile: string, options: SourceArguments): Promise<ImportSource> {
  const url = new URL(from);
  if (process.env.NODE_TLS_REJECT_UNAUTHORIZED === "0") {
    throw new CommandFailure(
      "NODE_TLS_REJECT_UNAUTHORIZED=0 would send the token to servers that are not verified: unset it",
    );
  }
  const token = await readToken(tokenFile);
  const { pageSize, ignoreUnknown: ignoresUnknown } = options;
  const onWait = (reason: string, seconds: number) => say(`${reason}: trying again in ${seconds} s`);
  return {
    ...{ name: url.hostname.replace(/[^\w.-]/g, "_"), unit: "records", isAnew: true },
    digest: `list ${url.href}`,
    open: async () => openWalk({ list: { url, token, onWait }, pageSize, ignoresUnknown, onWarning: say }),
  };
}

/** Characters. */
const LONGEST_TOKEN = 8192;

/** The token in the file, without white space around it. As of a key file, permissions of other users are removed. */
async function readToken(path: string): Promise<string> {
  const text = await readFile(path, "utf8").catch((error: NodeJS.ErrnoException) => {
    throw new CommandFailure(`the token file ${path} can't be read: ${error.code}`);
  });
  if ((await stat(path)).isFile()) {
    await makePrivate(path).catch((error: NodeJS.ErrnoException) => {
      say(
        `other users may read or change the token file ${path}, and its mode can't be changed: ${error.code}`,
      );
    });
  }
  const token = text.trim();
  if (token.length <= LONGEST_TOKEN && /^[\x21-\x7e]+$/.test(token)) return token;
  throw new CommandFailure(
    `the token file ${path} must have one token, of visible characters of ASCII, and nothing else`,
  );
}

/** The error of the URL of a list; null if it has none. The token must not be sent over a network in plain text. */
export function findListUrlFault(text: string): string | null {
  if (!URL.canParse(text)) return "It must be a URL, such as https://legacy.example.com/v1/kyc.";
  const { protocol, hostname, username, password, hash, searchParams } = new URL(text);
  const isLocal = protocol === "http:" && isLoopbackHost(hostname.replace(/^\[(.*)\]$/, "$1"));
  if (protocol !== "https:" && !isLocal)
    return "It must begin with https://, or be http on this machine: the token would be sent in clear.";
  if (username !== "" || password !== "")
    return "It must not have a user name or password: use --token-file.";
  if (hash !== "") return "It must not have a fragment.";
  if (["limit", "starting_after", "ending_before"].some((name) => searchParams.has(name)))
    return "It must not have limit, starting_after or ending_before: the import sets them.";
  return null;
}
