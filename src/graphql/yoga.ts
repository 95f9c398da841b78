import { type ExecutionResult, GraphQLError, getOperationAST, type ValidationRule, validate } from "graphql";
import { createYoga, type GraphQLParams, type Plugin } from "graphql-yoga";
import type { OperationContext } from "../context.ts";
import { badUserInput } from "../errors.ts";
import { parseDocument } from "./cost.ts";
import { inDocumentOrder, renderErrors } from "./errors.ts";
import { findKeyMisuse } from "./idempotency.ts";
import { labelOf, type Observed } from "./observed.ts";
import { schema } from "./schema.ts";
import { ID_NAMES, type TrustedDocuments } from "./trusted-documents.ts";
import { checkVariables } from "./variables.ts";

/** What a request is executed with, and where what is observed of it goes. */
type ServerContext = OperationContext & { observed: Observed };

/** The GraphQL server, without its HTTP server: hand it a request and the operation's context. */
export function createGraphqlServer(rules: readonly ValidationRule[], trusted: TrustedDocuments) {
  const plugin: Plugin<ServerContext> = {
    onParams({ params, setParams, request }) {
      if (typeof params !== "object" || params === null || Array.isArray(params)) return;
      const named = request.method === "GET" ? { ...idsOf(request.url), ...params } : params;
      setParams(trusted.resolve(named as Record<string, unknown>) as GraphQLParams);
    },
    onParse({ setParseFn }) {
      setParseFn(parseDocument);
    },
    onValidate({ setValidationFn }) {
      setValidationFn((schema, document) => validate(schema, document, rules));
    },
    onExecute({ args, setResultAndStopExecution }) {
      const operation = getOperationAST(args.document, args.operationName);
      if (!operation) return;
      const text = operation.loc?.source.body ?? "";
      const { observed, idempotency } = args.contextValue as unknown as ServerContext;
      observed.operation = labelOf(operation, trusted.includes(text));
      const faults = checkVariables(args.schema, operation)(args.variableValues ?? {});
      if (idempotency) faults.push(...findKeyMisuse(args.document, operation));
      if (faults.length === 0) return;
      const originalError = badUserInput(faults);
      setResultAndStopExecution({ errors: [new GraphQLError(originalError.message, { originalError })] });
    },
    onResultProcess({ result, setResult, serverContext }) {
      const { data, errors } = result as ExecutionResult;
      if (!errors) return;
      const { requestId, log, observed, numbersShown } = serverContext as unknown as ServerContext;
      if (!data) numbersShown?.clear();
      const rendered = renderErrors(inDocumentOrder(errors), { requestId, log });
      observed.outcome = String(rendered[0]?.extensions.code);
      setResult({ ...result, errors: rendered } as ExecutionResult);
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
