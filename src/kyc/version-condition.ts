import { AppError } from "../errors.ts";

/** The versions of a record at which something may be done. */
interface Condition {
  /** One of these. Undefined: any. */
  expectedVersion?: number | readonly number[] | undefined;
  /** None of these. */
  unwantedVersion?: "any" | readonly number[] | undefined;
}

/**
 * Fails with VERSION_CONFLICT unless the record is at one of the expected versions and at none of the unwanted ones.
 * Without a record no version is expected, and none is unwanted.
 */
export function requireVersion(
  stored: { version: number } | undefined,
  { expectedVersion, unwantedVersion = [] }: Condition,
): void {
  const version = stored?.version;
  const isOneOf = (versions: number | readonly number[]) =>
    version !== undefined && [versions].flat().includes(version);
  const conflict = (message: string) =>
    new AppError("VERSION_CONFLICT", message, { currentVersion: version });
  if (expectedVersion !== undefined && !isOneOf(expectedVersion)) {
    if (version === undefined) throw conflict("Nothing here is at a version.");
    throw conflict(`The record has changed: it is at version ${version} now.`);
  }
  if (unwantedVersion === "any" ? stored : isOneOf(unwantedVersion)) {
    throw conflict(`The record is at version ${version}, at which the request rules itself out.`);
  }
}

/** The same input, however its versions are written. */
export function listVersions<T extends Condition>(input: T): T {
  const { expectedVersion, unwantedVersion } = input;
  const inOrder = (versions: number | readonly number[]) =>
    [...new Set([versions].flat())].sort((a, b) => a - b);
  return {
    ...input,
    ...(expectedVersion !== undefined && { expectedVersion: inOrder(expectedVersion) }),
    ...(unwantedVersion !== undefined && {
      unwantedVersion: unwantedVersion === "any" ? unwantedVersion : inOrder(unwantedVersion),
    }),
  };
}
