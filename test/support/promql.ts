import { parser } from "@prometheus-io/lezer-promql";

/** The metrics, labels and ranges that a Prometheus expression uses. */
export interface Queried {
  /** Each metric with the labels that are matched, grouped by or joined on with it. */
  metrics: Map<string, Set<string>>;
}

const AGGREGATION = "AggregateExpr";
const JOIN = "BinaryExpr";

/** The metrics and labels of an expression. Fails if it is not valid. */
export function readExpression(text: string): Queried {
  const tree = parser.parse(text);
  const metrics: Queried["metrics"] = new Map();
  type Node = typeof tree.topNode;
  const textOf = ({ from, to }: Node) => text.slice(from, to);
  const childrenOf = (node: Node) => {
    const children: Node[] = [];
    for (let child = node.firstChild; child; child = child.nextSibling) children.push(child);
    return children;
  };
  /** Returns the metrics below a node. */
  const visit = (node: Node): Set<string> => {
    if (node.type.isError) throw new Error(`not valid at ${node.from}: ${text}`);
    if (node.name === "VectorSelector") {
      const name = childrenOf(node).find((child) => child.name === "Identifier");
      if (!name) throw new Error(`a selector without a metric: ${text}`);
      const labels = metrics.get(textOf(name)) ?? new Set();
      metrics.set(textOf(name), labels);
      for (const label of labelsIn(node)) labels.add(label);
      return new Set([textOf(name)]);
    }
    const below = new Set(childrenOf(node).flatMap((child) => [...visit(child)]));
    if (node.name === AGGREGATION || node.name === JOIN) {
      const grouping = childrenOf(node).filter(({ name }) => /Modifier|Clause/.test(name));
      for (const label of grouping.flatMap(labelsIn)) for (const name of below) metrics.get(name)?.add(label);
    }
    return below;
  };
  const labelsIn = (node: Node): string[] =>
    node.name === "LabelName" ? [textOf(node)] : childrenOf(node).flatMap(labelsIn);
  visit(tree.topNode);
  return { metrics };
}
