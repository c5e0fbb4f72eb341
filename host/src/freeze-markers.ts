/**
 * The directory where `qv kill` leaves orders that no host took (freeze-marker.ts). All of them latch in memory before
 * the host listens, and those that come later within a second or so; each file goes once the database holds its
 * freeze. Whatever cannot be read as an order is one for the whole fleet: who wrote it wanted something stopped.
 */
import { chmodSync, chownSync, constants, mkdirSync, type Stats, statSync } from 'node:fs';
import { lstat, open, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { TimeMs } from '@quantumvault/shared/brands.ts';
import { QvError } from '@quantumvault/shared/errors.ts';
import { FLEET } from '@quantumvault/shared/evidence/freeze-scope.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import type { Freezes } from './freeze.ts';
import { PART, parseMarker } from './freeze-marker.ts';
import type { Log } from './log.ts';
import type { FreezeRecord } from './store/store.ts';

/** Who may use the admin socket may leave orders, and nobody else. */
const MODE = 0o770;

export interface MarkersDeps {
  readonly directory: string;
  readonly groupId: number | undefined;
  readonly freezes: Pick<Freezes, 'latch' | 'store'>;
  readonly log: Log;
  readonly now: () => TimeMs;
}

export class FreezeMarkers {
  readonly #deps: MarkersDeps;
  /** Files whose freeze is in memory, by name and what they were; with the scope that the database has to hold. */
  readonly #latched = new Map<string, { readonly stamp: string; readonly scope: string }>();
  #timer: NodeJS.Timeout | undefined;
  #looking: Promise<void> = Promise.resolve();
  #closed = false;
  #complaint = '';

  /** @throws QvError config_invalid when the directory cannot be made, or is somebody else's */
  constructor(deps: MarkersDeps) {
    this.#deps = deps;
    prepare(deps.directory, deps.groupId);
  }

  /** When it resolves, every order is in memory. @throws QvError config_invalid when the directory cannot be read */
  async start(): Promise<void> {
    try {
      await this.#latchAll();
    } catch (error) {
      throw new QvError('config_invalid', { path: 'freezeMarkers', value: 'cannot be read' }, { cause: error });
    }
    this.#next(0);
  }

  #next(milliseconds: number): void {
    if (this.#closed) return;
    this.#timer = setTimeout(() => {
      this.#looking = this.#look().finally(() => this.#next(LIMITS.freezeMarkerPollMilliseconds));
    }, milliseconds);
  }

  async #look(): Promise<void> {
    try {
      await this.#latchAll();
      for (const name of [...this.#latched.keys()]) await this.#remove(name);
      this.#complaint = '';
    } catch (error) {
      const reason = error instanceof QvError ? error.code : String((error as NodeJS.ErrnoException).code);
      // Once per reason: what fails every second must not fill the log.
      if (reason !== this.#complaint) this.#deps.log.error({ reason }, 'orders to freeze: the directory fails');
      this.#complaint = reason;
    }
  }

  async #latchAll(): Promise<void> {
    const { directory, freezes, log, now } = this.#deps;
    const names = await readdir(directory);
    for (const name of this.#latched.keys()) if (!names.includes(name)) this.#latched.delete(name);
    let read = 0;
    for (const name of names) {
      const facts = await lstat(join(directory, name)).catch(() => undefined);
      // Renamed or taken away since it was listed.
      if (facts === undefined && !(await readdir(directory)).includes(name)) continue;
      const stamp = facts === undefined ? '' : stampOf(facts);
      if (this.#latched.get(name)?.stamp === stamp || isBeingWritten(name, facts, now())) continue;
      const order = ++read > LIMITS.freezeMarkers ? undefined : await readOrder(join(directory, name));
      const record = order ?? { scope: FLEET, reason: 'an order to freeze that cannot be read', latchedAt: now() };
      freezes.latch(record);
      this.#latched.set(name, { stamp, scope: record.scope });
      log.warn({ scope: record.scope, readable: order !== undefined }, 'frozen by an order left on disk');
    }
  }

  /** Only after the database holds it: until then the file is the only memory that outlives this process. */
  async #remove(name: string): Promise<void> {
    const { directory, freezes } = this.#deps;
    const latched = this.#latched.get(name);
    if (latched === undefined) return;
    await freezes.store(latched.scope);
    const path = join(directory, name);
    // Written again meanwhile: then it is another order.
    if (stampOf(await lstat(path)) === latched.stamp) await rm(path, { recursive: true });
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#timer);
    await this.#looking;
    clearTimeout(this.#timer);
  }
}

/** @throws QvError config_invalid */
function prepare(directory: string, groupId: number | undefined): void {
  try {
    mkdirSync(directory, { recursive: true, mode: MODE });
    const facts = statSync(directory);
    if (!facts.isDirectory()) throw new Error('not a directory');
    if (groupId !== undefined && facts.gid !== groupId) chownSync(directory, -1, groupId);
    // Whatever the umask left of it.
    if ((facts.mode & 0o7777) !== MODE) chmodSync(directory, MODE);
  } catch (error) {
    throw new QvError('config_invalid', { path: 'freezeMarkers', value: 'no directory of ours' }, { cause: error });
  }
}

const stampOf = ({ ino, size, mtimeMs, ctimeMs }: Stats): string => `${ino}:${size}:${mtimeMs}:${ctimeMs}`;

/** One that was left half-written counts; a time in the future is not under way. */
function isBeingWritten(name: string, facts: Stats | undefined, now: TimeMs): boolean {
  if (facts === undefined || !name.endsWith(PART) || !facts.isFile()) return false;
  const age = now - facts.mtimeMs;
  return age < LIMITS.freezeMarkerWriteMilliseconds && age > -LIMITS.freezeMarkerWriteMilliseconds;
}

/** Undefined when it is none. Pipes and links are not waited for or followed. */
async function readOrder(path: string): Promise<FreezeRecord | undefined> {
  try {
    const file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOFOLLOW);
    try {
      const facts = await file.stat();
      if (!facts.isFile() || facts.size > LIMITS.freezeMarkerBytes) return undefined;
      const buffer = new Uint8Array(LIMITS.freezeMarkerBytes + 1);
      const { bytesRead } = await file.read(buffer, 0, buffer.length, 0);
      return parseMarker(buffer.subarray(0, bytesRead));
    } finally {
      await file.close();
    }
  } catch {
    return undefined;
  }
}
