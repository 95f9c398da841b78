import {
  type ASTNode,
  type DocumentNode,
  type FragmentDefinitionNode,
  Kind,
  type OperationDefinitionNode,
  visit,
} from "graphql";
import type { FieldFault } from "../../errors.ts";

export type Path = (string | number)[];
/** A step of the way from the document to a node: a node, or a list of nodes. */
export type Step = ASTNode | readonly ASTNode[];

/**
 * The path of the value at the end of this way, from the argument that it is given for: `input.documentNumber`. In a variable's
 * default it is the path of the variable, `$name`.
 */
export function pathOfValue(way: readonly Step[]): Path {
  const path: Path = [];
  for (const [index, step] of way.entries()) {
    if (Array.isArray(step)) {
      const parent = way[index - 1] as ASTNode;
      const next = way[index + 1] as ASTNode;
      if (parent.kind === Kind.LIST) path.push(step.indexOf(next));
    } else path.push(...nameOf(step as ASTNode));
  }
  return path;
}

function nameOf(node: ASTNode): string[] {
  if (node.kind === Kind.ARGUMENT || node.kind === Kind.OBJECT_FIELD) return [node.name.value];
  return node.kind === Kind.VARIABLE_DEFINITION ? [`$${node.variable.name.value}`] : [];
}

/**
 * The faults of variables, whose paths start at the variables, with paths that start at the arguments that the
 * variables are used in. If a variable is used several times, the first counts.
 */
export function placeVariables(
  document: DocumentNode,
  operation: OperationDefinitionNode,
  faults: readonly FieldFault[],
): FieldFault[] {
  const usages = findUsages(document, operation);
  return faults.map((fault) => {
    const [name, ...below] = fault.path;
    return { ...fault, path: [...(usages.get(String(name)) ?? [String(name)]), ...below] };
  });
}

function findUsages(document: DocumentNode, operation: OperationDefinitionNode): Map<string, Path> {
  const fragments = new Map<string, FragmentDefinitionNode>();
  for (const node of document.definitions)
    if (node.kind === Kind.FRAGMENT_DEFINITION) fragments.set(node.name.value, node);
  const usages = new Map<string, Path>();
  // Iterating over a set includes items that are added meanwhile, so each fragment is visited once.
  const parts = new Set<OperationDefinitionNode | FragmentDefinitionNode>([operation]);
  for (const part of parts) {
    visit(part, {
      VariableDefinition: () => false,
      Variable(node, _key, parent, _path, ancestors) {
        const { value } = node.name;
        if (!usages.has(value)) usages.set(value, pathOfValue([...ancestors, parent ?? [], node]));
      },
      FragmentSpread({ name }) {
        const fragment = fragments.get(name.value);
        if (fragment) parts.add(fragment);
      },
    });
  }
  return usages;
}
