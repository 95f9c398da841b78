import fc, { type GeneratorValue } from "fast-check";
import {
  type GraphQLArgument,
  type GraphQLField,
  type GraphQLInputType,
  type GraphQLOutputType,
  type GraphQLSchema,
  getNamedType,
  isAbstractType,
  isEnumType,
  isInputObjectType,
  isListType,
  isNonNullType,
  isObjectType,
} from "graphql";

/** A request of GraphQL as a client would post it. */
export interface GraphqlRequest {
  query: string;
  variables: Record<string, unknown>;
}

/** For each type, a literal that is not a value of it. */
const WRONG_LITERALS = [
  ...[
    "null",
    "-1",
    "0",
    "9007199254740993",
    "18446744073709551616",
    "1e309",
    "-0.0",
    "true",
    "NOPE",
    "$lost",
  ],
  ...["[]", "[[[]]]", "{}", "{ __proto__: 1 }", '"\\u0000"', '"\\uD800"', '"""block"""', '""', "[null]"],
];
const WRONG_VALUES = [
  ...[null, -1, 2 ** 31, 2 ** 53, 1e308, true, "NOPE", [], [[[null]]], {}, "\u0000", "\ud800", ""],
  ...[JSON.parse('{"__proto__":{"polluted":1}}'), { constructor: { prototype: 1 } }, [null]],
];
const INTROSPECTION = [
  "__schema { types { name fields(includeDeprecated: true) { name args { name type { ofType { name } } } } } }",
  '__type(name: "Kyc") { name kind fields { name } }',
  '__type(name: "__proto__") { name }',
  "__typename",
];

/**
 * Generates documents for a schema: mostly valid ones, with every field, argument and type, and some invalid parts.
 * `texts` are used as strings and ids.
 */
export class DocumentWriter {
  readonly #schema: GraphQLSchema;
  readonly #texts: fc.Arbitrary<string>;
  readonly #g: GeneratorValue;
  #declared: string[] = [];
  #variables: Record<string, unknown> = {};

  constructor(schema: GraphQLSchema, texts: fc.Arbitrary<string>, g: GeneratorValue) {
    this.#schema = schema;
    this.#texts = texts;
    this.#g = g;
  }

  write(): GraphqlRequest {
    const kind = this.#chance(35) ? "mutation" : this.#chance(3) ? "subscription" : "query";
    const root = kind === "mutation" ? this.#schema.getMutationType() : this.#schema.getQueryType();
    const selection = root ? this.#selection(root, 0) : "{ __typename }";
    const declared = this.#declared.length > 0 ? `(${this.#declared.join(", ")})` : "";
    const fragment = this.#chance(15)
      ? ` fragment part on ${this.#pick(["Query", "Kyc", "Nope"])} { ${this.#pick(["id", "...part", "kycs { totalCount }"])} }`
      : "";
    return {
      query: this.#spoil(`${kind} ${this.#chance(30) ? "Named" : ""} ${declared} ${selection}${fragment}`),
      variables: this.#variables,
    };
  }

  #chance(percent: number): boolean {
    return this.#g(fc.integer, { min: 0, max: 99 }) < percent;
  }

  #pick<T>(items: readonly T[]): T {
    return items[this.#g(fc.integer, { min: 0, max: items.length - 1 })] as T;
  }

  #text(): string {
    return this.#g(() => this.#texts);
  }

  #selection(type: GraphQLOutputType, depth: number): string {
    const named = getNamedType(type);
    if (isAbstractType(named))
      return `{ id __typename ... on Kyc ${this.#selection(this.#kyc(), depth + 1)} }`;
    if (!isObjectType(named) || depth > 8) return "";
    const fields = Object.values(named.getFields());
    const parts = Array.from({ length: this.#g(fc.integer, { min: 1, max: 4 }) }, () => {
      if (this.#chance(2))
        return this.#pick(["nope", "__proto__", "constructor", "...part", "... { nope }", "{}"]);
      if (depth === 0 && this.#chance(5)) return this.#pick(INTROSPECTION);
      if (this.#chance(5)) return "__typename";
      return this.#field(this.#pick(fields), depth);
    });
    return `{ ${parts.join(" ")} }`;
  }

  #kyc() {
    const type = this.#schema.getType("Kyc");
    if (!isObjectType(type)) throw new Error("the schema has no Kyc");
    return type;
  }

  #field(field: GraphQLField<unknown, unknown>, depth: number): string {
    const alias = this.#chance(15) ? `${this.#pick(["a", "b", "__proto__", "id", "x1"])}: ` : "";
    const given = field.args.filter((arg) => (isNonNullType(arg.type) ? !this.#chance(3) : this.#chance(40)));
    const args = given.map((arg) => `${arg.name}: ${this.#argument(arg)}`);
    if (this.#chance(2)) args.push("nope: 1");
    const directive = this.#chance(8)
      ? this.#pick([
          "@include(if: true)",
          "@skip(if: false)",
          "@skip",
          "@nope",
          "@include(if: 5)",
          "@deprecated",
        ])
      : "";
    const selection = this.#selection(field.type, depth + 1);
    return `${alias}${field.name}${args.length > 0 ? `(${args.join(", ")})` : ""} ${directive} ${selection}`;
  }

  #argument({ type }: GraphQLArgument): string {
    if (!this.#chance(40)) return this.#literal(type);
    const name = this.#chance(3)
      ? this.#pick(["__proto__", "constructor", "toString"])
      : `v${this.#declared.length}`;
    this.#declared.push(`$${name}: ${this.#chance(90) ? type : "Int"}`);
    if (!this.#chance(3)) {
      const value = this.#value(type);
      Object.defineProperty(this.#variables, name, { value, enumerable: true, configurable: true });
    }
    return `$${name}`;
  }

  #literal(type: GraphQLInputType): string {
    if (this.#chance(6)) return this.#pick(WRONG_LITERALS);
    if (isNonNullType(type)) return this.#literal(type.ofType);
    if (isListType(type)) return `[${this.#some().map(() => this.#literal(type.ofType))}]`;
    if (isInputObjectType(type)) {
      const fields = Object.values(type.getFields()).filter(() => !this.#chance(20));
      return `{ ${fields.map((field) => `${field.name}: ${this.#literal(field.type)}`).join(", ")} }`;
    }
    if (isEnumType(type)) return this.#pick(type.getValues()).name;
    return JSON.stringify(this.#scalar(type.name));
  }

  #value(type: GraphQLInputType): unknown {
    if (this.#chance(6)) return this.#pick(WRONG_VALUES);
    if (isNonNullType(type)) return this.#value(type.ofType);
    if (isListType(type)) return this.#some().map(() => this.#value(type.ofType));
    if (isInputObjectType(type)) {
      const fields = Object.values(type.getFields()).filter(() => !this.#chance(20));
      return Object.fromEntries(fields.map((field) => [field.name, this.#value(field.type)]));
    }
    return isEnumType(type) ? this.#pick(type.getValues()).name : this.#scalar(type.name);
  }

  #some(): undefined[] {
    return Array.from({ length: this.#g(fc.integer, { min: 0, max: 3 }) }, () => undefined);
  }

  #scalar(name: string): unknown {
    if (name === "Boolean") return this.#chance(50);
    if (name === "Int") return this.#pick([-1, 0, 1, 2, 10, 100, 101, 2 ** 31 - 1, -(2 ** 31)]);
    if (name === "DateTime" && this.#chance(70))
      return this.#pick([
        "2026-01-01T00:00:00Z",
        "0000-01-01T00:00:00Z",
        "9999-12-31T23:59:59.999+14:00",
        "2026",
      ]);
    return this.#text();
  }

  /** Takes a piece away or puts one in, now and then. */
  #spoil(query: string): string {
    if (!this.#chance(10)) return query;
    const at = this.#g(fc.integer, { min: 0, max: query.length });
    const end = at + this.#g(fc.integer, { min: 0, max: 3 });
    // Names are repeated in errors: a value that loses its quotes must not turn into one.
    const before = query.slice(0, at);
    if (/"[^"]*$/.test(before) || query.slice(at, end).includes('"')) return query;
    return (
      before +
      this.#pick(["", "{", "}", "(", '"""', "\u0000", "\ufeff", "#", "…", "&", "$"]) +
      query.slice(end)
    );
  }
}
