import { wordsOf } from "../../vocabulary.ts";

/** The values of an enum, one for each word of the table. */
export function enumValues<Word extends string>(table: Readonly<Record<Word, string>>) {
  const values = wordsOf(table).map((word) => [
    word.toUpperCase(),
    { value: word, description: table[word] },
  ]);
  return Object.fromEntries(values) as { [W in Word as Uppercase<W>]: { value: W; description: string } };
}
