// Loaded with `node --import` before a reference server: gives postgres.js a queue that does not grow slower while it
// runs, so that the references are as well tuned as the gateway, which mends the driver in its own way.
import { register } from "node:module";

const hooks = `
  export async function resolve(specifier, context, next) {
    const isQueue = specifier === "./queue.js" && context.parentURL?.includes("/node_modules/postgres/src/");
    return isQueue ? { url: ${JSON.stringify(new URL("queue.mjs", import.meta.url).href)}, shortCircuit: true } : next(specifier, context);
  }
`;
register(`data:text/javascript,${encodeURIComponent(hooks)}`);
