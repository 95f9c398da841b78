import { isIP, connect as openTcp, type Socket } from "node:net";
import { Duplex } from "node:stream";
import { connect as openTls } from "node:tls";
import type { Host } from "./server-address.ts";
import type { TlsSettings } from "./tls-settings.ts";

/** Error codes: the connection failed, or the server did not answer in time. */
const CONNECT_FAILED = "CONNECT_FAILED";
const CONNECT_TIMEOUT = "CONNECT_TIMEOUT";

/** PostgreSQL's SSLRequest message: it asks whether the server supports TLS. */
const SSL_REQUEST = Buffer.from([0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f]);
const YES = "S".charCodeAt(0);
const NO = "N".charCodeAt(0);

/**
 * Opens a connection to a server, with TLS as configured. The caller writes PostgreSQL's protocol to it next. `onSocket`
 * receives the socket before it is open, so that it can be closed early. Fails within `timeout` milliseconds with an
 * error whose code begins with CONNECT_; then nothing stays open.
 */
export async function openSocket(
  host: Host,
  tls: TlsSettings,
  timeout: number,
  onSocket: (socket: Socket) => void,
): Promise<Socket> {
  const socket = "path" in host ? openTcp(host.path) : openTcp({ host: host.address, port: host.port });
  // Below TLS nothing else listens for its errors, and an error without a listener ends the process.
  socket.on("error", () => {});
  onSocket(socket);
  let open = socket;
  const timer = setTimeout(() => {
    open.destroy(failure(CONNECT_TIMEOUT, `the server at ${nameOfHost(host)} does not answer`));
  }, timeout);
  try {
    await happened(socket, "connect");
    if ("path" in host || tls.mode === "disable") return socket;
    if (!tls.isDirect && !(await agreesToTls(socket, tls))) return socket;
    open = openTls({
      ...tls.options(),
      socket,
      ...(tls.namesServer && isIP(host.host) === 0 && { servername: host.host }),
      // The certificate must be valid for this name.
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
 * A stream whose first write fails with `error`. The driver gets it if no socket could be opened: without a socket the
 * driver would wait forever, and with a closed one it would write its old buffer to the next socket.
 */
export function failedSocket(error: Error): Duplex {
  return new Duplex({ read() {}, write: (_chunk, _encoding, done) => done(error) });
}

async function agreesToTls(socket: Socket, tls: TlsSettings): Promise<boolean> {
  socket.write(SSL_REQUEST);
  const answer = await happened<Buffer>(socket, "data");
  // More than one byte means that an attacker on the network injected data, which would later count as encrypted.
  if (answer.length === 1 && answer[0] === YES) return true;
  if (answer.length === 1 && answer[0] === NO && tls.mode === "prefer") return false;
  const isRefusal = answer[0] === NO;
  throw new Error(
    isRefusal
      ? "the server does not support SSL, but SSL was required"
      : "the server's answer is not PostgreSQL's",
  );
}

/** Resolves with the event's value when it occurs. Fails if the socket fails or closes first. */
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
  // If several addresses of a host name failed, Node reports them as a list.
  const [first] = (error as AggregateError).errors ?? [];
  const said = message || (first as Error | undefined)?.message || code || "no connection";
  return failure(CONNECT_FAILED, said.includes(nameOfHost(host)) ? said : `${said} (${nameOfHost(host)})`);
}

function failure(code: string, message: string): Error {
  return Object.assign(new Error(message), { code });
}

const nameOfHost = (host: Host) => ("path" in host ? host.path : `${host.host}:${host.port}`);
