import { readFile } from "node:fs/promises";
import { Command, InvalidArgumentError } from "commander";
import { devTokenFile } from "../auth/dev-token.ts";
import { PAGE_KEY_LIFETIME_MS } from "../auth/page-keys.ts";
import type { Config } from "../config/config.ts";
import { isLoopbackHost } from "../server/development-token.ts";
import { linkTo, pagesWithToken, toUrl } from "../server/welcome.ts";
import { CommandFailure, readConfig } from "./command.ts";
import { print, say } from "./print.ts";

function parseUrl(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url?.protocol === "http:" || url?.protocol === "https:") return url.origin;
  throw new InvalidArgumentError("It must be a URL such as http://127.0.0.1:4000.");
}

/** `link`: links to GraphiQL and `/docs` that fill in the token for development, once each. */
export function linkCommand(): Command {
  return new Command("link")
    .description("print links that open GraphiQL and /docs with the development token; each works once")
    .option("--url <url>", "where the gateway listens (default: HOST and PORT)", parseUrl)
    .action(async ({ url }: { url?: string }) => {
      const config = readConfig();
      const pages = pagesWithToken(config);
      if (pages.length === 0)
        throw new CommandFailure("GRAPHIQL and DOCS are both off: there is no page to open");
      const token = await readDevToken(config);
      const base = url ?? toUrl(config.host, knownPort(config));
      for (const path of pages) print(linkTo(base, path, token));
      say(
        `Each link works once, within ${PAGE_KEY_LIFETIME_MS / 60_000} minutes, until the gateway restarts.`,
      );
    });
}

async function readDevToken({ databaseUrl, dataDir, host }: Config): Promise<string> {
  if (databaseUrl !== undefined)
    throw new CommandFailure("only the embedded database has a development token");
  if (!isLoopbackHost(host)) throw new CommandFailure(`pages get no token from a gateway with HOST=${host}`);
  const file = devTokenFile(dataDir);
  try {
    return (await readFile(file, "utf8")).trim();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
    throw new CommandFailure(`there is no ${file}. The first start of the gateway makes it`);
  }
}

function knownPort({ port }: Config): number {
  if (port > 0) return port;
  throw new CommandFailure("PORT=0 says no port. Give the gateway's address with --url");
}
