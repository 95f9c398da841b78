/** A file of the package, by its path from here: from dist it is the same, where the build puts all code at the top. */
export function beside(path: string): URL {
  return new URL(path, import.meta.url);
}
