import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { type CodegenConfig, generate } from "@graphql-codegen/cli";
import { afterAll, beforeAll, expect, test } from "vitest";
import { blocksOf } from "../../support/documents.ts";
import { ROOT, tidyUp } from "../support/gateway.ts";
import { createProject, type FrontEnd, startFrontEnd, startTrustedOnly } from "./front-end.ts";

const DOCUMENTS = `
import { graphql } from "./gql/index.ts";

export const list = graphql(\`
  query KycList($first: Int!, $status: VerificationStatus) {
    kycs(first: $first, filter: { verificationStatus: $status }) {
      nodes { id customerId verificationStatus createdAt version }
    }
  }
\`);
`;

/** A front end that uses the types, well and badly. */
const USE = `
import type { ResultOf, VariablesOf } from "@graphql-typed-document-node/core";
import { list } from "./documents.ts";

type Node = ResultOf<typeof list>["kycs"]["nodes"][number];
export const good: VariablesOf<typeof list> = { first: 2, status: "PENDING" };
export const label = (node: Node): string => node.customerId + node.createdAt.slice(0, 10) + node.version.toFixed();
// @ts-expect-error a size is needed
export const withoutSize: VariablesOf<typeof list> = { status: "PENDING" };
// @ts-expect-error no status of the schema's
export const unknownStatus: VariablesOf<typeof list> = { first: 2, status: "LOUD" };
// @ts-expect-error not selected
export const number = (node: Node): string => node.documentNumber;
`;

const TSCONFIG = {
  compilerOptions: {
    ...{ strict: true, noEmit: true, target: "es2023", module: "nodenext", skipLibCheck: true, types: [] },
    allowImportingTsExtensions: true,
  },
  files: ["use.ts"],
};

/** The configuration that docs/graphql.md recommends. */
async function documentedConfig(): Promise<CodegenConfig> {
  const block = blocksOf("docs/graphql.md").find(({ language }) => language === "ts");
  const { default: config } = await import(`data:text/javascript,${encodeURIComponent(block?.text ?? "")}`);
  return config;
}

let frontEnd: FrontEnd;
let project: string;
beforeAll(async () => {
  frontEnd = await startFrontEnd(3);
  project = await createProject({
    "documents.ts": DOCUMENTS,
    "use.ts": USE,
    "tsconfig.json": JSON.stringify(TSCONFIG),
    "package.json": '{"type":"module"}',
  });
  await generate(
    {
      ...(await documentedConfig()),
      ...{ cwd: project, silent: true, schema: join(ROOT, "schema.graphql"), documents: "documents.ts" },
      importExtension: ".ts",
    },
    true,
  );
});
afterAll(tidyUp);

test("the types that graphql-codegen makes of schema.graphql compile, and know the schema", async () => {
  await promisify(execFile)(process.execPath, [
    join(ROOT, "node_modules/typescript/bin/tsc"),
    "-p",
    project,
  ]).catch(({ stdout }) => expect(stdout).toBe(""));
});

test("its persisted documents are all that a gateway runs", async () => {
  const manifest = join(project, "gql/persisted-documents.json");
  const [id] = Object.keys(JSON.parse(await readFile(manifest, "utf8")));
  const url = await startTrustedOnly(frontEnd, manifest);
  const ask = async (params: object) => {
    const response = await fetch(url, {
      method: "POST",
      headers: { ...frontEnd.headers, "content-type": "application/json" },
      body: JSON.stringify({ variables: { first: 2 }, ...params }),
    });
    // biome-ignore lint/suspicious/noExplicitAny: what is in it depends on the document
    return response.json() as Promise<any>;
  };
  const { data } = await ask({ extensions: { persistedQuery: { version: 1, sha256Hash: id } } });
  expect(data.kycs.nodes.map((node: { id: string }) => node.id)).toEqual(frontEnd.ids.slice(0, 2));
  expect((await ask({ documentId: id })).data).toEqual(data);
  const refused = await ask({ query: "{ __typename }" });
  expect(refused.errors[0].extensions.code).toBe("PERSISTED_QUERY_ID_REQUIRED");
});
