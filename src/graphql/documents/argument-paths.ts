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
/** A step from the document to a node: a node, or a list of nodes. */
export type Step = ASTNode | readonly ASTNode[];

/**
 * The path of the value at the end of these steps, from its argument on: `input.documentNumber`. A value in a variable's
 * default has a path that starts at the variable, `$name`.
 */
export function pathOfValue(steps: readonly Step[]): Path {
  const path: Path = [];
  for (const [index, step] of steps.entries()) {
    if (Array.isArray(step)) {
      const parent = steps[index - 1] as ASTNode;
      const next = steps[index + 1] as ASTNode;
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
 * Moves faults from variables to arguments: a path that starts at a variable then starts at the argument that uses it. If
 * a variable is used several times, the first use counts.
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
