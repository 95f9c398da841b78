import { existsSync } from "node:fs";
import { type Browser, chromium, type Locator, type Page } from "playwright-core";

/** A name that leads the browser here, and is none of this machine's own. */
export const OTHER_NAME = "kyc.test";

/** For a gateway that runs next to a browser, which takes all processors for a while: it must not refuse pages meanwhile. */
export const BESIDE_BROWSER = { LOG_LEVEL: "error", MAX_EVENT_LOOP_DELAY: "10 min" };

/** Chromium, without a network: it reaches this machine, and nothing else has an address. */
export async function launchChromium(): Promise<Browser> {
  const executablePath = process.env.CHROMIUM_PATH ?? "/usr/bin/chromium";
  if (!existsSync(executablePath)) {
    throw new Error(
      `There is no Chromium at ${executablePath}. Install it (apt-get install chromium), or set CHROMIUM_PATH to where it is.`,
    );
  }
  return chromium.launch({
    executablePath,
    args: [
      "--no-sandbox",
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
      `--host-resolver-rules=MAP ${OTHER_NAME} 127.0.0.1, MAP * ~NOTFOUND, EXCLUDE 127.0.0.1`,
    ],
  });
}

/** A page, and what it must not do. */
export interface WatchedPage {
  page: Page;
  /** Its requests to other origins, and the errors of the page and the browser. */
  faults: string[];
  close(): Promise<void>;
}

/** An empty page in a new session. Each request to another origin is refused and listed. */
export async function openPage(browser: Browser, origin: string): Promise<WatchedPage> {
  const faults: string[] = [];
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 } });
  await context.route(
    (address) => /^(http|ws)/.test(address.protocol) && address.origin !== origin,
    (route) => {
      faults.push(`foreign: ${route.request().url()}`);
      return route.abort();
    },
  );
  await context.addInitScript(
    "addEventListener('securitypolicyviolation', (event) => console.error('CSP', event.violatedDirective, event.blockedURI))",
  );
  const page = await context.newPage();
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type()))
      faults.push(`${message.text()} ${message.location().url}`);
  });
  page.on("pageerror", (error) => faults.push(error.message));
  return { page, faults, close: () => context.close() };
}

/** All that the page has stored in the browser. */
export function keptInBrowser(page: Page): Promise<string> {
  return page.evaluate(
    "indexedDB.databases().then((databases) => JSON.stringify([localStorage, sessionStorage, databases, document.cookie, location.href]))",
  );
}

/** The text of an editor, which has non-breaking spaces. */
export async function visibleText(editor: Locator): Promise<string> {
  return (await editor.innerText()).replaceAll("\u00a0", " ");
}
