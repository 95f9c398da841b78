// Runs in the browser, as a module, after Swagger UI's own script.
import { developmentToken } from "./development-token.js";

const dark = matchMedia("(prefers-color-scheme: dark)");
const follow = () => document.documentElement.classList.toggle("dark-mode", dark.matches);
dark.addEventListener("change", follow);
follow();

const token = await developmentToken();

const reference = SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#docs",
  deepLinking: true,
  displayRequestDuration: true,
  tryItOutEnabled: true,
  // A token that is typed is forgotten with the page.
  persistAuthorization: false,
  onComplete: () => token && reference.preauthorizeApiKey("token", token),
  defaultModelsExpandDepth: 0,
  // It would send the document's address to a checker on another host.
  validatorUrl: null,
});
