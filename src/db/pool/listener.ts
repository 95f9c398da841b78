import { lateAnswer } from "../../errors.ts";
import type { Listening } from "../client.ts";
import type { Open } from "./connections.ts";

/** A channel's name becomes a part of a statement unchanged. */
const CHANNEL = /^[a-z_]+$/;

/**
 * Listens for notifications on a separate connection. Fails if the connection can't be opened within `patience` milliseconds.
 */
export async function openListener(
  open: Open,
  { channel, onNotification, onClosed }: Listening,
  patience: number,
): Promise<() => Promise<void>> {
  if (!CHANNEL.test(channel)) throw new Error("the channel's name has other characters than a-z and _");
  let isOpen = false;
  let isClosed = false;
  const close = async () => {
    if (isClosed) return;
    isClosed = true;
    connection.isCut = true;
    connection.socket?.destroy();
    await connection.client.end({ timeout: 0 });
  };
  const lose = () => {
    if (isClosed) return;
    void close();
    if (isOpen) onClosed();
  };
  const connection = open({
    ...{ closed: lose, refused: lose, readOnly: lose },
    notified: (name, payload) => {
      if (name === channel && !isClosed) onNotification(payload);
    },
  });
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(lateAnswer()), patience);
  });
  try {
    await Promise.race([connection.client.unsafe(`listen ${channel}`), late]);
  } catch (error) {
    await close();
    throw error;
  } finally {
    clearTimeout(timer);
  }
  isOpen = true;
  if (isClosed) throw lateAnswer();
  return close;
}
