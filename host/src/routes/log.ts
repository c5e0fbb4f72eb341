/**
 * The published logs (C2SP tlog-tiles), one per boot, for auditors, witnesses and whoever mirrors them:
 *
 *   GET /v1/log/boots                    {"boots": [{"boot", "size"}, …]}, oldest first
 *   GET /v1/log[/<boot>]/checkpoint      signed note; without a boot the newest one's
 *   GET /v1/log[/<boot>]/tile/<L>/<N>    hashes, or entries
 *   GET /v1/log/policies/<sha256>        canonical bytes of a policy that leaves name by its hash
 */

import { fromBase58 } from '@quantumvault/shared/base58.ts';
import { type BootId, bootIdOf, type Hash } from '@quantumvault/shared/brands.ts';
import { fromHex } from '@quantumvault/shared/bytes.ts';
import { QvError } from '@quantumvault/shared/errors.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { encodeEntries } from '@quantumvault/shared/tlog/tile-data.ts';
import { parseTilePath, TILE_WIDTH, type Tile, tileWidth } from '@quantumvault/shared/tlog/tiles.ts';
import type { FastifyInstance, FastifyReply } from 'fastify';
import type { AppDeps } from '../app.ts';
import { boundedReads } from '../evidence/bounded-reads.ts';
import { storedTiles } from '../evidence/log-tree.ts';
import type { LogRecord } from '../store/store.ts';

/** One publication serves everybody who asks within this time. */
const FRESH_MILLISECONDS = 1_000;
const IMMUTABLE = 'public, max-age=31536000, immutable';

export function logRoutes(app: FastifyInstance, deps: AppDeps): void {
  const { store, publisher } = deps;
  const bounded = boundedReads();
  let freshUntil = 0;

  const logOf = async (boot: BootId | undefined): Promise<LogRecord> => {
    const logs = await store.getLogs();
    const log = boot === undefined ? logs.at(-1) : logs.find((candidate) => candidate.boot === boot);
    if (log === undefined) throw new QvError('log_unknown');
    return log;
  };

  /** Up to date if the enclave answers; else what was published last, which stays true. */
  const publish = async (): Promise<void> => {
    if (performance.now() < freshUntil) return;
    await publisher.publish().catch(() => undefined);
    freshUntil = performance.now() + FRESH_MILLISECONDS;
  };

  const sendCheckpoint = async (reply: FastifyReply, boot: BootId | undefined): Promise<FastifyReply> => {
    // Whoever waits for the enclave and its witnesses reads nothing meanwhile.
    await publish();
    const { checkpoint } = await bounded(() => logOf(boot));
    return reply.type('text/plain; charset=utf-8').send(Buffer.from(checkpoint));
  };

  const sendTile = async (reply: FastifyReply, boot: BootId | undefined, path: string): Promise<FastifyReply> => {
    const tile = parseTilePath(`tile/${path}`);
    const bytes = await bounded(async () => readTile(deps, await logOf(boot), tile));
    // What is in a tile of some width never changes; the newest boot does.
    if (boot !== undefined) reply.header('cache-control', IMMUTABLE);
    return reply.type('application/octet-stream').send(Buffer.from(bytes));
  };

  app.get('/v1/log/boots', async () => {
    await publish();
    const logs = await bounded(() => store.getLogs());
    return { boots: logs.slice(-LIMITS.logBoots).map(({ boot, size }) => ({ boot, size: String(size) })) };
  });

  app.get('/v1/log/checkpoint', async (_request, reply) => sendCheckpoint(reply, undefined));
  app.get<{ Params: { '*': string } }>('/v1/log/tile/*', async (request, reply) =>
    sendTile(reply, undefined, request.params['*']),
  );
  app.get<{ Params: { boot: string } }>('/v1/log/:boot/checkpoint', async (request, reply) =>
    sendCheckpoint(reply, bootParameter(request.params.boot)),
  );
  app.get<{ Params: { boot: string; '*': string } }>('/v1/log/:boot/tile/*', async (request, reply) =>
    sendTile(reply, bootParameter(request.params.boot), request.params['*']),
  );

  app.get<{ Params: { hash: string } }>('/v1/log/policies/:hash', async (request, reply) => {
    const hash = fromHex(request.params.hash, 'hash');
    const policy = await bounded(() => store.getPolicy(hash as Hash));
    if (policy === undefined) throw new QvError('log_unknown');
    return reply.header('cache-control', IMMUTABLE).type('application/cbor').send(Buffer.from(policy));
  });
}

/** Only what the published checkpoint covers, at a width that some published tree of it had. @throws QvError log_unknown, log_unpublished */
async function readTile({ store }: AppDeps, { boot, size }: LogRecord, tile: Tile): Promise<Uint8Array> {
  const { level, index, width } = tile;
  if (width > tileWidth(level, index, size)) throw new QvError('log_unknown');
  if (level !== 'entries') return storedTiles(store, boot)(tile);
  const start = index * BigInt(TILE_WIDTH);
  const leaves = await store.getLeaves(boot, start, width);
  // A database that has lost some: nobody is to keep for a year what stands there instead.
  if (leaves.length < width || leaves.at(-1)?.sequence !== start + BigInt(width - 1))
    throw new QvError('log_unpublished');
  return encodeEntries(leaves.map(({ leaf }) => leaf));
}

/** @throws QvError base58_malformed */
function bootParameter(text: string): BootId {
  return bootIdOf(fromBase58(text, 32, 'boot'));
}
