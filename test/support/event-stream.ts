/** One block of an event stream. */
interface StreamedEvent {
  id?: string;
  event?: string;
  // biome-ignore lint/suspicious/noExplicitAny: what is in it depends on the document
  data?: any;
}

/** A stream as a client reads it. */
export interface ReadStream {
  status: number;
  headers: Headers;
  /** Every block so far; a comment is a block without fields. */
  blocks: StreamedEvent[];
  /** The `next` events so far, by their data. */
  // biome-ignore lint/suspicious/noExplicitAny: what is in it depends on the document
  results(): any[];
  /** Resolves when there are so many `next` events. Fails if the stream ends before. */
  // biome-ignore lint/suspicious/noExplicitAny: what is in it depends on the document
  until(count: number): Promise<any[]>;
  /** Resolves at the end, whoever ends it. */
  ended: Promise<void>;
  close(): void;
}

/** Sends a request for a stream, and reads its answer until the end. A document is its text, or parameters that name it. */
export async function openStream(
  url: string,
  token: string | null,
  document: string | Record<string, string>,
  options: { variables?: object; headers?: Record<string, string>; method?: "GET" | "POST" } = {},
): Promise<ReadStream> {
  const { variables = {}, headers = {}, method = "POST" } = options;
  const controller = new AbortController();
  const named = typeof document === "string" ? { query: document } : document;
  const search = new URLSearchParams({ ...named, variables: JSON.stringify(variables) });
  const response = await fetch(method === "GET" ? `${url}/graphql?${search}` : `${url}/graphql`, {
    method,
    headers: {
      accept: "text/event-stream",
      ...(token !== null && { authorization: `Bearer ${token}` }),
      ...(method === "POST" && { "content-type": "application/json" }),
      ...headers,
    },
    ...(method === "POST" && { body: JSON.stringify({ ...named, variables }) }),
    signal: controller.signal,
  });
  const blocks: StreamedEvent[] = [];
  let wake = () => {};
  let hasEnded = false;
  const read = async () => {
    let text = "";
    const decoder = new TextDecoder();
    for await (const chunk of response.body as unknown as AsyncIterable<Uint8Array>) {
      text += decoder.decode(chunk, { stream: true });
      const parts = text.split("\n\n");
      text = parts.pop() as string;
      blocks.push(...parts.map(parseBlock));
      wake();
    }
  };
  const ended = read()
    .catch(() => {})
    .finally(() => {
      hasEnded = true;
      wake();
    });
  const results = () => blocks.filter(({ event }) => event === "next").map(({ data }) => data);
  return {
    ...{ status: response.status, headers: response.headers, blocks, results, ended },
    until: async (count) => {
      while (results().length < count) {
        if (hasEnded) throw new Error(`the stream has ended after ${results().length} of ${count} events`);
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
      return results();
    },
    close: () => controller.abort(),
  };
}

function parseBlock(text: string): StreamedEvent {
  const block: StreamedEvent = {};
  for (const line of text.split("\n")) {
    const [, name, value = ""] = /^(id|event|data): ?(.*)$/.exec(line) ?? [];
    if (name === "data") block.data = value === "" ? undefined : JSON.parse(value);
    else if (name === "id" || name === "event") block[name] = value;
  }
  return block;
}
