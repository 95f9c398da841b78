import {
  type DocumentNode,
  GraphQLError,
  type GraphQLErrorOptions,
  Lexer,
  parse,
  Source,
  type Token,
  TokenKind,
} from "graphql";

/** Braces, brackets and parentheses inside one another. What reads documents calls itself for each. */
const MAX_NESTING = 200;

/**
 * A document's syntax tree. Fails with a GraphQLError where it is no GraphQL, and with QUERY_TOO_COMPLEX and the limit
 * where it is too long or too deep to read: nobody knows its cost then.
 */
export function parseDocument(source: Source | string, maxTokens: number): DocumentNode {
  const lexer = new Lexer(typeof source === "string" ? new Source(source) : source);
  const refuse = (message: string, figures: Figures, { start }: Token) =>
    tooComplex(message, figures, { source: lexer.source, positions: [start] });
  let tokens = 0;
  let nesting = 0;
  for (let token = lexer.advance(); token.kind !== TokenKind.EOF; token = lexer.advance()) {
    tokens += 1;
    if ("{[(".includes(token.kind)) nesting += 1;
    else if ("}])".includes(token.kind)) nesting -= 1;
    if (tokens > maxTokens) {
      const message = `The document has more than ${maxTokens} tokens, which is the limit.`;
      throw refuse(message, { tokens: { limit: maxTokens } }, token);
    }
    if (nesting > MAX_NESTING) {
      const message = `The document is nested more than ${MAX_NESTING} deep, which is the limit.`;
      throw refuse(message, { nesting: { limit: MAX_NESTING } }, token);
    }
  }
  return parse(source);
}

/** How much of something a document asks for, where that is known, and how much it may. */
type Figures = Record<string, { requested?: number; limit: number }>;

/** The refusal of a document that asks for too much. */
export function tooComplex(message: string, figures: Figures, place: GraphQLErrorOptions): GraphQLError {
  return new GraphQLError(message, { ...place, extensions: { code: "QUERY_TOO_COMPLEX", ...figures } });
}
