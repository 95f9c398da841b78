import { availableParallelism } from "node:os";
import { defineConfig } from "vitest/config";

export default defineConfig({
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
    // No module does or keeps anything of its own, and loading them anew for each file takes longer than most tests.
    isolate: false,
    projects: [
      {
        extends: true,
        test: {
          name: "unit",
          include: ["test/**/*.test.ts"],
          exclude: ["test/system/**", "test/matrix/**", "**/node_modules/**"],
        },
      },
      {
        extends: true,
        test: {
          name: "system",
          globalSetup: "test/system/support/global-setup.ts",
          include: ["test/system/**/*.test.ts"],
          testTimeout: 120_000,
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
