import { Counter, Gauge, type Registry } from "prom-client";
import type { FollowerFigures } from "./changes/event-logs.ts";
import { Histogram } from "./lib/histogram.ts";
import { STREAM_ENDS, type StreamEnd } from "./vocabulary.ts";

/** Gets what happens to streams of changes. */
export interface StreamMetrics {
  /** Changes were passed on to a stream; the oldest of them happened so many seconds ago. */
  observeSent(changes: number, seconds: number): void;
  countStreamEnd(end: StreamEnd): void;
  /** Sets the source of the figures of all followers. Until then they are zero. */
  watchFollowers(read: () => FollowerFigures): void;
}

/** Upper bounds. Seconds. */
const BUCKETS = [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60, 600];

/** Adds the figures of the followers of changes. */
export function addStreams(registry: Registry): StreamMetrics {
  let read = (): FollowerFigures => ({ followers: 0, behind: 0, listening: false });
  const gauge = (name: string, help: string, value: (figures: FollowerFigures) => number) =>
    new Gauge({
      ...{ name, help, registers: [registry] },
      collect() {
        this.set(value(read()));
      },
    });
  gauge(
    "change_subscribers",
    "Streams and waiting requests that follow changes.",
    ({ followers }) => followers,
  );
  gauge(
    "change_subscribers_behind_events",
    "Events that the last of them has not got yet.",
    ({ behind }) => behind,
  );
  gauge(
    "change_notifications_arrive",
    "Whether the database's notifications of new events arrive: 1, or 0 if they are looked for, or nobody follows.",
    ({ listening }) => (listening ? 1 : 0),
  );
  const sent = new Counter({
    name: "change_events_sent_total",
    help: "Changes that were passed on to streams.",
    registers: [registry],
  });
  const delays = new Histogram(registry, {
    name: "change_delay_seconds",
    help: "Time from a change to when it was passed on to a stream; of changes that are sent together, the oldest. Streams that catch up count too.",
    labelNames: [],
    buckets: BUCKETS,
  });
  const ends = new Counter({
    name: "change_streams_ended_total",
    help: "Streams that have ended: by the client, by the gateway as it stops, because the token is no longer valid, because the client read nothing, or by a failure.",
    labelNames: ["reason"],
    registers: [registry],
  });
  for (const reason of STREAM_ENDS) ends.inc({ reason }, 0);
  return {
    observeSent: (changes, seconds) => {
      sent.inc(changes);
      delays.observe(seconds);
    },
    countStreamEnd: (reason) => ends.inc({ reason }),
    watchFollowers: (source) => {
      read = source;
    },
  };
}
