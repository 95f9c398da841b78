import {
  type ASTNode,
  type ASTVisitor,
  type DocumentNode,
  GraphQLError,
  type GraphQLSchema,
  getNamedType,
  isInputObjectType,
  Kind,
  NoSchemaIntrospectionCustomRule,
  ProvidedRequiredArgumentsRule,
  SingleFieldSubscriptionsRule,
  specifiedRules,
  type ValidationContext,
  ValuesOfCorrectTypeRule,
  validate,
} from "graphql";
import type { QueryLimits } from "../settings.ts";
import { describe } from "../variables.ts";
import { type Path, pathOfValue, type Step } from "./argument-paths.ts";
import { findExcesses } from "./limits.ts";
import { SubscriptionRootRule } from "./subscription-root.ts";

/** Finds what is wrong with a document. */
export type Validate = (schema: GraphQLSchema, document: DocumentNode) => readonly GraphQLError[];

/**
 * Validation as graphql-js does it, with texts that repeat no value of the document. Errors of arguments have `fields`
 * in their extensions, with the path of each. Documents above the limits are refused before the other rules read them,
 * because some rules take long for documents of many parts.
 */
export function createValidation(options: { introspection: boolean; queryLimits: QueryLimits }): Validate {
  const own = specifiedRules.map((rule) => {
    if (rule === ValuesOfCorrectTypeRule) return ValuesRule;
    if (rule === SingleFieldSubscriptionsRule) return SubscriptionRootRule;
    return rule === ProvidedRequiredArgumentsRule ? RequiredArgumentsRule : rule;
  });
  const rules = options.introspection ? own : [...own, NoSchemaIntrospectionCustomRule];
  // Suggestions would reveal fields of the schema, which is not public.
  const settings = { hideSuggestions: !options.introspection };
  return (schema, document) => {
    const excesses = findExcesses(schema, document, options.queryLimits);
    if (excesses.length > 0) return excesses;
    const unsupported = findUnsupported(schema, document);
    return unsupported.length > 0 ? unsupported : validate(schema, document, rules, settings);
  };
}

/** An error for each operation of a kind that the schema does not have: no rule of graphql-js refuses it. */
function findUnsupported(schema: GraphQLSchema, { definitions }: DocumentNode): GraphQLError[] {
  return definitions.flatMap((node) => {
    if (node.kind !== Kind.OPERATION_DEFINITION || schema.getRootType(node.operation)) return [];
    return [failed(`There are no ${node.operation}s here.`, node)];
  });
}

const failed = (message: string, nodes: ASTNode | readonly ASTNode[], fields?: Fault[]) =>
  new GraphQLError(message, {
    nodes,
    extensions: { code: "GRAPHQL_VALIDATION_FAILED", ...(fields && { fields }) },
  });

interface Fault {
  path: string;
  message: string;
}

/** A name that may be repeated. A name with digits can be a value in the wrong place. */
const isHarmless = (name: string) => /^[A-Za-z_]{1,64}$/.test(name);

/** Reports each value that does not have its argument's type. */
function ValuesRule(context: ValidationContext): ASTVisitor {
  return withPaths(context, ValuesOfCorrectTypeRule, ({ message, nodes }, path) => {
    const missing = /^Field "\w+\.(\w+)" of required type/.exec(message)?.[1];
    if (missing !== undefined) return { message, path: [...path, missing], fault: "is required" };
    const [node] = nodes ?? [];
    const type = context.getInputType();
    if (node?.kind === Kind.OBJECT_FIELD) {
      const fault = "is not a field of this input";
      if (isHarmless(node.name.value)) return { message, path, fault };
      return { message: "An input has a field that its type does not have.", path: path.slice(0, -1), fault };
    }
    const isObject = node?.kind === Kind.OBJECT && isInputObjectType(getNamedType(type));
    if (node?.kind === Kind.NULL)
      return { message: "A value must not be null.", path, fault: "must not be null" };
    const fault = type ? describe(type) : "is of the wrong type";
    // An object's faults name fields of the schema. All others quote a value.
    return { message: isObject ? message : `A value ${fault}.`, path, fault };
  });
}

/** Reports each missing required argument. */
function RequiredArgumentsRule(context: ValidationContext): ASTVisitor {
  return withPaths(context, ProvidedRequiredArgumentsRule, ({ message }, path) => {
    const name = / argument "(\w+)" of type /.exec(message)?.[1] ?? "";
    return { message, path: [...path, name], fault: "is required" };
  });
}

type DescribeError = (
  error: GraphQLError,
  path: Path,
) => { message: string; path: Path /** What is wrong, without a value. */; fault: string };

/** A rule of graphql-js, whose errors get the text and the path that `describeError` gives. */
function withPaths(
  context: ValidationContext,
  rule: (context: ValidationContext) => ASTVisitor,
  describeError: DescribeError,
): ASTVisitor {
  let way: Step[];
  const quiet: ValidationContext = Object.create(context, {
    reportError: {
      value: (error: GraphQLError) => {
        const { message, path, fault } = describeError(error, pathOfValue(way));
        const fields = [{ path: path.join("."), message: fault }];
        context.reportError(failed(message, error.nodes ?? [], fields));
      },
    },
  });
  const watch =
    (visit: Visit): Visit =>
    (...step) => {
      const [node, , parent, , ancestors] = step;
      way = [...ancestors, parent, node];
      return visit(...step);
    };
  const visits = Object.entries(rule(quiet) as Record<string, Visit | { leave: Visit }>);
  return Object.fromEntries(
    visits.map(([kind, visit]) => [
      kind,
      typeof visit === "function" ? watch(visit) : { leave: watch(visit.leave) },
    ]),
  ) as ASTVisitor;
}

type Visit = (
  node: ASTNode,
  key: unknown,
  parent: Step,
  path: unknown,
  ancestors: readonly Step[],
) => unknown;
