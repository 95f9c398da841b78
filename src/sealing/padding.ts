/** Bytes. */
const SHORTEST = 16;

/**
 * Appends the one-byte `filler` until the text has 16, 32, 64, 128 … bytes of UTF-8, so that the length of the encrypted
 * text reveals little.
 */
export function pad(text: string, filler: string): string {
  const bytes = Buffer.byteLength(text);
  let length = SHORTEST;
  while (length < bytes) length *= 2;
  return text + filler.repeat(length - bytes);
}

/** Removes the fillers at the end. */
export function unpad(padded: string, filler: string): string {
  let end = padded.length;
  while (end > 0 && padded[end - 1] === filler) end -= 1;
  return padded.slice(0, end);
}
