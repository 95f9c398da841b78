import { LRUCache } from "lru-cache";
import Negotiator from "negotiator";
import { RequestRefusal } from "../errors.ts";

/** The media types of answers. If a client accepts several equally, the first one is used. */
export const EVENT_STREAM = "text/event-stream";
const MEDIA_TYPES = ["application/json", "application/graphql-response+json", EVENT_STREAM] as const;
export type MediaType = (typeof MEDIA_TYPES)[number];

const CHARSET = "; charset=utf-8";
// A media range with a parameter matches only a type with the same parameter.
const OFFERED = MEDIA_TYPES.flatMap((type) => [type, type + CHARSET]);

const STREAMS = [EVENT_STREAM, EVENT_STREAM + CHARSET];

/** Clients send the same few headers, so results are cached. Headers longer than this are parsed each time. Characters. */
const LONGEST_KNOWN = 500;
const known = new LRUCache<string, MediaType>({ max: 100 });

/**
 * The type of the answer, as RFC 9110 negotiates it; `application/json` if the client names none. Fails with 406 if the
 * client accepts none of the types.
 */
export function negotiate(accept: string | undefined): MediaType {
  if (!accept) return MEDIA_TYPES[0];
  const found = known.get(accept);
  if (found) return found;
  const [chosen] = new Negotiator({ headers: { accept } }).mediaTypes(OFFERED);
  if (chosen === undefined) throw new RequestRefusal(406, "not_acceptable", NOT_ACCEPTABLE);
  const mediaType = chosen.replace(CHARSET, "") as MediaType;
  if (accept.length <= LONGEST_KNOWN) known.set(accept, mediaType);
  return mediaType;
}

/** Fails with 406 unless the client accepts event streams: a subscription has no other answer. */
export function requireEventStream(accept: string | undefined): void {
  if (!accept || new Negotiator({ headers: { accept } }).mediaTypes(STREAMS).length > 0) return;
  const message = `A subscription is answered as an event stream: send Accept: ${EVENT_STREAM}.`;
  throw new RequestRefusal(406, "not_acceptable", message);
}

/** The type of an answer to a request that is refused as a whole: JSON of either type, whatever else is accepted. */
export function typeOfRefusal(accept: string | undefined): MediaType {
  try {
    return negotiate(accept) === MEDIA_TYPES[1] ? MEDIA_TYPES[1] : MEDIA_TYPES[0];
  } catch {
    return MEDIA_TYPES[0];
  }
}

const NOT_ACCEPTABLE = `GraphQL is answered as ${MEDIA_TYPES.slice(0, -1).join(", ")} or ${MEDIA_TYPES.at(-1)}.`;
