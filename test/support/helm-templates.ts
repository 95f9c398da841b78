// Renders what the chart under deploy/helm uses of Helm's template language, and fails at anything else: `define`,
// `include`, `.Files.Get`, `if`/`else`, `with`, `range $key, $value :=` or `range $value :=`, and pipelines of `toYaml`, `nindent`,
// `quote` and `default`. Helm itself is not on the machines that run the tests.
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { parse, stringify } from "yaml";

type Scope = { dot: unknown; root: unknown; variables: Record<string, unknown> };
type Node =
  | { text: string }
  | { action: string }
  | { block: "if" | "with" | "range" | "define"; head: string; body: Node[]; otherwise: Node[] };

const ACTION = /\{\{(-?) *([\s\S]*?) *(-?)\}\}/g;

/** Texts and actions in turn. An action with a hyphen removes the white space next to it. */
function tokenize(source: string): ({ text: string } | { action: string })[] {
  const tokens: ({ text: string } | { action: string })[] = [];
  let end = 0;
  let trimNext = false;
  const push = (text: string, trimEnd: boolean) => {
    const start = trimNext ? text.trimStart() : text;
    tokens.push({ text: trimEnd ? start.trimEnd() : start });
  };
  for (const match of source.matchAll(ACTION)) {
    push(source.slice(end, match.index), match[1] === "-");
    tokens.push({ action: match[2] ?? "" });
    trimNext = match[3] === "-";
    end = match.index + match[0].length;
  }
  push(source.slice(end), false);
  return tokens;
}

function build(tokens: ReturnType<typeof tokenize>): Node[] {
  const read = (inside: boolean): { nodes: Node[]; stop: string } => {
    const nodes: Node[] = [];
    for (;;) {
      const token = tokens.shift();
      if (!token) {
        if (inside) throw new Error("a block has no end");
        return { nodes, stop: "" };
      }
      if ("text" in token) {
        nodes.push(token);
        continue;
      }
      if (token.action === "end" || token.action === "else") return { nodes, stop: token.action };
      const [, block, head = ""] = /^(if|with|range|define) (.*)$/.exec(token.action) ?? [];
      if (!block) {
        nodes.push(token);
        continue;
      }
      const { nodes: body, stop } = read(true);
      const otherwise = stop === "else" ? read(true).nodes : [];
      nodes.push({ block: block as "if", head, body, otherwise });
    }
  };
  return read(false).nodes;
}

const isEmpty = (value: unknown): boolean =>
  value === undefined ||
  value === null ||
  value === false ||
  value === "" ||
  value === 0 ||
  (typeof value === "object" && Object.keys(value).length === 0);

/** The output of `helm template` for each file, by its name. */
export function renderChart(
  chart: string,
  { values, release, namespace }: { values: object; release: string; namespace: string },
): Record<string, string> {
  const folder = join(chart, "templates");
  const files = readdirSync(folder).sort();
  const about = parse(readFileSync(join(chart, "Chart.yaml"), "utf8"));
  const root = {
    Values: merge(parse(readFileSync(join(chart, "values.yaml"), "utf8")), values),
    Chart: { Name: about.name, Version: about.version, AppVersion: about.appVersion },
    Release: { Name: release, Namespace: namespace, Service: "Helm" },
  };
  const trees = Object.fromEntries(
    files.map((name) => [name, build(tokenize(readFileSync(join(folder, name), "utf8")))]),
  );
  const defined: Record<string, Node[]> = {};
  for (const node of Object.values(trees).flat())
    if ("block" in node && node.block === "define") defined[JSON.parse(node.head)] = node.body;

  const lookUp = (path: string, from: unknown) => {
    let value = from;
    for (const key of path.split(".").filter(Boolean)) value = (value as Record<string, unknown>)?.[key];
    if (value === undefined) throw new Error(`${path} is nowhere`);
    return value;
  };
  const operand = (word: string, scope: Scope): unknown => {
    if (/^-?\d+$/.test(word)) return Number(word);
    if (word.startsWith('"')) return JSON.parse(word);
    if (word === ".") return scope.dot;
    if (word.startsWith("$")) {
      if (!(word in scope.variables)) throw new Error(`${word} is nowhere`);
      return scope.variables[word];
    }
    if (word.startsWith(".")) return lookUp(word, scope.dot);
    throw new Error(`unknown word ${word}`);
  };
  const call = (words: string[], scope: Scope, piped: unknown[]): unknown => {
    const [name = "", ...rest] = words;
    const given = [...rest.map((word) => operand(word, scope)), ...piped];
    if (name === "include") return render(lookUpDefined(String(given[0])), { ...scope, dot: given[1] });
    if (name === ".Files.Get") return readFileSync(join(chart, String(given[0])), "utf8");
    if (name === "toYaml") return stringify(given[0]).trimEnd();
    if (name === "quote") return JSON.stringify(String(given[0]));
    if (name === "default") return isEmpty(given[1]) ? given[0] : given[1];
    if (name === "nindent")
      return `\n${String(given[1])}`.replaceAll("\n", `\n${" ".repeat(Number(given[0]))}`);
    if (words.length === 1 && piped.length === 0) return operand(name, scope);
    throw new Error(`unknown function ${name}`);
  };
  const lookUpDefined = (name: string) => {
    const found = defined[name];
    if (!found) throw new Error(`no template ${name}`);
    return found;
  };
  const evaluate = (pipeline: string, scope: Scope): unknown => {
    let piped: unknown[] = [];
    for (const part of pipeline.split(" | ")) piped = [call(part.match(/"[^"]*"|\S+/g) ?? [], scope, piped)];
    return piped[0];
  };
  const renderRange = (head: string, body: Node[], scope: Scope): string => {
    const [, first = "", second, list = ""] = /^(\$\w+)(?:, (\$\w+))? := (.*)$/.exec(head) ?? [];
    if (first === "") throw new Error(`unknown range ${head}`);
    const entries = Object.entries(evaluate(list, scope) as object);
    const texts = entries.map(([key, value]) => {
      const variables = second ? { [first]: key, [second]: value } : { [first]: value };
      return render(body, { ...scope, variables: { ...scope.variables, ...variables } });
    });
    return texts.join("");
  };
  const renderNode = (node: Node, scope: Scope): string => {
    if ("text" in node) return node.text;
    if ("action" in node) return String(evaluate(node.action, scope));
    if (node.block === "define") return "";
    if (node.block === "range") return renderRange(node.head, node.body, scope);
    const value = evaluate(node.head, scope);
    if (isEmpty(value)) return render(node.otherwise, scope);
    return render(node.body, node.block === "with" ? { ...scope, dot: value } : scope);
  };
  const render = (nodes: Node[], scope: Scope): string =>
    nodes.map((node) => renderNode(node, scope)).join("");

  const scope = { dot: root, root, variables: {} };
  const printed = files.filter((name) => !name.startsWith("_"));
  return Object.fromEntries(printed.map((name) => [name, render(trees[name] ?? [], scope)]));
}

function merge(base: unknown, over: unknown): unknown {
  const isMap = (value: unknown): value is Record<string, unknown> =>
    typeof value === "object" && value !== null && !Array.isArray(value);
  if (!isMap(base) || !isMap(over)) return over;
  const entries = Object.entries(over).map(([key, value]) => [
    key,
    key in base ? merge(base[key], value) : value,
  ]);
  return { ...base, ...Object.fromEntries(entries) };
}
