import { readdirSync, readFileSync } from "node:fs";

/** A fenced block of a document. */
export interface Block {
  /** The document's path, and the number of the block's first line: how a test names it. */
  name: string;
  language: string;
  /** The text after the language, such as `answer`. */
  role: string;
  text: string;
  /** The comment on the line before it, without its marks. */
  mark: string | undefined;
}

/** Every document that users and developers read, by its path. */
export const DOCUMENTS = [
  ...["README.md", "SECURITY.md", "CONTRIBUTING.md", "CHANGELOG.md", "bench/README.md"],
  ...readdirSync("docs").map((name) => `docs/${name}`),
];

/** The blocks of a document, in their order. */
export function blocksOf(path: string): Block[] {
  const text = readFileSync(path, "utf8");
  return [...text.matchAll(/^(?:<!-- (.*) -->\n+)?```(\w*) *(.*)\n([\s\S]*?)^```$/gm)].map((match) => {
    const [all, mark, language = "", role = "", inside = ""] = match;
    const start = text.slice(0, match.index + all.indexOf("```")).split("\n").length + 1;
    return { name: `${path}:${start}`, language, role, text: inside, mark };
  });
}
