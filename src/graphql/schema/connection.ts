import type { ArgBuilder, ObjectRef } from "@pothos/core";
import { type FieldNode, type GraphQLResolveInfo, Kind } from "graphql";
import { type PagedList, whenRead } from "../../paging/list.ts";
import { COUNT_COST } from "../documents/field-costs.ts";
import { builder } from "./builder.ts";

type SchemaTypes = typeof builder.$inferSchemaTypes;

/** An edge. Its cursor is computed only if it is selected. */
export class Edge<Item> {
  readonly node: Item;
  readonly #list: Pick<PagedList<Item>, "cursorOf">;

  constructor(node: Item, list: Pick<PagedList<Item>, "cursorOf">) {
    this.node = node;
    this.#list = list;
  }

  get cursor(): string {
    return this.#list.cursorOf(this.node);
  }
}

const cursorAt = (list: PagedList<unknown>, index: 0 | -1) =>
  whenRead(list.page(), ({ items }) => (items.length === 0 ? null : list.cursorOf(items.at(index))));

const PageInfo = builder.objectRef<PagedList<unknown>>("PageInfo").implement({
  description: "The position of a page in its list.",
  fields: (t) => ({
    hasNextPage: t.boolean({
      description: "Whether there are more items after this page.",
      resolve: (list) => list.hasNextPage(),
    }),
    hasPreviousPage: t.boolean({
      description: "Whether there are items before this page.",
      resolve: (list) => list.hasPreviousPage(),
    }),
    startCursor: t.string({
      nullable: true,
      description: "The cursor of the page's first edge; null if the page is empty.",
      resolve: (list) => cursorAt(list, 0),
    }),
    endCursor: t.string({
      nullable: true,
      description: "The cursor of the page's last edge; null if the page is empty.",
      resolve: (list) => cursorAt(list, -1),
    }),
  }),
});

/** The connection and edge types of a list of `node`, an item of which is called `item` in their descriptions. */
export function connectionOf<Item>(node: ObjectRef<SchemaTypes, Item>, item: string) {
  const items = `${item.replace(/y$/, "ie")}s`;
  const EdgeType = builder.objectRef<Edge<Item>>(`${node.name}Edge`).implement({
    description: `One ${item} and its position in the list.`,
    fields: (t) => ({
      cursor: t.exposeString("cursor", {
        description: `The position, as an opaque text for \`after\` and \`before\`. It keeps working if the ${item} is gone.`,
      }),
      node: t.expose("node" as never, { type: node, description: `The ${item}.` }) as never,
    }),
  });
  const ConnectionType = builder.objectRef<PagedList<Item>>(`${node.name}Connection`).implement({
    description: `A page of ${items}, in the order of the list.`,
    fields: (t) => ({
      edges: t.field({
        type: [EdgeType],
        description: `The page's ${items} with their cursors.`,
        resolve: (list) => whenRead(list.page(), ({ items }) => items.map((each) => new Edge(each, list))),
      }),
      nodes: t.field({
        type: [node],
        description: `The page's ${items}, without their cursors.`,
        resolve: (list) => whenRead(list.page(), ({ items }) => items),
      }),
      pageInfo: t.field({
        type: PageInfo,
        description: "The position of the page in its list.",
        resolve: (list) => list as PagedList<unknown>,
      }),
      totalCount: t.int({
        extensions: { cost: COUNT_COST },
        description: `How many ${items} match the filter, on all pages. It takes a separate query, which only runs if this field is selected.`,
        resolve: (list) => list.totalCount(),
      }),
    }),
  });
  return { EdgeType, ConnectionType };
}

/** The arguments of a field that is a connection. */
export function pageArgs({ arg }: { arg: ArgBuilder<SchemaTypes> }) {
  return {
    first: arg.int({
      description: "How many from the start of the range, 0 to 100. Not together with `last`.",
    }),
    after: arg.string({ description: "Only items after this cursor, in the order of the list." }),
    last: arg.int({
      description: "How many from the end of the range, 0 to 100. Not together with `first`.",
    }),
    before: arg.string({ description: "Only items before this cursor, in the order of the list." }),
  };
}

/** Reads the page before its fields are resolved, because a promise for each field is a large part of a page's cost. */
export async function readAhead<Item>(
  list: PagedList<Item>,
  { fieldNodes }: GraphQLResolveInfo,
): Promise<PagedList<Item>> {
  if (selectsMoreThanCount(fieldNodes)) await list.page();
  return list;
}

const COUNTS = new Set(["totalCount", "__typename"]);

/** Whether more than the count is selected. Fragments count as more. */
function selectsMoreThanCount(nodes: readonly FieldNode[]): boolean {
  return nodes.some(({ selectionSet }) =>
    selectionSet?.selections.some((node) => node.kind !== Kind.FIELD || !COUNTS.has(node.name.value)),
  );
}
