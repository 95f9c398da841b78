import { AppError } from "../errors.ts";

/** A condition on the version of a record. */
interface Condition {
  /** It must be one of these; undefined: any version. */
  expectedVersion?: number | readonly number[] | undefined;
  /** It must be none of these. */
  unwantedVersion?: "any" | readonly number[] | undefined;
}

/**
 * Fails with VERSION_CONFLICT unless the record has one of the expected versions and none of the unwanted ones. If there is
 * no record, any expected version is a conflict.
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

/** Normalises the versions of an input to lists. */
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
