/**
 * Copies published logs into a folder, in the layout of log-source.ts, and goes on where it stopped. Entries and notes
 * are fetched; hash tiles are computed from them, so that a copy is always one tree. A boot's checkpoint is written
 * last, and only when the boot key signed it and its root is that of what lies here: what lies here already included.
 *
 * That the boot key is an enclave's, and what the leaves say, is for `qv verify log`.
 */
import { mkdir, realpath, rm, rmdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { addressBytes, type BootId, hash } from '@quantumvault/shared/brands.ts';
import { equalBytes, fromHex, toHex, utf8 } from '@quantumvault/shared/bytes.ts';
import { QvError } from '@quantumvault/shared/errors.ts';
import { decodeLeaf, leafHash } from '@quantumvault/shared/evidence/leaf.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { sha256 } from '@quantumvault/shared/sha256.ts';
import { type Checkpoint, openCheckpoint, parseCheckpoint } from '@quantumvault/shared/tlog/checkpoint.ts';
import { parseNote } from '@quantumvault/shared/tlog/note.ts';
import { readFrontier } from '@quantumvault/shared/tlog/proof.ts';
import {
  cutEntries,
  decodeEntries,
  encodeTile,
  hashesFromBelow,
  tileHashReader,
} from '@quantumvault/shared/tlog/tile-data.ts';
import { TILE_WIDTH, type Tile, tilePath, tilesBetween } from '@quantumvault/shared/tlog/tiles.ts';
import { frontierRoot } from '@quantumvault/shared/tlog/tree.ts';
import { verifierKey } from '@quantumvault/shared/tlog/verifier-key.ts';
import { readResponse } from '../client/http.ts';
import { verifyEd25519 } from '../client/keys.ts';
import { orUnwritable, writeAtomically } from './atomic-file.ts';
import { type LogFiles, logFiles } from './log-files.ts';
import { bootOfOrigin, type PublishedLogs, parseBoots } from './log-source.ts';

const HASH_TILE_BYTES = TILE_WIDTH * 32;

export interface CopiedLog {
  readonly boot: BootId;
  /** Leaves that were here before, and now. */
  readonly from: bigint;
  readonly to: bigint;
}

export interface CopyReport {
  readonly logs: readonly CopiedLog[];
  /** Here, but no longer published: an honest host never stops publishing. */
  readonly withdrawn: readonly BootId[];
  readonly policies: number;
  /** Named by leaves, and not published. */
  readonly policiesMissing: number;
  readonly bundlesFetched: number;
}

/** @throws QvError: what the source throws; log_*, when what it says contradicts itself or what lies here */
export async function copyLogs(
  source: PublishedLogs,
  folder: string,
  onProgress: (leaves: bigint, of: bigint) => void,
): Promise<CopyReport> {
  await orUnwritable(folder, () => mkdir(folder, { recursive: true }));
  const copy = new Copy(source, await realpath(folder), await logFiles(folder));
  return copy.run(onProgress);
}

interface Plan {
  readonly boot: BootId;
  readonly note: Uint8Array;
  readonly checkpoint: Checkpoint;
  readonly before: Checkpoint | undefined;
}

class Copy {
  readonly #source: PublishedLogs;
  readonly #root: string;
  readonly #here: LogFiles;
  readonly #policies = new Set<string>();
  #fetched = 0;

  constructor(source: PublishedLogs, root: string, here: LogFiles) {
    this.#source = source;
    this.#root = root;
    this.#here = here;
  }

  async run(onProgress: (leaves: bigint, of: bigint) => void): Promise<CopyReport> {
    const known = await this.#known();
    const published = await this.#source.boots();
    const plans: Plan[] = [];
    for (const boot of published) plans.push(await this.#plan(boot));
    const total = plans.reduce((sum, { checkpoint, before }) => sum + checkpoint.size - (before?.size ?? 0n), 0n);
    let done = 0n;
    const logs: CopiedLog[] = [];
    for (const plan of plans) {
      await this.#copyLog(plan, (leaves) => {
        done += leaves;
        onProgress(done, total);
      });
      logs.push({ boot: plan.boot, from: plan.before?.size ?? 0n, to: plan.checkpoint.size });
    }
    const withdrawn = known.filter((boot) => !published.includes(boot));
    const policiesMissing = await this.#copyPolicies();
    // Nothing is ever dropped: what lies here is evidence.
    await this.#writeBoots([...known, ...published.filter((boot) => !known.includes(boot))]);
    const policies = this.#policies.size - policiesMissing;
    return { logs, withdrawn, policies, policiesMissing, bundlesFetched: this.#fetched };
  }

  async #known(): Promise<readonly BootId[]> {
    const bytes = await this.#here.read('boots', LIMITS.logBootsBytes);
    return bytes === undefined ? [] : parseBoots(bytes);
  }

  /** The boot is its key, so whoever lists a boot cannot sign for another. */
  async #plan(boot: BootId): Promise<Plan> {
    const note = await this.#source.checkpoint(boot);
    const { origin } = readResponse(() => parseCheckpoint(parseNote(note).text));
    if (bootOfOrigin(origin) !== boot) throw new QvError('log_origin_mismatch', { path: boot });
    const key = verifierKey(origin, 'ed25519', addressBytes(boot));
    const { checkpoint } = openCheckpoint(note, { origin, key, witnesses: [] }, verifyEd25519);
    const old = await this.#here.read(`${boot}/checkpoint`, LIMITS.noteBytes);
    const before = old && parseCheckpoint(parseNote(old).text);
    if (before !== undefined && before.size > checkpoint.size)
      throw new QvError('log_rewound', {
        path: boot,
        value: `${before.size} leaves before, ${checkpoint.size} now`,
      });
    if (before?.size === checkpoint.size && !equalBytes(before.root, checkpoint.root))
      throw new QvError('log_forked', { path: boot, value: 'another log of the same size lies here' });
    return { boot, note, checkpoint, before };
  }

  async #copyLog({ boot, note, checkpoint, before }: Plan, onLeaves: (leaves: bigint) => void): Promise<void> {
    const { size, root } = checkpoint;
    const oldSize = before?.size ?? 0n;
    // Never a list of all tiles: whoever signs may claim any size.
    await pooled(tilesAt(isBundle, oldSize, size), async (tile) =>
      onLeaves(await this.#copyBundle(boot, tile, oldSize)),
    );
    const read = (tile: Tile): Promise<Uint8Array> => this.#tileHere(boot, tile);
    for (const tile of tilesAt(isAboveLeaves, oldSize, size))
      await this.#write(boot, tile, encodeTile(await hashesFromBelow(tile, 0, read)));
    const found = frontierRoot(await readFrontier(size, tileHashReader(size, read)));
    if (!equalBytes(found, root)) {
      // Some of them lie, and which is not known: the next run fetches all of them again.
      for (const tile of tilesBetween(oldSize, size)) await rm(this.#path(boot, tile), { force: true });
      throw new QvError('log_root_mismatch', { path: boot, value: 'the leaves do not lead to the checkpoint’s root' });
    }
    await this.#writeFile(`${boot}/checkpoint`, note);
    for (const tile of tilesBetween(oldSize, size)) await this.#removeNarrower(boot, tile);
  }

  /** How many leaves are new. */
  async #copyBundle(boot: BootId, tile: Tile, oldSize: bigint): Promise<bigint> {
    const start = tile.index * BigInt(TILE_WIDTH);
    // From a run that was interrupted; the root will tell whether it belongs to this tree.
    const bytes = (await this.#completeHere(boot, tile)) ?? (await this.#fetch(boot, tile));
    const entries = readResponse(() => decodeEntries(bytes, tile.width));
    const oldWidth = Number(oldSize - start);
    if (oldWidth > 0) {
      const old = await this.#here.read(this.#name(boot, { ...tile, width: oldWidth }), LIMITS.entryBundleBytes);
      if (old !== undefined && !equalBytes(old, cutEntries(bytes, oldWidth)))
        throw new QvError('log_forked', { path: boot, value: 'leaves that lie here were changed' });
    }
    await this.#write(boot, tile, bytes);
    await this.#write(boot, { ...tile, level: 0 }, encodeTile(entries.map(leafHash)));
    for (const entry of entries) this.#notePolicy(entry);
    return BigInt(tile.width) - BigInt(Math.max(0, oldWidth));
  }

  async #completeHere(boot: BootId, tile: Tile): Promise<Uint8Array | undefined> {
    if (tile.width < TILE_WIDTH) return undefined;
    return this.#here.read(this.#name(boot, tile), LIMITS.entryBundleBytes);
  }

  async #fetch(boot: BootId, { index, width }: Tile): Promise<Uint8Array> {
    this.#fetched++;
    return this.#source.entries(boot, index, width);
  }

  async #tileHere(boot: BootId, tile: Tile): Promise<Uint8Array> {
    const path = this.#name(boot, tile);
    const bytes = await this.#here.read(path, HASH_TILE_BYTES);
    if (bytes === undefined) throw new QvError('log_unknown', { path });
    return bytes;
  }

  /** A leaf that does not decode names none; that it is there is for an audit to say. */
  #notePolicy(entry: Uint8Array): void {
    try {
      const { policyHash } = decodeLeaf(entry);
      if (policyHash !== undefined) this.#policies.add(toHex(policyHash));
    } catch (error) {
      if (!(error instanceof QvError)) throw error;
    }
  }

  /** How many are not to be had. */
  async #copyPolicies(): Promise<number> {
    let missing = 0;
    for (const name of this.#policies) {
      const path = `policies/${name}`;
      if ((await this.#here.read(path, LIMITS.policyBytes)) !== undefined) continue;
      const bytes = await this.#source.policy(hash(fromHex(name)));
      if (bytes === undefined) missing++;
      else if (toHex(sha256(bytes)) !== name)
        throw new QvError('response_malformed', { path, value: 'another policy' });
      else await this.#writeFile(path, bytes);
    }
    return missing;
  }

  async #writeBoots(boots: readonly BootId[]): Promise<void> {
    const list: { boot: BootId; size: string }[] = [];
    for (const boot of boots) {
      const note = await this.#here.read(`${boot}/checkpoint`, LIMITS.noteBytes);
      if (note !== undefined) list.push({ boot, size: String(parseCheckpoint(parseNote(note).text).size) });
    }
    await this.#writeFile('boots', utf8(`${JSON.stringify({ boots: list })}\n`));
  }

  async #removeNarrower(boot: BootId, tile: Tile): Promise<void> {
    const folder = `${this.#name(boot, { ...tile, width: TILE_WIDTH })}.p`;
    for (const name of (await this.#here.list(folder)) ?? [])
      if (/^\d{1,3}$/.test(name) && Number(name) < tile.width)
        await orUnwritable(folder, () => rm(join(this.#root, folder, name), { force: true }));
    if (tile.width === TILE_WIDTH) await rmdir(join(this.#root, folder)).catch(() => undefined);
  }

  #name(boot: BootId, tile: Tile): string {
    return `${boot}/${tilePath(tile)}`;
  }

  #path(boot: BootId, tile: Tile): string {
    return join(this.#root, this.#name(boot, tile));
  }

  #write(boot: BootId, tile: Tile, bytes: Uint8Array): Promise<void> {
    return this.#writeFile(this.#name(boot, tile), bytes);
  }

  async #writeFile(path: string, bytes: Uint8Array): Promise<void> {
    const full = join(this.#root, path);
    await orUnwritable(path, () => mkdir(dirname(full), { recursive: true }));
    // The folder may be in a place where others write.
    if ((await realpath(dirname(full))) !== dirname(full))
      throw new QvError('output_unwritable', { path, value: 'a link' });
    await writeAtomically(full, bytes);
  }
}

const isBundle = ({ level }: Tile): boolean => level === 'entries';
const isAboveLeaves = ({ level }: Tile): boolean => level !== 'entries' && level > 0;

function* tilesAt(wanted: (tile: Tile) => boolean, oldSize: bigint, size: bigint): Generator<Tile> {
  for (const tile of tilesBetween(oldSize, size)) if (wanted(tile)) yield tile;
}

/** A few at a time; the first failure ends all. */
async function pooled<T>(items: Iterable<T>, action: (item: T) => Promise<void>): Promise<void> {
  const iterator = items[Symbol.iterator]();
  let failed = false;
  const worker = async (): Promise<void> => {
    for (let next = iterator.next(); !failed && next.done !== true; next = iterator.next()) {
      try {
        await action(next.value);
      } catch (error) {
        failed = true;
        throw error;
      }
    }
  };
  const outcomes = await Promise.allSettled(Array.from({ length: LIMITS.cliLogReads }, worker));
  for (const outcome of outcomes) if (outcome.status === 'rejected') throw outcome.reason;
}
