import type { Operation } from "../documents/document.ts";

/** The text of the events of a page. */
export interface RenderedPage {
  text: string;
  /** Changes in the text. */
  changes: number;
  /** Whether it has an error, which contains the id of a request. */
  hasErrors: boolean;
}

/** For how long the subscriptions of a moment share a page. Milliseconds. */
const SHARED_MS = 500;

/** The rendered pages of subscriptions that get the same text for the same events. */
class SharedPages {
  subscriptions = 0;
  #from = -1;
  #count = 0;
  #renderedAt = 0;
  #page: Promise<RenderedPage> | undefined;

  /** The page from this position on: that of another subscription, if it has just rendered the same. */
  async take(from: number, count: number, render: () => Promise<RenderedPage>): Promise<RenderedPage> {
    const now = performance.now();
    const isSame = this.#from === from && this.#count === count && now - this.#renderedAt < SHARED_MS;
    if (isSame && this.#page) {
      const page = await this.#page.catch(() => undefined);
      if (page && !page.hasErrors) return page;
      return render();
    }
    this.#from = from;
    this.#count = count;
    this.#renderedAt = now;
    this.#page = render();
    return this.#page;
  }
}

const shared = new WeakMap<Operation, Map<string, SharedPages>>();

/**
 * The pages that subscriptions to this operation with the same `key` share. `isFirst`: there is no other subscription to
 * the operation. `release` must be called once it is not used any more.
 */
export function sharePages(
  operation: Operation,
  key: string,
): { pages: SharedPages; isFirst: boolean; release(): void } {
  const groups = shared.get(operation) ?? new Map<string, SharedPages>();
  const isFirst = groups.size === 0;
  shared.set(operation, groups);
  const pages = groups.get(key) ?? new SharedPages();
  groups.set(key, pages);
  pages.subscriptions += 1;
  const release = () => {
    pages.subscriptions -= 1;
    if (pages.subscriptions === 0) groups.delete(key);
  };
  return { pages, isFirst, release };
}
