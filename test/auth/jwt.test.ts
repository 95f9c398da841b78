import { createPublicKey, generateKeyPairSync, type JsonWebKey, randomBytes } from "node:crypto";
import { exportJWK, exportSPKI, SignJWT, UnsecuredJWT } from "jose";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { createJwtVerifier, type VerifyJwt } from "../../src/auth/jwt.ts";
import { parseScopeMap } from "../../src/auth/scope-map.ts";
import type { JwtConfig } from "../../src/auth/settings.ts";
import { AUDIENCE, type IdentityProvider, startIdentityProvider } from "../support/identity-provider.ts";

const SECOND = 1000;
const MINUTE = 60 * SECOND;

let provider: IdentityProvider;
let time: number;
let failures: unknown[];
let verify: VerifyJwt;

/** A gateway that has asked for nothing yet; both of its clocks are `time`. */
function createVerifier(claims: Partial<JwtConfig> = {}) {
  // Requests that end after their test must not affect the next one.
  const heard = failures;
  return createJwtVerifier(
    {
      ...{ issuer: provider.issuer, audience: AUDIENCE, jwksUrl: provider.jwksUrl },
      ...{ account: undefined, accountClaim: "account", scopeClaim: "scope", scopeMap: new Map() },
      ...{ typ: undefined, nameClaim: undefined, ...claims },
    },
    {
      nameSignIn: (issuer, sub) => `jwt_${issuer} ${sub}`,
      now: () => time,
      elapsed: () => time,
      onFailure: (error) => heard.push(error),
    },
  );
}

beforeEach(async () => {
  time = Date.parse("2026-03-01T12:00:00.500Z");
  provider = await startIdentityProvider(() => time);
  failures = [];
  verify = createVerifier();
});
afterEach(() => provider.close());

const refusal = (message: RegExp) => ({
  code: "UNAUTHENTICATED",
  message: expect.stringMatching(message) as string,
});

describe("the type of a token", () => {
  const sign = (typ?: string) => provider.sign({}, typ === undefined ? {} : { typ });

  test.each(["at+jwt", "AT+JWT", "application/at+jwt", "Application/At+Jwt"])(
    "is accepted as %s, if it is configured in any of these spellings",
    async (typ) => {
      for (const configured of ["at+jwt", "application/at+jwt", "At+JWT"]) {
        expect(await createVerifier({ typ: configured })(await sign(typ))).toMatchObject({
          accountId: "acme",
        });
      }
    },
  );

  test.each([undefined, "JWT", "jwt", "logout+jwt", "at+jwt2", "at", "text/at+jwt", ""])(
    "is refused as %s, as that of an ID token is, if it is to be at+jwt",
    async (typ) => {
      const refused = createVerifier({ typ: "at+jwt" })(await sign(typ));
      await expect(refused).rejects.toMatchObject(refusal(/type \(typ\)/));
    },
  );

  test.each([undefined, "JWT", "at+jwt"])("may be %s, if none is configured", async (typ) => {
    expect(await createVerifier()(await sign(typ))).toMatchObject({ accountId: "acme" });
  });
});

describe("claims", () => {
  test("a good token names its account and those scopes that the gateway has, and hides its subject", async () => {
    const viewer = await verify(await provider.sign());
    expect(viewer).toEqual({
      ...{ accountId: "acme", actorName: null },
      tokenId: `jwt_${provider.issuer} ann@acme.example`,
      tokenName: "sign-in",
      scopes: ["kyc:read", "kyc:write"],
      expiresAt: expect.any(Number),
    });
  });

  test.each([
    ["a list", ["kyc:delete", "kyc:fly", 7, "kyc:read"], ["kyc:read", "kyc:delete"]],
    ["a text", "kyc:read  kyc:delete", ["kyc:read", "kyc:delete"]],
    ["nothing", undefined, []],
    ["something else", { "kyc:read": true }, []],
  ])("scopes are read of %s", async (_name, scope, scopes) => {
    expect(await verify(await provider.sign({ scope }))).toMatchObject({ scopes });
  });

  test.each([
    ["https://acme.example/account", { "https://acme.example/account": "acme-2" }],
    ["tenant.account", { tenant: { account: "acme-2" } }],
    ["tenant.account", { "tenant.account": "acme-2", tenant: { account: "acme-3" } }],
  ])("the account is read of the claim %s", async (accountClaim, claims) => {
    const token = await provider.sign({ account: undefined, ...claims });
    expect(await createVerifier({ accountClaim })(token)).toMatchObject({ accountId: "acme-2" });
  });

  test("scopes are read of the claim that is configured", async () => {
    const token = await provider.sign({ realm: { roles: ["audit:read"] } });
    expect(await createVerifier({ scopeClaim: "realm.roles" })(token)).toMatchObject({
      scopes: ["audit:read"],
    });
  });

  test("a configured account is that of every token, whatever its claim says", async () => {
    const fixed = createVerifier({ account: "acme-2" });
    for (const account of [undefined, "acme", 7]) {
      expect(await fixed(await provider.sign({ account }))).toMatchObject({ accountId: "acme-2" });
    }
  });

  test.each([
    ["kyc-admin openid", ["kyc:read", "kyc:write"]],
    ["kyc-admin kyc:read kyc:delete", ["kyc:read", "kyc:write", "kyc:delete"]],
    [["KYC Reader", 7, null], ["kyc:read"]],
    [["https://api.example/?a=kyc"], ["audit:read"]],
    ["kyc:pii", ["kyc:read"]],
    ["toString kyc-adminx KYC-ADMIN", []],
  ])("of the words %j those that are mapped mean scopes", async (scope, scopes) => {
    const { map, faults } = parseScopeMap([
      "kyc-admin=kyc:read kyc:write",
      ...[" KYC Reader=kyc:read ", "https://api.example/?a=kyc=audit:read", "kyc:pii=kyc:read"],
    ]);
    expect(faults).toEqual([]);
    const mapping = createVerifier({ scopeMap: map });
    expect(await mapping(await provider.sign({ scope }))).toMatchObject({ scopes });
  });

  test.each([
    ["is not there", undefined],
    ["is empty", ""],
    ["is a number", 7],
    ["is a list", ["acme"]],
    ["has a blank", "ac me"],
    ["is too long", "a".repeat(65)],
  ])("a token whose account %s is refused", async (_name, account) => {
    await expect(verify(await provider.sign({ account }))).rejects.toMatchObject(refusal(/account/));
  });

  test("a name that every object has is no claim", async () => {
    const strange = createVerifier({ accountClaim: "constructor.name" });
    await expect(strange(await provider.sign())).rejects.toMatchObject(refusal(/account/));
  });

  test.each([
    ["of another issuer", { iss: "https://elsewhere.example" }, /iss/],
    ["of no issuer", { iss: undefined }, /iss/],
    ["for another audience", { aud: "https://other.example" }, /aud/],
    ["for no audience", { aud: undefined }, /aud/],
    ["that never expires", { exp: undefined }, /exp/],
    ["whose expiry is a text", { exp: "tomorrow" }, /exp/],
    ["of nobody", { sub: undefined }, /sub/],
    ["whose subject is empty", { sub: "" }, /sub/],
  ])("a token %s is refused", async (_name, claims, message) => {
    await expect(verify(await provider.sign(claims))).rejects.toMatchObject(refusal(message));
  });

  test("one of several audiences is enough", async () => {
    const token = await provider.sign({ aud: ["https://other.example", AUDIENCE] });
    expect(await verify(token)).toMatchObject({ accountId: "acme" });
  });

  test("a refusal repeats no claim", async () => {
    const token = await provider.sign({ iss: "secret-issuer", account: "secret account" });
    const error = await verify(token).catch((error) => error);
    expect(JSON.stringify([error.message, error.cause ?? null])).not.toMatch(/secret|ann@/);
  });
});

describe("times", () => {
  const seconds = () => Math.floor(time / SECOND);

  test.each([
    ["exp", -29, true],
    ["exp", -31, false],
    ["nbf", 29, true],
    ["nbf", 32, false],
    ["iat", 29, true],
    ["iat", 32, false],
  ])("%s at %i s from now: taken %s", async (claim, offset, taken) => {
    const verdict = verify(await provider.sign({ [claim]: seconds() + offset }));
    if (taken) expect(await verdict).toMatchObject({ accountId: "acme" });
    else await expect(verdict).rejects.toMatchObject({ code: "UNAUTHENTICATED" });
  });

  test("a token that was taken before is refused when its time is over", async () => {
    const token = await provider.sign({ exp: seconds() + 10 });
    await verify(token);
    time += 39 * SECOND;
    await verify(token);
    time += 2 * SECOND;
    await expect(verify(token)).rejects.toMatchObject(refusal(/expired/));
  });
});

describe("signatures", () => {
  test.each(["RS256", "PS256", "ES384", "EdDSA"])("%s is taken", async (alg) => {
    await provider.addKey(`key-${alg}`, alg);
    expect(await verify(await provider.sign())).toMatchObject({ accountId: "acme" });
  });

  const payload = () => ({
    ...{ iss: provider.issuer, aud: AUDIENCE, sub: "x", account: "acme" },
    exp: Math.floor(time / SECOND) + 300,
  });

  test("an unsigned token is refused", async () => {
    const unsigned = new UnsecuredJWT(payload()).encode();
    await expect(verify(unsigned)).rejects.toMatchObject({ code: "UNAUTHENTICATED" });
    expect(provider.fetches).toBe(0);
  });

  test("a token signed with the published key as a shared secret is refused", async () => {
    await provider.addKey("rsa", "RS256");
    await verify(await provider.sign());
    const { keys } = (await (await fetch(provider.jwksUrl)).json()) as { keys: JsonWebKey[] };
    const published = createPublicKey({ key: keys.find(({ kid }) => kid === "rsa") ?? {}, format: "jwk" });
    const texts = [await exportSPKI(published), JSON.stringify(await exportJWK(published))];
    for (const secret of texts) {
      const forged = await new SignJWT(payload())
        .setProtectedHeader({ alg: "HS256", kid: "rsa" })
        .sign(Buffer.from(secret));
      await expect(verify(forged)).rejects.toMatchObject(refusal(/algorithm/));
    }
  });

  test("a token that is signed with another key under a published id is refused", async () => {
    const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
    const forged = await new SignJWT(payload())
      .setProtectedHeader({ alg: "ES256", kid: "first" })
      .sign(privateKey);
    await expect(verify(forged)).rejects.toMatchObject(refusal(/signed/));
  });

  test("a key that a token brings along opens nothing", async () => {
    const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
    const jwk = await exportJWK(publicKey);
    const forged = await new SignJWT(payload())
      .setProtectedHeader({ alg: "ES256", kid: "first", jwk, jku: "https://evil.example/keys" })
      .sign(privateKey);
    await expect(verify(forged)).rejects.toMatchObject({ code: "UNAUTHENTICATED" });
  });

  test("a token with a changed letter is refused, also after the whole one was taken", async () => {
    const token = await provider.sign();
    await verify(token);
    const [header, body, signature] = token.split(".") as [string, string, string];
    const other = JSON.parse(Buffer.from(body, "base64url").toString());
    const changed = Buffer.from(JSON.stringify({ ...other, account: "other" })).toString("base64url");
    const forged = [header, changed, signature].join(".");
    await expect(verify(forged)).rejects.toMatchObject(refusal(/signed/));
  });

  test.each(["", "x", "a.b.c", "a.b.c.d.e", `${"a".repeat(40)}..`])("%j is no token", async (text) => {
    await expect(verify(text)).rejects.toMatchObject({ code: "UNAUTHENTICATED" });
  });

  test("a token of more than 8192 characters is not even looked at", async () => {
    const token = await provider.sign({ filler: "x".repeat(8192) });
    await expect(verify(token)).rejects.toMatchObject(refusal(/8192/));
    expect(provider.fetches).toBe(0);
  });
});

describe("keys", () => {
  test("are fetched once, for all who wait and for all who come after", async () => {
    const tokens = await Promise.all([1, 2, 3].map((n) => provider.sign({ n })));
    await Promise.all(tokens.map(verify));
    time += MINUTE;
    await verify(await provider.sign());
    expect(provider.fetches).toBe(1);
  });

  test("that are new are found when a token names one", async () => {
    await verify(await provider.sign());
    time += 6 * SECOND;
    await provider.addKey("second");
    expect(await verify(await provider.sign())).toMatchObject({ accountId: "acme" });
    expect(provider.fetches).toBe(2);
  });

  test("that nobody has make one fetch in a while, however many tokens name them", async () => {
    await verify(await provider.sign());
    time += 6 * SECOND;
    const garbage = () => randomBytes(8).toString("hex");
    for (let round = 0; round < 20; round++) {
      const token = await provider.sign({}, { kid: garbage() });
      await expect(verify(token)).rejects.toMatchObject(refusal(/key/));
    }
    expect(provider.fetches).toBe(2);
  });

  test("need not be named if the provider has one of the kind", async () => {
    await provider.addKey("another", "RS256");
    await provider.addKey("second");
    provider.dropKey("first");
    expect(await verify(await provider.sign({}, { kid: undefined }))).toMatchObject({ accountId: "acme" });
  });

  test.each([11, 8 * 60])(
    "that the provider drops open nothing %i minutes later, also where nobody asked meanwhile",
    async (minutes) => {
      await provider.addKey("leaked");
      const leaked = await provider.sign({ exp: Math.floor(time / SECOND) + 9 * 3600 });
      await verify(leaked);
      await provider.addKey("first");
      provider.dropKey("leaked");
      time += minutes * MINUTE;
      const verdicts = await Promise.allSettled([1, 2, 3].map(() => verify(leaked)));
      for (const verdict of verdicts) {
        expect(verdict).toMatchObject({ reason: refusal(/a key that the provider does not have/) });
      }
    },
  );

  test("that are old are waited for once while the provider says nothing, and then serve on", async () => {
    await verify(await provider.sign());
    provider.mood = "silent";
    time += 11 * MINUTE;
    expect(await verify(await provider.sign())).toMatchObject({ accountId: "acme" });
    const from = performance.now();
    for (let round = 0; round < 5; round++) {
      time += 10 * SECOND;
      await verify(await provider.sign());
    }
    // Each wait for the provider takes three seconds.
    expect(performance.now() - from).toBeLessThan(2500);
  });

  test("that are known go on serving while the provider is down, and a log line says so", async () => {
    await verify(await provider.sign());
    provider.mood = "failing";
    time += 11 * MINUTE;
    expect(await verify(await provider.sign())).toMatchObject({ accountId: "acme" });
    await expect.poll(() => failures.length).toBe(1);
    const unknown = await provider.sign({}, { kid: "unknown" });
    await expect(verify(unknown)).rejects.toMatchObject({ code: "UNAVAILABLE" });
    expect(provider.fetches).toBe(2);
  });

  test.each(["failing", "babbling", "redirecting"] as const)(
    "can't be had of a provider that is %s: its tokens are neither good nor bad, until it is well",
    async (mood) => {
      provider.mood = mood;
      const token = await provider.sign();
      for (let round = 0; round < 3; round++) {
        await expect(verify(token)).rejects.toMatchObject({ code: "UNAVAILABLE" });
      }
      expect(provider.fetches).toBe(1);
      provider.mood = "well";
      time += 6 * SECOND;
      expect(await verify(token)).toMatchObject({ accountId: "acme" });
    },
  );

  test("of a provider that says nothing are waited for three seconds", async () => {
    provider.mood = "silent";
    const from = performance.now();
    await expect(verify(await provider.sign())).rejects.toMatchObject({ code: "UNAVAILABLE" });
    expect(performance.now() - from).toBeLessThan(4500);
  });
});
