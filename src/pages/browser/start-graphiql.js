// Runs in the browser, as a module. The editor looks for its workers while its own module loads, hence the order.
import { developmentToken } from "./development-token.js";

const { script, workers, tabs, ...settings } = JSON.parse(document.getElementById("settings").textContent);
globalThis.MonacoEnvironment = {
  getWorker: (_, label) => new Worker(workers[label] ?? workers.editorWorkerService, { name: label }),
};
const token = await developmentToken();
const { renderYogaGraphiQL } = await import(script);
const kept = JSON.parse(sessionStorage.getItem("graphiql:tabState"));
const tab = kept?.tabs[kept.activeTabIndex];
renderYogaGraphiQL(document.getElementById("graphiql"), {
  endpoint: "/graphql",
  title: "KYC gateway",
  defaultQuery: "",
  ...settings,
  defaultTabs: token === null ? tabs.withoutToken : tabs.withToken,
  ...(token !== null && { headers: JSON.stringify({ Authorization: `Bearer ${token}` }, null, 2) }),
  // A reload finds the tab again by its contents, and would open an empty one otherwise.
  initialQuery: tab?.query,
  initialVariables: tab?.variables,
  defaultEditorToolsVisibility: "headers",
  // Queries and variables hold personal data: they stay out of the address and so of the history, and
  // are forgotten with the tab. Tokens that are typed are not kept at all.
  onEditQuery() {},
  storage: sessionStorage,
  shouldPersistHeaders: false,
});
