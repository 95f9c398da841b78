// The queue that `mend-driver.mjs` substitutes for postgres.js's own.

/** From so many holes on they are cut off, once they are half of the array: a constant cost for each element. */
const HOLES = 64;

/**
 * The queue of postgres.js with the same interface, at a constant cost however long it runs. The driver's own (3.4.9)
 * keeps a hole for each element that was shifted unless it once runs empty, and `remove` looks through all of them.
 *
 * @template T
 * @param {T[]} initial
 */
export default function Queue(initial = []) {
  let elements = initial.slice();
  let head = 0;
  return {
    get length() {
      return elements.length - head;
    },
    remove: (/** @type {T} */ element) => {
      const index = elements.indexOf(element, head);
      if (index === -1) return null;
      elements.splice(index, 1);
      return element;
    },
    push: (/** @type {T} */ element) => {
      elements.push(element);
      return element;
    },
    shift: () => {
      if (head === elements.length) return undefined;
      const element = elements[head];
      elements[head++] = /** @type {T} */ (/** @type {unknown} */ (undefined));
      if (head >= HOLES && head * 2 >= elements.length) {
        elements = elements.slice(head);
        head = 0;
      }
      return element;
    },
  };
}
