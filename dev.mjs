// `npm run dev`: builds the gateway and starts it, and does both again when a file in src changes. The data stays. If a
// build fails, its errors are shown and the gateway keeps running as it is.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readdirSync, watch } from "node:fs";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";

/** Editors write several files at once. Milliseconds. */
const SETTLE_MS = 100;

const run = (...args) => spawn(process.execPath, args, { stdio: "inherit" });
const isRunning = (child) => child?.exitCode === null && child.signalCode === null;

let gateway;
async function stop(signal) {
  if (!isRunning(gateway)) return;
  gateway.kill(signal);
  await once(gateway, "exit");
}

// A terminal sends SIGINT to the gateway, too, which is one signal to it however often it arrives.
for (const signal of ["SIGINT", "SIGTERM"]) {
  process.on(signal, async () => {
    await stop(signal);
    process.exit(gateway?.exitCode ?? 0);
  });
}

let isChanged = false;
let onChange = () => {};
const watched = new Set();

/** Watches each folder by itself: Node 20 loses files that editors replace if it watches a tree. */
function watchFolders() {
  const inside = readdirSync("src", { recursive: true, withFileTypes: true });
  const folders = inside
    .filter((one) => one.isDirectory())
    .map(({ parentPath, name }) => join(parentPath, name));
  for (const folder of ["src", ...folders]) {
    if (watched.has(folder)) continue;
    watched.add(folder);
    watch(folder, () => {
      isChanged = true;
      onChange();
    }).on("error", () => watched.delete(folder));
  }
}

for (;;) {
  isChanged = false;
  watchFolders();
  const [code] = await once(run("build.mjs"), "exit");
  if (code === 0) {
    await stop("SIGTERM");
    gateway = run("dist/cli.js", "serve");
  } else if (isRunning(gateway)) console.error("The build failed: the gateway keeps running as it is.");
  if (!isChanged) await new Promise((resolve) => (onChange = resolve));
  await wait(SETTLE_MS);
}
