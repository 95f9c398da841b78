import { availableParallelism } from "node:os";
import { defineConfig } from "vitest/config";
import { compiledSource } from "./test/support/compiled-source.ts";

/**
 * Tests of one module that are run with the system tests: they cut networks, kill engines, keep a gateway overloaded, let
 * several replicas race, need other programs, or measure times.
 */
const WITH_SYSTEM = [
  "test/changes/stream-memory.test.ts",
  "test/db/embedded/{borrow,embedded,upkeep}.test.ts",
  "test/db/pool/{connections,pool}.test.ts",
  "test/{fuzz-sizes,longest-turn}.test.ts",
  "test/idempotency/{races,rotation}.test.ts",
  "test/kyc/{binding,expiry.property,large-erasure,no-oracle-timing,no-oracle.property,races}.test.ts",
  "test/ledger/{cost,replicas}.test.ts",
  "test/sealing/key-watch.test.ts",
  "test/server/load/{admission,connections,slow-clients}.test.ts",
  "test/webhooks/{deliver,hostile,receivers}.test.ts",
];

const isNode20 = process.versions.node.startsWith("20.");

export default defineConfig({
  plugins: [compiledSource()],
  // graphql-js must be one module: Node loads its CommonJS file for the libraries, Vite would take the other for us.
  resolve: { alias: [{ find: /^graphql$/, replacement: "graphql/index.js" }] },
  test: {
    globalSetup: "test/support/global-setup.ts",
    // Far above what is measured: these only end a test that hangs. A busy machine takes ten times as long as a quiet one.
    testTimeout: 60_000,
    hookTimeout: 60_000,
    expect: { poll: { timeout: 15_000 } },
    // One for each core: Vitest leaves one of two idle. More of them only make what tests wait for come later.
    maxWorkers: availableParallelism(),
    // With V8's defaults, a fifth of the processor time goes into collecting young objects (at 16 MB), and in Node.js 20 an
    // eighth into optimizing functions (after 66 kB of bytecode) that are soon called no more. Later versions lack the option.
    execArgv: ["--max-semi-space-size=64", ...(isNode20 ? ["--interrupt-budget=2162688"] : [])],
    // No module does or keeps anything of its own, and loading them anew for each file takes longer than most tests.
    isolate: false,
    projects: [
      {
        extends: true,
        test: {
          name: "unit",
          // The other projects' tests start processes, these wait for PostgreSQL: with one worker more they take an eighth less.
          // Vitest refuses to run projects with different numbers in one run.
          maxWorkers: availableParallelism() + 1,
          include: ["test/**/*.test.ts"],
          exclude: ["test/system/**", "test/matrix/**", ...WITH_SYSTEM, "**/node_modules/**"],
        },
      },
      {
        extends: true,
        test: {
          name: "system",
          globalSetup: "test/system/support/global-setup.ts",
          include: ["test/system/**/*.test.ts", ...WITH_SYSTEM],
          testTimeout: 300_000,
          hookTimeout: 120_000,
        },
      },
      {
        extends: true,
        test: {
          name: "matrix",
          globalSetup: "test/matrix/support/global-setup.ts",
          include: ["test/matrix/**/*.test.ts"],
          testTimeout: 300_000,
          hookTimeout: 120_000,
        },
      },
    ],
  },
});
