/** Reads the entries of one log, bundle by bundle, the next one on its way while one is worked on. */
import type { BootId } from '../../brands.ts';
import { QvError } from '../../errors.ts';
import { TILE_WIDTH, tileWidth } from '../../tlog/tiles.ts';
import type { LogSource } from './types.ts';

export interface Bundle {
  /** The sequence of its first entry. */
  readonly start: number;
  /** Views of the bytes read. As many as there are: a source that serves fewer than it should is found by counting. */
  readonly entries: readonly Uint8Array[];
  /** How many there must be. */
  readonly width: number;
  /** Bytes are left over, or the last entry is cut. */
  readonly isRagged: boolean;
}

export class Bundles {
  readonly #source: LogSource;
  readonly #boot: BootId;
  readonly #size: number;
  #ahead: { readonly index: number; readonly bundle: Promise<Bundle> } | undefined;

  constructor(source: LogSource, boot: BootId, size: number) {
    this.#source = source;
    this.#boot = boot;
    this.#size = size;
  }

  /** The bundle that holds this sequence, and the next one is asked for. @throws whatever the source throws */
  async at(sequence: number): Promise<Bundle> {
    const index = Math.floor(sequence / TILE_WIDTH);
    const ahead = this.#ahead;
    const bundle = await (ahead?.index === index ? ahead.bundle : this.read(index));
    if ((index + 1) * TILE_WIDTH < this.#size) {
      const next = this.read(index + 1);
      // Its failure counts when it is asked for, or never.
      next.catch(() => undefined);
      this.#ahead = { index: index + 1, bundle: next };
    } else this.#ahead = undefined;
    return bundle;
  }

  /** Forgets what was read ahead. */
  drop(): void {
    this.#ahead = undefined;
  }

  /** One bundle; none of its entries where the source has no such bundle. */
  async read(index: number): Promise<Bundle> {
    const width = tileWidth('entries', BigInt(index), BigInt(this.#size));
    const start = index * TILE_WIDTH;
    try {
      const bytes = await this.#source.entries(this.#boot, BigInt(index), width);
      return { start, width, ...split(bytes, width) };
    } catch (error) {
      if (!(error instanceof QvError) || error.code !== 'log_unknown') throw error;
      return { start, width, entries: [], isRagged: false };
    }
  }
}

/** Entries behind their lengths[u16be], at most `width` of them. */
function split(bytes: Uint8Array, width: number): Pick<Bundle, 'entries' | 'isRagged'> {
  const entries: Uint8Array[] = [];
  let at = 0;
  while (entries.length < width && at + 2 <= bytes.length) {
    const end = at + 2 + (bytes[at] ?? 0) * 256 + (bytes[at + 1] ?? 0);
    if (end > bytes.length) break;
    entries.push(bytes.subarray(at + 2, end));
    at = end;
  }
  return { entries, isRagged: at !== bytes.length };
}
