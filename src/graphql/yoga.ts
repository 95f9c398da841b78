import { type ExecutionResult, GraphQLError, getOperationAST, validate } from "graphql";
import { createYoga, type Plugin } from "graphql-yoga";
import type { OperationContext } from "../context.ts";
import { badUserInput } from "../errors.ts";
import { parseDocument } from "./cost.ts";
import { inDocumentOrder, renderErrors, validationRules } from "./errors.ts";
import { findKeyMisuse } from "./idempotency.ts";
import { schema } from "./schema.ts";
import { checkVariables } from "./variables.ts";

/** The GraphQL server, without its HTTP server: hand it a request and the operation's context. */
export function createGraphqlServer(options: { introspection: boolean; queryCostLimit: number }) {
  const rules = validationRules(options);
  const plugin: Plugin<OperationContext> = {
    onParse({ setParseFn }) {
      setParseFn(parseDocument);
    },
    onValidate({ setValidationFn }) {
      setValidationFn((schema, document) => validate(schema, document, rules));
    },
    onExecute({ args, setResultAndStopExecution }) {
      const operation = getOperationAST(args.document, args.operationName);
      if (!operation) return;
      const faults = checkVariables(args.schema, operation)(args.variableValues ?? {});
      if (args.contextValue.idempotency) faults.push(...findKeyMisuse(args.document, operation));
      if (faults.length === 0) return;
      const originalError = badUserInput(faults);
      setResultAndStopExecution({ errors: [new GraphQLError(originalError.message, { originalError })] });
    },
    onResultProcess({ result, setResult, serverContext }) {
      const { data, errors } = result as ExecutionResult;
      if (!errors) return;
      const { requestId, log, numbersShown } = serverContext as unknown as OperationContext;
      if (!data) numbersShown?.clear();
      setResult({
        ...result,
        errors: renderErrors(inDocumentOrder(errors), { requestId, log }),
      } as ExecutionResult);
    },
  };
  return createYoga<OperationContext>({
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
