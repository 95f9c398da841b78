import { makePageKey } from "../auth/page-keys.ts";
import type { Config } from "../config/config.ts";

/** How to get a token: a curl header that reads the development token, or the command that creates one. */
export type TokenHint = { header: string } | { command: string };

/** The URL for clients on this machine of a gateway that listens on this host and port. */
export function toUrl(host: string, port: number): string {
  const name = host === "0.0.0.0" || host === "::" ? "localhost" : host.includes(":") ? `[${host}]` : host;
  return `http://${name}:${port}`;
}

/** The paths of the pages that can use the development token. */
export function pagesWithToken({ graphiql, docs }: Pick<Config, "graphiql" | "docs">): string[] {
  return [...(graphiql ? ["/graphql"] : []), ...(docs ? ["/docs"] : [])];
}

/** A link to a page, which works once and fills in the development token. */
export function linkTo(url: string, path: string, token: string): string {
  return `${url}${path}#key=${makePageKey(token, Date.now())}`;
}

/** The lines that a start prints. With `devToken`, the links to the pages contain a key for it. */
export function welcome(
  url: string,
  config: Pick<Config, "graphiql" | "docs">,
  { hint, devToken }: { hint: TokenHint; devToken: string | null },
): string[] {
  const pages = pagesWithToken(config);
  const inBrowser = (path: string) => {
    if (!pages.includes(path)) return [];
    return [`            ${devToken === null ? url + path : linkTo(url, path, devToken)}   (in a browser)`];
  };
  return [
    "",
    `  GraphQL   ${url}/graphql`,
    ...inBrowser("/graphql"),
    `  REST      ${url}/v1/kyc`,
    ...inBrowser("/docs"),
    ...(devToken !== null && pages.length > 0
      ? [
          "            These links fill in a token, once each, for an hour. For new ones: npx kyc-gateway link",
        ]
      : []),
    `  Health    ${url}/health  ${url}/ready  ${url}/metrics`,
    "",
    ...("header" in hint
      ? ["  Try it:", "", `curl ${url}/v1/kyc ${hint.header}`]
      : ["  Requests need a token. Make one:", "", hint.command]),
    "",
  ];
}
