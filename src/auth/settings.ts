import { z } from "zod";
import { setting, type ValuesOf } from "../lib/settings.ts";
import { parseScopeMap } from "./scope-map.ts";
import { ACCOUNT_ID_RULE, isAccountId } from "./scopes.ts";

const LOOPBACK = ["localhost", "127.0.0.1", "[::1]"];

function isProviderUrl(text: string): boolean {
  if (!URL.canParse(text)) return false;
  const { protocol, hostname, username, password } = new URL(text);
  // Over plain HTTP, an attacker on the network can replace the keys, and sign tokens.
  const isPrivate = protocol === "https:" || (protocol === "http:" && LOOPBACK.includes(hostname));
  return isPrivate && username === "" && password === "";
}

const scopeMap = z.string().transform((list, context) => {
  const { map, faults } = parseScopeMap(list.split(","));
  for (const message of faults) context.addIssue({ code: "custom", message });
  return map;
});

/** How the gateway accepts JWTs of the company's own identity provider. */
export const jwtSettings = {
  /** The required `iss`. */
  issuer: setting("JWT_ISSUER", z.string().optional()),
  /** `aud` must be equal to this, or contain it. */
  audience: setting("JWT_AUDIENCE", z.string().optional()),
  /** The URL of the provider's public keys. */
  jwksUrl: setting(
    "JWT_JWKS_URL",
    z.string().refine(isProviderUrl, "must be an https URL, or http on a loopback host").optional(),
  ),
  /** The required `typ`, in any case and with or without `application/`; undefined if every type is accepted. */
  typ: setting(
    "JWT_TYP",
    z
      .string()
      .regex(/^[\w.+-]+(\/[\w.+-]+)?$/, "must be a media type such as at+jwt")
      .optional(),
  ),
  /** The account of every token; undefined if a claim names the account. */
  account: setting(
    "JWT_ACCOUNT",
    z.string().refine(isAccountId, `must be the name of an account. ${ACCOUNT_ID_RULE}`).optional(),
  ),
  /** The claim with the account: a name, or names with dots between. */
  accountClaim: setting("JWT_ACCOUNT_CLAIM", z.string().default("account")),
  /** The claim with the name of who signed in, for the audit trail: a name, or names with dots between. */
  nameClaim: setting("JWT_NAME_CLAIM", z.string().optional()),
  /** The claim with the scopes: a name, or names with dots between. */
  scopeClaim: setting("JWT_SCOPE_CLAIM", z.string().default("scope")),
  /** Maps the provider's own words in that claim to scopes. */
  scopeMap: setting("JWT_SCOPE_MAP", scopeMap.default(new Map())),
};
type JwtValues = ValuesOf<typeof jwtSettings>;

/** Sign-in needs all of these. */
export const NEEDED_FOR_JWT = ["issuer", "audience", "jwksUrl"] as const;
type Needed = (typeof NEEDED_FOR_JWT)[number];

export type JwtConfig = Omit<JwtValues, Needed> & Record<Needed, string>;

/** The values, if they are enough for a sign-in. */
export function toJwtConfig(values: JwtValues): JwtConfig | undefined {
  const { issuer, audience, jwksUrl } = values;
  if (issuer === undefined || audience === undefined || jwksUrl === undefined) return undefined;
  return { ...values, issuer, audience, jwksUrl };
}
