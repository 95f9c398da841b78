// Runs in the browser, after Swagger UI's own script. The token, typed or filled in, is kept nowhere: it goes with the page.
const dark = matchMedia("(prefers-color-scheme: dark)");
const follow = () => document.documentElement.classList.toggle("dark-mode", dark.matches);
dark.addEventListener("change", follow);
follow();

const { token } = document.getElementById("docs").dataset;

const reference = SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#docs",
  deepLinking: true,
  displayRequestDuration: true,
  tryItOutEnabled: true,
  persistAuthorization: false,
  onComplete: () => token && reference.preauthorizeApiKey("token", token),
  defaultModelsExpandDepth: 0,
  // It would send the document's address to a checker on another host.
  validatorUrl: null,
});
