import type { Metric, Registry } from "prom-client";

interface Series {
  labels: Record<string, string>;
  /** The number of values up to each bound and above the previous one. The last counts those above all bounds. */
  counts: number[];
  sum: number;
}

/** A histogram in a prom-client registry. It replaces prom-client's own, which takes ten times as long for each value. */
export class Histogram {
  readonly #labelNames: readonly string[];
  readonly #buckets: readonly number[];
  readonly #series = new Map<string, Series>();

  /** `buckets` are upper bounds in ascending order. */
  constructor(
    registry: Registry,
    {
      name,
      help,
      labelNames,
      buckets,
    }: { name: string; help: string; labelNames: readonly string[]; buckets: readonly number[] },
  ) {
    this.#labelNames = labelNames;
    this.#buckets = buckets;
    const get = async () => ({
      name,
      help,
      type: "histogram",
      aggregator: "sum",
      values: this.#values(name),
    });
    registry.registerMetric({ name, get } as unknown as Metric);
  }

  /** Counts a value. `labels` has one value for each label name. */
  observe(value: number, ...labels: string[]): void {
    const key = labels.join("\n");
    let series = this.#series.get(key);
    if (!series) {
      const named = this.#labelNames.map((name, index) => [name, labels[index]]);
      series = {
        labels: Object.fromEntries(named),
        counts: new Array(this.#buckets.length + 1).fill(0),
        sum: 0,
      };
      this.#series.set(key, series);
    }
    let bucket = 0;
    while (bucket < this.#buckets.length && value > (this.#buckets[bucket] as number)) bucket += 1;
    (series.counts[bucket] as number) += 1;
    series.sum += value;
  }

  #values(name: string): { metricName: string; labels: Record<string, string | number>; value: number }[] {
    return [...this.#series.values()].flatMap(({ labels, counts, sum }) => {
      let count = 0;
      const below = counts.map((size, bucket) => {
        count += size;
        const le = this.#buckets[bucket] ?? "+Inf";
        return { metricName: `${name}_bucket`, labels: { le, ...labels }, value: count };
      });
      return [
        ...below,
        { metricName: `${name}_sum`, labels, value: sum },
        { metricName: `${name}_count`, labels, value: count },
      ];
    });
  }
}
