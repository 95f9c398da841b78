import { hash } from "node:crypto";
import { readdir, readFile } from "node:fs/promises";
import { pipeline, Readable } from "node:stream";
import { promisify } from "node:util";
import { createGunzip, gzip } from "node:zlib";
import type { FastifyInstance } from "fastify";
import { packageFile } from "../package-file.ts";
import { quality } from "./page.ts";

const TYPES = {
  js: "text/javascript; charset=utf-8",
  css: "text/css; charset=utf-8",
} as const;

/** Files for browsers. Their addresses change with their contents. */
export interface Assets {
  /** The path of the file with this name. */
  path(name: string): string;
  /** The file, compressed with gzip. */
  read(name: string): Promise<Buffer>;
}

/**
 * The files of a library that the build has left in dist/<folder>, to be served below this address; undefined if it has
 * not run.
 */
export async function findBuiltAssets(folder: string, prefix: string): Promise<Assets | undefined> {
  const at = packageFile(`../dist/${folder}/`);
  const [version] = await readdir(at).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return [];
    throw error;
  });
  if (version === undefined) return undefined;
  return {
    path: (name) => `${prefix}/${version}/${name}`,
    read: (name) => readFile(new URL(`${version}/${name}.gz`, at)),
  };
}

/** Serves the gateway's own files for browsers. All their addresses change together, since the files import one another. */
export async function serveOwnAssets(app: FastifyInstance): Promise<Pick<Assets, "path">> {
  const at = packageFile("pages/browser/");
  const names = (await readdir(at)).filter((name) => /\.(js|css)$/.test(name)).sort();
  const contents = await Promise.all(names.map((name) => readFile(new URL(name, at))));
  const version = hash("sha256", Buffer.concat(contents)).slice(0, 16);
  const own: Assets = {
    path: (name) => `/assets/${version}/${name}`,
    read: async (name) => promisify(gzip)(await readFile(new URL(name, at))),
  };
  serveAssets(app, own, names);
  return own;
}

/**
 * Serves these files, from this host alone, compressed to clients that accept gzip. Each file has its own route, so
 * no part of a request ever becomes a file's path. @fastify/static would do the same work, but turns request paths into
 * file paths: its releases before 10.1.3 have known bypasses by such paths, and later ones need Node.js 22. It can replace
 * this function when the gateway requires Node.js 22.
 */
export function serveAssets(app: FastifyInstance, assets: Assets, names: readonly string[]): void {
  for (const name of names) {
    const headers = {
      "content-type": TYPES[name.split(".").at(-1) as keyof typeof TYPES],
      "cache-control": "public, max-age=31536000, immutable",
      vary: "accept-encoding",
      "x-content-type-options": "nosniff",
      // A worker has the policy that its own script is sent with. These workers need no network at all.
      "content-security-policy": "default-src 'none'",
    };
    // The file is read at the first request and kept: all downloads share it, and a slow one keeps no file open.
    let kept: Buffer | undefined;
    app.get(assets.path(name), async (request, reply) => {
      kept ??= await assets.read(name);
      reply.headers(headers);
      if (quality(request.headers["accept-encoding"], "gzip") === 0) {
        return reply
          .header("content-length", sizeOfContents(kept))
          .send(pipeline(inPieces(kept), createGunzip(), () => {}));
      }
      return reply
        .headers({ "content-encoding": "gzip", "content-length": kept.length })
        .send(inPieces(kept));
    });
  }
}

/** The size of the uncompressed contents, from the end of the gzip file. Bytes. */
const sizeOfContents = (compressed: Buffer): number => compressed.readUInt32LE(compressed.length - 4);

const PIECE_BYTES = 64 * 1024;

/** A stream of the contents in pieces. A connection reads the next piece only when it has sent the previous one. */
function inPieces(contents: Buffer): Readable {
  return Readable.from(
    (function* () {
      for (let at = 0; at < contents.length; at += PIECE_BYTES) yield contents.subarray(at, at + PIECE_BYTES);
    })(),
    { objectMode: false },
  );
}
