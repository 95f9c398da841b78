/**
 * The URL of a file of the package. `path` is relative to this file. It means the same in dist, because the build puts
 * all code at the top of dist: this file must stay at the top of src for that.
 */
export function packageFile(path: string): URL {
  return new URL(path, import.meta.url);
}
