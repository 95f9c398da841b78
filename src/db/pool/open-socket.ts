import { isIP, connect as openTcp, type Socket } from "node:net";
import { Duplex } from "node:stream";
import { connect as openTls } from "node:tls";
import type { Host } from "./server-address.ts";
import type { TlsSettings } from "./tls-settings.ts";

/** The code of a connection that does not come about, and of one that is not answered in time. */
const CONNECT_FAILED = "CONNECT_FAILED";
const CONNECT_TIMEOUT = "CONNECT_TIMEOUT";

/** What a client asks a server first that may or may not speak TLS. */
const SSL_REQUEST = Buffer.from([0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f]);
const YES = "S".charCodeAt(0);
const NO = "N".charCodeAt(0);

/**
 * A connection to a server, encrypted as asked: what is written there next is PostgreSQL's own protocol. `onSocket`
 * hears of it before it is open, so that it can be cut. Fails with an error whose code begins with CONNECT_, after
 * `timeout` milliseconds at the latest; nothing stays open then.
 */
export async function openSocket(
  host: Host,
  tls: TlsSettings,
  timeout: number,
  onSocket: (socket: Socket) => void,
): Promise<Socket> {
  const socket = "path" in host ? openTcp(host.path) : openTcp({ host: host.address, port: host.port });
  // Under TLS nobody else listens to it, and an error without a listener ends the process.
  socket.on("error", () => {});
  onSocket(socket);
  let open = socket;
  const timer = setTimeout(() => {
    open.destroy(failure(CONNECT_TIMEOUT, `the server at ${placeOf(host)} does not answer`));
  }, timeout);
  try {
    await happened(socket, "connect");
    if ("path" in host || tls.mode === "disable") return socket;
    if (!tls.isDirect && !(await agreesToTls(socket, tls))) return socket;
    open = openTls({
      ...tls.options(),
      socket,
      ...(tls.namesServer && isIP(host.host) === 0 && { servername: host.host }),
      // The name that the certificate must be for.
      host: host.host,
      ...(tls.isDirect && { ALPNProtocols: ["postgresql"] }),
    });
    await happened(open, "secureConnect");
    return open;
  } catch (error) {
    open.destroy();
    socket.destroy();
    throw asFailure(error, host);
  } finally {
    clearTimeout(timer);
  }
}

/**
 * A stream that fails with `error` at the first that is written: what the driver gets instead of a socket. Given none,
 * it would wait for ever; given one that is closed, it would write what it was about to on the next one first.
 */
export function failedSocket(error: Error): Duplex {
  return new Duplex({ read() {}, write: (_chunk, _encoding, done) => done(error) });
}

async function agreesToTls(socket: Socket, tls: TlsSettings): Promise<boolean> {
  socket.write(SSL_REQUEST);
  const answer = await happened<Buffer>(socket, "data");
  // Anything more was put there by someone in between, and would count as encrypted.
  if (answer.length === 1 && answer[0] === YES) return true;
  if (answer.length === 1 && answer[0] === NO && tls.mode === "prefer") return false;
  const isRefusal = answer[0] === NO;
  throw new Error(
    isRefusal
      ? "the server does not support SSL, but SSL was required"
      : "the server's answer is not PostgreSQL's",
  );
}

/** Resolves with the first event of the name; fails if the socket does, or if it is closed before. */
function happened<T>(socket: Socket, event: string): Promise<T> {
  return new Promise((resolve, reject) => {
    const settle = (act: () => void) => {
      socket.off(event, onEvent).off("error", onError).off("close", onClose);
      act();
    };
    const onEvent = (value: T) => settle(() => resolve(value));
    const onError = (error: Error) => settle(() => reject(error));
    const onClose = () => settle(() => reject(new Error("the server closed the connection")));
    socket.once(event, onEvent).once("error", onError).once("close", onClose);
  });
}

function asFailure(error: unknown, host: Host): Error {
  const { code, message } = error as { code?: string; message: string };
  if (code === CONNECT_TIMEOUT) return error as Error;
  // Where several addresses of a name fail, Node tells of them in a list.
  const [first] = (error as AggregateError).errors ?? [];
  const said = message || (first as Error | undefined)?.message || code || "no connection";
  return failure(CONNECT_FAILED, said.includes(placeOf(host)) ? said : `${said} (${placeOf(host)})`);
}

function failure(code: string, message: string): Error {
  return Object.assign(new Error(message), { code });
}

const placeOf = (host: Host) => ("path" in host ? host.path : `${host.host}:${host.port}`);
