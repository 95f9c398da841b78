import { hash } from "node:crypto";
import { readdir, readFile } from "node:fs/promises";
import { promisify } from "node:util";
import { gunzip } from "node:zlib";
import type { FastifyInstance, FastifyReply } from "fastify";
import { beside } from "../beside.ts";
import { quality } from "./page.ts";

const TYPES = {
  js: "text/javascript; charset=utf-8",
  css: "text/css; charset=utf-8",
} as const;

/** Files of a library that the build has left compressed, of one version. */
export interface BuiltAssets {
  /** Where the file with this name is served. */
  path(name: string): string;
  read(name: string): Promise<Buffer>;
}

/**
 * The files that the build has left in dist/<folder>, to be served below this address; undefined where it has not
 * run. Their addresses change with the library's version.
 */
export async function findBuiltAssets(folder: string, prefix: string): Promise<BuiltAssets | undefined> {
  const at = beside(`../dist/${folder}/`);
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

/**
 * Serves these files, from this host alone. Each file has a route of its own, so no part of a request ever becomes a
 * file's path.
 */
export function serveBuiltAssets(app: FastifyInstance, assets: BuiltAssets, names: readonly string[]): void {
  for (const name of names) {
    app.get(assets.path(name), async (request, reply) => {
      const compressed = await assets.read(name);
      describeAsset(reply, name).header("vary", "accept-encoding");
      if (quality(request.headers["accept-encoding"], "gzip") === 0) return promisify(gunzip)(compressed);
      return reply.header("content-encoding", "gzip").send(compressed);
    });
  }
}

/** A file of ours for browsers, and its address, which changes with its contents. */
export async function findOwnAsset(name: string): Promise<{ path: string; contents: Buffer }> {
  const contents = await readFile(beside(`pages/browser/${name}`));
  return { path: `/assets/${hash("sha256", contents).slice(0, 16)}/${name}`, contents };
}

/** Serves a file of ours, and answers its address. */
export async function serveOwnAsset(app: FastifyInstance, name: string): Promise<string> {
  const { path, contents } = await findOwnAsset(name);
  app.get(path, (_request, reply) => describeAsset(reply, name).send(contents));
  return path;
}

function describeAsset(reply: FastifyReply, name: string): FastifyReply {
  return (
    reply
      .type(TYPES[name.split(".").at(-1) as keyof typeof TYPES])
      .header("cache-control", "public, max-age=31536000, immutable")
      .header("x-content-type-options", "nosniff")
      // A worker obeys the policy that comes with its own script: these need no network at all.
      .header("content-security-policy", "default-src 'none'")
  );
}
