import { InvalidArgumentError } from "commander";
import { ACCOUNT_ID_RULE, isAccountId } from "../auth/scopes.ts";

/** A parser of an argument that must fit. Any other argument is refused with the rule. */
export const parseName = (fits: (text: string) => boolean, rule: string) => (text: string) => {
  if (fits(text)) return text;
  throw new InvalidArgumentError(rule);
};

/** A parser of an account's name. */
export const ACCOUNT_NAME = parseName(isAccountId, ACCOUNT_ID_RULE);
