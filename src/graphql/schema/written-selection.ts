import {
  type FieldNode,
  GraphQLIncludeDirective,
  type GraphQLResolveInfo,
  GraphQLSkipDirective,
  getDirectiveValues,
  Kind,
  type SelectionNode,
  type SelectionSetNode,
} from "graphql";

/** The fields of a written record that a token without `kyc:read` may select, and the fields that lead to them. */
const ALLOWED = new Set([
  ...["kyc", "kycEdge", "node", "id", "version", "__typename"],
  // The outcomes of several writes.
  ...["results", "error", "code", "message", "currentVersion", "fields", "path"],
]);

/**
 * Whether a mutation selects more of the record than its id and version, including through fragments and aliases. Each
 * fragment is visited once.
 */
export function selectsRecord(info: GraphQLResolveInfo): boolean {
  const seen = new Set<string>();
  const isSelected = (node: SelectionNode) =>
    getDirectiveValues(GraphQLSkipDirective, node, info.variableValues)?.if !== true &&
    getDirectiveValues(GraphQLIncludeDirective, node, info.variableValues)?.if !== false;
  const anyOther = (set: SelectionSetNode | undefined): boolean =>
    set?.selections.some((node) => isSelected(node) && isOther(node)) ?? false;
  const isOther = (node: SelectionNode): boolean => {
    if (node.kind === Kind.FIELD) return !ALLOWED.has(node.name.value) || anyOther(node.selectionSet);
    if (node.kind === Kind.INLINE_FRAGMENT) return anyOther(node.selectionSet);
    const name = node.name.value;
    if (seen.has(name)) return false;
    seen.add(name);
    return anyOther(info.fragments[name]?.selectionSet);
  };
  return info.fieldNodes.some((node: FieldNode) => anyOther(node.selectionSet));
}
