/**
 * Logs as hosts publish them, over HTTP below `v1/log/` or copied into a folder:
 *
 *   boots                       {"boots": [{"boot": base58, "size": decimal}, …]}, the oldest first
 *   <boot>/checkpoint           signed note (C2SP tlog-checkpoint)
 *   <boot>/tile/…               tiles and entry bundles (C2SP tlog-tiles)
 *   policies/<sha256 in hex>    a policy's canonical bytes
 *
 * A place that has `checkpoint` and no `boots` is one log by itself; whose it is stands in the checkpoint's origin.
 * Nothing that is read is believed: an audit verifies it.
 */
import { fromBase58 } from '@quantumvault/shared/base58.ts';
import { type BootId, bootIdOf, type Hash } from '@quantumvault/shared/brands.ts';
import { toHex } from '@quantumvault/shared/bytes.ts';
import { QvError } from '@quantumvault/shared/errors.ts';
import type { LogSource } from '@quantumvault/shared/evidence/audit/types.ts';
import { JsonFields, parseStrictJson } from '@quantumvault/shared/json.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { parseCheckpoint } from '@quantumvault/shared/tlog/checkpoint.ts';
import { parseNote } from '@quantumvault/shared/tlog/note.ts';
import { cutEntries, MAX_ENTRY_BYTES } from '@quantumvault/shared/tlog/tile-data.ts';
import { TILE_WIDTH, type Tile, tilePath } from '@quantumvault/shared/tlog/tiles.ts';
import { readResponse } from '../client/http.ts';
import { type LogFiles, logFiles } from './log-files.ts';

const DECIMAL = /^(?:0|[1-9][0-9]{0,18})$/;
/** A host's own address comes first for URLs; a folder is usually the copy itself. */
const PLACES = { url: ['v1/log/', ''], folder: ['', 'v1/log/'] } as const;

export interface PublishedLog {
  readonly boot: BootId;
  /** In front of `checkpoint` and `tile/`. */
  readonly prefix: string;
}

/** A LogSource that also says where things are, for copying. */
export interface PublishedLogs extends LogSource {
  readonly files: LogFiles;
  readonly logs: readonly PublishedLog[];
  policyPath(hash: Hash): string;
}

/**
 * @param operand a URL or a folder
 * @throws QvError log_unknown when no log is there; usage_invalid, input_unreadable, host_unreachable;
 *   response_malformed or field_malformed when the list of boots is not of its form
 */
export async function openLogs(operand: string): Promise<PublishedLogs> {
  const files = await logFiles(operand);
  for (const place of PLACES[files.kind]) {
    const logs = (await listed(files, place)) ?? (await single(files, place));
    if (logs !== undefined) return published(files, place, logs);
  }
  throw new QvError('log_unknown', { path: operand });
}

async function listed(files: LogFiles, place: string): Promise<readonly PublishedLog[] | undefined> {
  const bytes = await files.read(`${place}boots`, LIMITS.logBootsBytes);
  if (bytes === undefined) return undefined;
  const boots = parsedFrom(files, () => parseBoots(bytes));
  return boots.map((boot) => ({ boot, prefix: `${place}${boot}/` }));
}

async function single(files: LogFiles, place: string): Promise<readonly PublishedLog[] | undefined> {
  const note = await files.read(`${place}checkpoint`, LIMITS.noteBytes);
  if (note === undefined) return undefined;
  const { origin } = parsedFrom(files, () => parseCheckpoint(parseNote(note).text));
  return [{ boot: bootOfOrigin(origin), prefix: place }];
}

/** @throws QvError json_malformed, field_malformed, base58_malformed */
export function parseBoots(bytes: Uint8Array): readonly BootId[] {
  const fields = new JsonFields(parseStrictJson(bytes));
  const items = fields.list('boots');
  fields.end();
  if (items.length > LIMITS.logBoots) throw fields.fault('boots', `more than ${LIMITS.logBoots}`);
  const boots = items.map((item, index) => {
    const inner = new JsonFields(item, `boots[${index}]`);
    const boot = inner.text('boot');
    // The size is for people: what counts is the checkpoint.
    if (!DECIMAL.test(inner.text('size'))) throw inner.fault('size', 'not a decimal');
    inner.end();
    return bootIdOf(fromBase58(boot, 32, inner.path('boot')));
  });
  if (new Set(boots).size !== boots.length) throw fields.fault('boots', 'one boot twice');
  return boots;
}

/** The last part of the name of a boot's log. @throws QvError log_origin_mismatch */
export function bootOfOrigin(origin: string): BootId {
  try {
    return bootIdOf(fromBase58(origin.slice(origin.lastIndexOf('/') + 1), 32));
  } catch (cause) {
    throw new QvError('log_origin_mismatch', { path: 'origin' }, { cause });
  }
}

function published(files: LogFiles, place: string, logs: readonly PublishedLog[]): PublishedLogs {
  const prefixes = new Map(logs.map(({ boot, prefix }) => [boot, prefix]));
  const prefixOf = (boot: BootId): string => {
    const prefix = prefixes.get(boot);
    if (prefix === undefined) throw new QvError('log_unknown', { path: boot });
    return prefix;
  };
  const policyPath = (hash: Hash): string => `${place}policies/${toHex(hash)}`;
  return {
    files,
    logs,
    policyPath,
    boots: async () => logs.map(({ boot }) => boot),
    checkpoint: async (boot) => {
      const path = `${prefixOf(boot)}checkpoint`;
      return (await files.read(path, LIMITS.noteBytes)) ?? unknown(path);
    },
    entries: (boot, index, width) => readEntries(files, prefixOf(boot), { level: 'entries', index, width }),
    policy: (hash) => files.read(policyPath(hash), LIMITS.policyBytes),
  };
}

function unknown(path: string): never {
  throw new QvError('log_unknown', { path });
}

const bytesOf = (width: number): number => Math.min(LIMITS.entryBundleBytes, width * (2 + MAX_ENTRY_BYTES));

/** Once a bundle is complete its partial versions may be gone (C2SP tlog-tiles, "Partial Tiles"): a wider one serves. */
async function readEntries(files: LogFiles, prefix: string, tile: Tile): Promise<Uint8Array> {
  const path = prefix + tilePath(tile);
  const exact = await files.read(path, bytesOf(tile.width));
  if (exact !== undefined) return exact;
  for (const width of await widerThan(files, prefix, tile)) {
    const bytes = await files.read(prefix + tilePath({ ...tile, width }), bytesOf(width));
    if (bytes !== undefined) return cut(bytes, tile.width);
  }
  return unknown(path);
}

/** What is no bundle is given as it is: whoever asked says what is wrong with it. */
function cut(bytes: Uint8Array, width: number): Uint8Array {
  try {
    return cutEntries(bytes, width);
  } catch (error) {
    if (!(error instanceof QvError)) throw error;
    return bytes;
  }
}

async function widerThan(files: LogFiles, prefix: string, tile: Tile): Promise<readonly number[]> {
  if (tile.width === TILE_WIDTH) return [];
  const partial = `${prefix}${tilePath({ ...tile, width: TILE_WIDTH })}.p`;
  const widths = ((await files.list(partial)) ?? [])
    .filter((name) => /^[1-9]\d{0,2}$/.test(name))
    .map(Number)
    .filter((width) => width > tile.width && width < TILE_WIDTH);
  return [TILE_WIDTH, ...widths.sort((a, b) => a - b)];
}

/** What does not parse is the host's fault when a host sent it. */
export function parsedFrom<T>({ kind }: LogFiles, read: () => T): T {
  return kind === 'url' ? readResponse(read) : read();
}
