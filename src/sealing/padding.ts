/** Bytes. */
const SHORTEST = 16;

/**
 * The text with a one-byte `filler` repeated behind it, up to 16, 32, 64, 128 … bytes of UTF-8: once it is encrypted,
 * its length tells hardly anything.
 */
export function pad(text: string, filler: string): string {
  const bytes = Buffer.byteLength(text);
  let length = SHORTEST;
  while (length < bytes) length *= 2;
  return text + filler.repeat(length - bytes);
}

/** The text without the fillers behind it. */
export function unpad(padded: string, filler: string): string {
  let end = padded.length;
  while (end > 0 && padded[end - 1] === filler) end -= 1;
  return padded.slice(0, end);
}
