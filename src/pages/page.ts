import type { FastifyReply, FastifyRequest } from "fastify";

/** The gateway's mark, as a separate SVG and for a page's `icon`. */
export const shield =
  "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 24 24' width='24' height='24' fill='none' " +
  "stroke='#d60590' stroke-width='2' stroke-linecap='round' stroke-linejoin='round'>" +
  "<path d='M12 2.5 4 5.5v6c0 5 3.4 8.3 8 10 4.6-1.7 8-5 8-10v-6Z'/><path d='m8.5 12 2.5 2.5 4.5-5'/></svg>";

/** The start of every page; `extra` is added to its head. */
export const pageHead = (title: string, extra: string) => `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>${title}</title>
<link rel="icon" href="data:image/svg+xml,${encodeURIComponent(shield)}">
${extra}
</head>`;

/**
 * Answers with a page that may load only what its policy names. No cache keeps it, and no frame shows it.
 */
export function sendPage(reply: FastifyReply, html: string, sources: Record<string, string>): FastifyReply {
  const policy = {
    "default-src": "'none'",
    ...sources,
    "frame-ancestors": "'none'",
    "base-uri": "'none'",
    "form-action": "'none'",
  };
  return reply
    .type("text/html; charset=utf-8")
    .header(
      "content-security-policy",
      Object.entries(policy)
        .map(([directive, allowed]) => `${directive} ${allowed}`)
        .join("; "),
    )
    .header("cross-origin-resource-policy", "same-origin")
    .header("referrer-policy", "no-referrer")
    .header("x-content-type-options", "nosniff")
    .header("x-frame-options", "DENY")
    .send(html);
}

/** Whether a request prefers an HTML page, as browsers do. */
export function prefersPage(request: FastifyRequest): boolean {
  const { accept } = request.headers;
  const answers = ["application/graphql-response+json", "application/json"];
  return quality(accept, "text/html") > Math.max(...answers.map((type) => quality(accept, type)));
}

/** The quality that a header such as Accept gives to a value, from 0 to 1. Wildcards are ignored. */
export function quality(header: string | undefined, value: string): number {
  for (const choice of (header ?? "").toLowerCase().split(",")) {
    const [name, ...parameters] = choice.split(";").map((part) => part.trim());
    if (name !== value) continue;
    const weight = parameters.find((parameter) => parameter.startsWith("q="));
    return weight === undefined ? 1 : Number(weight.slice(2)) || 0;
  }
  return 0;
}
