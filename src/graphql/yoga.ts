import { type ExecutionArgs, type ExecutionResult, GraphQLError, getOperationAST } from "graphql";
import { createYoga, type GraphQLParams, type Plugin } from "graphql-yoga";
import type { QueryLimits } from "../config.ts";
import { type OperationContext, withholdAnswer } from "../context.ts";
import { badUserInput } from "../errors.ts";
import { costOf } from "./documents/cost.ts";
import { findKeyMisuse } from "./documents/key-misuse.ts";
import { tooCostly } from "./documents/limits.ts";
import { parseDocument } from "./documents/parse-document.ts";
import { ID_NAMES, type TrustedDocuments } from "./documents/trusted-documents.ts";
import { failureOf, inDocumentOrder, renderErrors, type Validate } from "./errors.ts";
import { addFieldErrors } from "./field-errors.ts";
import { labelOf, type Observed } from "./observed.ts";
import { schema } from "./schema.ts";
import { checkVariables } from "./variables.ts";

/** What one answer says of its request besides data and errors: gathered on the way. */
interface Told {
  cost?: { requested: number; limit: number };
  rateLimit?: object;
}
/** What a request is executed with, and where what is observed of it goes. */
type ServerContext = OperationContext & { told: Told; observed: Observed };

/**
 * What to answer in place of an operation that is asked for in a wrong way, or for too much; undefined where nothing
 * is wrong.
 */
function refuseFaults(args: ExecutionArgs): ExecutionResult | undefined {
  const operation = getOperationAST(args.document, args.operationName);
  if (!operation) return undefined;
  const faults = [...checkVariables(args.schema, operation)(args.variableValues ?? {})];
  if ((args.contextValue as OperationContext).idempotency)
    faults.push(...findKeyMisuse(args.document, operation));
  const { cost } = (args.contextValue as ServerContext).told;
  if (faults.length === 0 && cost && cost.requested > cost.limit)
    return { errors: [tooCostly(cost.requested, cost.limit, operation)] };
  if (faults.length === 0) return undefined;
  const originalError = badUserInput(faults);
  return { errors: [new GraphQLError(originalError.message, { originalError })] };
}

/** The GraphQL server, without its HTTP server: hand it a request and the operation's context. */
export function createGraphqlServer(
  validate: Validate,
  { cost: limit, tokens }: QueryLimits,
  trusted: TrustedDocuments,
) {
  const plugin: Plugin<ServerContext> = {
    onParams({ params, setParams, request }) {
      if (typeof params !== "object" || params === null || Array.isArray(params)) return;
      const named = request.method === "GET" ? { ...idsOf(request.url), ...params } : params;
      setParams(trusted.resolve(named as Record<string, unknown>) as GraphQLParams);
    },
    onParse({ setParseFn }) {
      setParseFn((source) => parseDocument(source, tokens));
    },
    onValidate({ setValidationFn, context, params: { documentAST } }) {
      const { told, params } = context as unknown as ServerContext & { params: GraphQLParams };
      const operation = getOperationAST(documentAST, params.operationName);
      if (operation)
        told.cost = { requested: costOf(schema, documentAST, operation)(params.variables ?? {}), limit };
      setValidationFn(validate);
    },
    onExecute({ args, setResultAndStopExecution }) {
      const operation = getOperationAST(args.document, args.operationName);
      if (operation) {
        const { observed } = args.contextValue as unknown as ServerContext;
        observed.operation = labelOf(operation, trusted.includes(operation.loc?.source.body ?? ""));
      }
      const refusal = refuseFaults(args);
      if (refusal) setResultAndStopExecution(refusal);
    },
    onSubscribe({ args, setResultAndStopExecution }) {
      const refusal = refuseFaults(args);
      if (refusal) setResultAndStopExecution(refusal);
    },
    onResultProcess({ result, setResult, serverContext }) {
      // A stream of answers: each comes here by itself.
      if (Symbol.asyncIterator in result) return;
      const context = serverContext as unknown as ServerContext;
      const { data, errors } = addFieldErrors(context, result as ExecutionResult);
      const { requestId, log, observed, told } = context;
      if (!data) withholdAnswer(context, failureOf({ errors }));
      const rendered = errors && renderErrors(inDocumentOrder(errors), { requestId, log });
      if (rendered) observed.outcome = String(rendered[0]?.extensions.code);
      setResult({
        ...(rendered && { errors: rendered }),
        ...(data !== undefined && { data }),
        ...((told.cost || told.rateLimit) && { extensions: { cost: told.cost, rateLimit: told.rateLimit } }),
      } as ExecutionResult);
    },
  };
  return createYoga<ServerContext>({
    schema,
    plugins: [plugin],
    graphqlEndpoint: "/graphql",
    maskedErrors: false,
    logging: false,
    cors: false,
    graphiql: false,
    landingPage: false,
    multipart: false,
    batching: false,
    // It would keep a thousand documents of whatever size. What comes again takes the fast path.
    parserAndValidationCache: false,
  });
}

/** The ids of documents in an address, which Yoga does not read. */
function idsOf(url: string): Record<string, string> {
  const { searchParams } = new URL(url);
  return Object.fromEntries([...searchParams].filter(([name]) => ID_NAMES.includes(name)));
}
