/** A file that lies beside the code, by its path from here. The build leaves all code, and these files, as they lie here. */
export function beside(path: string): URL {
  return new URL(path, import.meta.url);
}
