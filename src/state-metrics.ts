import { Counter, Gauge, type Metric, type Registry } from "prom-client";
import { ACCOUNT_SIZES, type RecordCensus } from "./kyc/record-census.ts";
import { MOST_SEALS } from "./sealing/seal-counts.ts";
import type { VerificationStatus } from "./vocabulary.ts";

/** The numbers of sampled spans so far. */
export interface SpanCounts {
  ended: number;
  exported: number;
  /** Given up, because the collector did not accept them in time. */
  failed: number;
}

/** Receives whether the process can do its work now. */
export interface BuildMetrics {
  setReady(isReady: boolean): void;
}

/** Receives figures of the gateway's state that other modules count from time to time. */
export interface StateMetrics {
  /** The latest count of the records. */
  setCensus(census: RecordCensus): void;
  /** How many texts each encryption key has sealed, by the keys' ids. */
  setSeals(totals: ReadonlyMap<string, number>): void;
  /** Counts events that this replica has given their positions. */
  countSealedEvents(events: number): void;
  /** Every event that was committed until now has its position. */
  setAllSealed(): void;
  /** Counts records that this replica has made expire, and the notices before that. */
  countExpiry(expired: number, notices: number): void;
  /** No record has to expire, and no notice has to be sent now. */
  setNoneDue(): void;
  /** Counts records that this replica has erased because their time of retention has passed. */
  countErased(records: number): void;
  /** No record that may be erased has to be erased now. The lag is measured from the first call on. */
  setNoneToErase(): void;
  /** How many logs do not continue what this replica has published. */
  setBrokenLogs(count: number): void;
  /** Sets the source of the counts of spans. Until then they are zero. */
  watchSpans(read: () => SpanCounts): void;
}

/** Adds the figures of the gateway's version, and whether it is ready. */
export function addBuild(registry: Registry, version: string): BuildMetrics {
  const build = new Gauge({
    name: "kyc_gateway_build_info",
    help: "Always 1; the labels are the versions of the gateway and of Node.js.",
    labelNames: ["version", "node"],
    registers: [registry],
  });
  build.set({ version, node: process.version }, 1);
  const ready = new Gauge({
    name: "kyc_gateway_ready",
    help: "Whether the process can do its work, as /ready says: 1 or 0.",
    registers: [registry],
  });
  return { setReady: (isReady) => ready.set(isReady ? 1 : 0) };
}

/** Adds the figures of records, keys, the ledger and spans. */
export function addState(registry: Registry): StateMetrics {
  const seals = new Gauge({
    name: "encryption_key_seals",
    help: "Texts that were encrypted under each key so far, on all replicas; read once a minute.",
    labelNames: ["key"],
    registers: [registry],
  });
  const limit = new Gauge({
    name: "encryption_key_seals_limit",
    help: "Texts that a key may encrypt; change to a new one at half of it.",
    registers: [registry],
  });
  limit.set(MOST_SEALS);
  return {
    setCensus: addCensus(registry),
    setSeals: (totals) => {
      seals.reset();
      for (const [key, count] of totals) seals.set({ key }, count);
    },
    ...addLedger(registry),
    ...addExpiry(registry),
    ...addRetention(registry),
    watchSpans: addSpans(registry),
  };
}

function addLedger(
  registry: Registry,
): Pick<StateMetrics, "countSealedEvents" | "setAllSealed" | "setBrokenLogs"> {
  const broken = new Gauge({
    name: "ledger_broken_logs",
    help: "Logs of accounts that do not continue the signed heads that this replica has published.",
    registers: [registry],
  });
  const sealed = new Counter({
    name: "ledger_sealed_events_total",
    help: "Events of the audit trail that this replica has given their positions.",
    registers: [registry],
  });
  let allSealedAt = performance.now();
  new Gauge({
    name: "ledger_lag_seconds",
    help: "How long ago this replica last saw that every committed event has its position. Each replica measures it: take the minimum.",
    registers: [registry],
    collect() {
      this.set((performance.now() - allSealedAt) / 1000);
    },
  });
  return {
    countSealedEvents: (events) => sealed.inc(events),
    setBrokenLogs: (count) => broken.set(count),
    setAllSealed: () => {
      allSealedAt = performance.now();
    },
  };
}

function addExpiry(registry: Registry): Pick<StateMetrics, "countExpiry" | "setNoneDue"> {
  const expired = new Counter({
    name: "kyc_expired_total",
    help: "Records that this replica has made expire.",
    registers: [registry],
  });
  const notices = new Counter({
    name: "kyc_expiry_notices_total",
    help: "Notices of this replica that records will expire.",
    registers: [registry],
  });
  let noneDueAt = performance.now();
  new Gauge({
    name: "kyc_expiry_lag_seconds",
    help: "How long ago this replica last saw that no record had to expire and no notice had to be sent. Each replica measures it: take the minimum.",
    registers: [registry],
    collect() {
      this.set((performance.now() - noneDueAt) / 1000);
    },
  });
  return {
    countExpiry: (records, sent) => {
      expired.inc(records);
      notices.inc(sent);
    },
    setNoneDue: () => {
      noneDueAt = performance.now();
    },
  };
}

function addRetention(registry: Registry): Pick<StateMetrics, "countErased" | "setNoneToErase"> {
  const erased = new Counter({
    name: "kyc_retention_erased_total",
    help: "Records that this replica has erased because their time of retention has passed.",
    registers: [registry],
  });
  let noneAt: number | undefined;
  new Gauge({
    name: "kyc_retention_lag_seconds",
    help: "How long ago this replica last saw that no record had to be erased, except held ones; 0 without RETENTION. Each replica measures it: take the minimum.",
    registers: [registry],
    collect() {
      this.set(noneAt === undefined ? 0 : (performance.now() - noneAt) / 1000);
    },
  });
  return {
    countErased: (records) => erased.inc(records),
    setNoneToErase: () => {
      noneAt = performance.now();
    },
  };
}

function addCensus(registry: Registry): (census: RecordCensus) => void {
  const records = new Gauge({
    name: "kyc_records",
    help: "Records by status, as of kyc_records_counted_timestamp_seconds. Each replica counts: take the maximum.",
    labelNames: ["status"],
    registers: [registry],
  });
  const countedAt = new Gauge({
    name: "kyc_records_counted_timestamp_seconds",
    help: "When the last count of the records ended; 0: none has yet.",
    registers: [registry],
  });
  const took = new Gauge({
    name: "kyc_records_count_duration_seconds",
    help: "How long the last count of the records took, with its pauses.",
    registers: [registry],
  });
  let latest: RecordCensus | undefined;
  const name = "kyc_account_records";
  const get = async () => ({
    ...{ name, type: "histogram", aggregator: "sum" },
    help: "Accounts by how many records of a status they have, as of the same count: it can also decrease, so rate() of it means nothing.",
    values: latest ? toBuckets(name, latest) : [],
  });
  registry.registerMetric({ name, get } as unknown as Metric);
  return (census) => {
    latest = census;
    for (const [status, count] of Object.entries(census.byStatus)) records.set({ status }, count.records);
    countedAt.set(census.endedAt / 1000);
    took.set(census.tookMs / 1000);
  };
}

function toBuckets(name: string, { byStatus }: RecordCensus) {
  return Object.entries(byStatus).flatMap(([status, count]) => {
    let accounts = 0;
    const buckets = count.accounts.map((size, index) => {
      accounts += size;
      const labels = { le: ACCOUNT_SIZES[index] ?? "+Inf", status: status as VerificationStatus };
      return { metricName: `${name}_bucket`, labels, value: accounts };
    });
    return [
      ...buckets,
      { metricName: `${name}_sum`, labels: { status }, value: count.records },
      { metricName: `${name}_count`, labels: { status }, value: accounts },
    ];
  });
}

function addSpans(registry: Registry): (read: () => SpanCounts) => void {
  let read = (): SpanCounts => ({ ended: 0, exported: 0, failed: 0 });
  new Counter({
    name: "trace_spans_total",
    help: "Sampled spans: ended, exported, or failed because the collector did not accept them. The others wait, or were lost because the queue was full.",
    labelNames: ["state"],
    registers: [registry],
    collect() {
      this.reset();
      for (const [state, count] of Object.entries(read())) this.inc({ state }, count);
    },
  });
  return (source) => {
    read = source;
  };
}
