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

/** The nesting of braces, brackets and parentheses: the parser recurses once for each level. */
const MAX_NESTING = 200;
/**
 * A document's syntax tree. Fails with a GraphQLError if the text is not GraphQL, and with QUERY_TOO_COMPLEX if it is
 * longer or deeper than the limits, before it is parsed.
 */
export function parseDocument(text: Source | string, maxTokens: number): DocumentNode {
  const source = typeof text === "string" ? new Source(text) : text;
  requireSmall(source, maxTokens);
  const document = parse(source);
  // graphql-js would read the text from its start for each error, to find its line: many errors in a long text would
  // take seconds. The tree's tokens know their lines.
  source.body = "";
  return document;
}

function requireSmall(source: Source, maxTokens: number): void {
  const lexer = new Lexer(source);
  const refuse = (message: string, figures: Figures, { start }: Token) =>
    tooComplex(message, figures, { source, positions: [start] });
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
}

/** By limit: how much a document asks for, if that is known, and how much it may. */
type Figures = Record<string, { requested?: number; limit: number }>;

/** The error for a document that asks for too much. */
export function tooComplex(message: string, figures: Figures, place: GraphQLErrorOptions): GraphQLError {
  return new GraphQLError(message, { ...place, extensions: { code: "QUERY_TOO_COMPLEX", ...figures } });
}
