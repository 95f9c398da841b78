import { once } from "node:events";
import { Agent, type IncomingMessage, request } from "node:http";
import { connect, type Socket } from "node:net";
import { setImmediate as turn, setTimeout as wait } from "node:timers/promises";

/** The answers that one client with one connection got until the gateway ended. */
export interface Session {
  answered: number;
  /** Why a request that was sent on an open connection got no good answer. */
  failures: string[];
  /** Whether the last answer announced the end of its connection. */
  saidGoodbye: boolean;
}

export interface LoadRequest {
  method: string;
  path: string;
  headers: Record<string, string>;
  body: string;
  /** Why this is the wrong answer; null if it is the right one. */
  judge: (status: number, text: string) => string | null;
}

/**
 * Sends requests one after another on one kept connection, `pause` milliseconds apart, until no new connection can be
 * had or the deadline (milliseconds) is over.
 */
export async function keepAsking(
  url: string,
  next: (n: number) => LoadRequest,
  options: { pause: number; deadline: number },
): Promise<Session> {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  const session: Session = { answered: 0, failures: [], saidGoodbye: false };
  const until = performance.now() + options.deadline;
  for (let n = 0; performance.now() < until; n++) {
    const { judge, ...wanted } = next(n);
    try {
      const { status, headers, text } = await ask(url, agent, wanted);
      session.saidGoodbye = headers.connection === "close";
      const fault = judge(status, text);
      if (fault === null) session.answered++;
      else session.failures.push(fault);
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException;
      // Refused: nothing was sent, and the port is closed.
      if (code !== "ECONNREFUSED")
        session.failures.push(`${wanted.method} ${wanted.path}: ${code} ${message}`);
      break;
    }
    await wait(options.pause);
    // As a timer that is late fires before anything is read, the end of the connection may lie there unread.
    await turn();
  }
  agent.destroy();
  return session;
}

function ask(
  url: string,
  agent: Agent,
  { method, path, headers, body }: Omit<LoadRequest, "judge">,
): Promise<{ status: number; headers: IncomingMessage["headers"]; text: string }> {
  return new Promise((resolve, reject) => {
    const length = Buffer.byteLength(body);
    const call = request(
      `${url}${path}`,
      { method, agent, headers: { ...headers, ...(length > 0 && { "content-length": length }) } },
      (response) => {
        let text = "";
        response.setEncoding("utf8").on("data", (chunk) => {
          text += chunk;
        });
        response.once("error", reject);
        response.once("end", () =>
          resolve({ status: response.statusCode ?? 0, headers: response.headers, text }),
        );
      },
    );
    call.once("error", reject);
    call.end(body);
  });
}

/** A connection on which the test chooses every byte. */
export interface RawConnection {
  write(text: string): void;
  received(): string;
  /** Resolves when the other side has ended or cut the connection; fails when it takes longer. Milliseconds. */
  ended(timeout?: number): Promise<void>;
  /** Resolves when what came in matches. */
  reads(pattern: RegExp, timeout?: number): Promise<void>;
}

const READ_TIMEOUT = 15_000;

export async function openConnection(url: string): Promise<RawConnection> {
  const { hostname, port } = new URL(url);
  const socket: Socket = connect({ host: hostname, port: Number(port) });
  let received = "";
  let over = false;
  socket.setEncoding("utf8").on("data", (chunk) => {
    received += chunk;
  });
  // Being cut is something that tests look for, not a failure here.
  socket.on("error", () => {});
  socket.once("end", () => socket.end());
  socket.once("close", () => {
    over = true;
  });
  await once(socket, "connect");
  const waitFor = async (what: string, done: () => boolean, timeout = READ_TIMEOUT) => {
    const deadline = performance.now() + timeout;
    while (!done()) {
      if (performance.now() > deadline) throw new Error(`waited in vain for ${what}; received:\n${received}`);
      await wait(5);
    }
  };
  return {
    write: (text) => void socket.write(text),
    received: () => received,
    ended: (timeout) => waitFor("the end of the connection", () => over, timeout),
    reads: (pattern, timeout) => waitFor(String(pattern), () => pattern.test(received), timeout),
  };
}
