/** The freezes of one boot: its own, and those of boots that it continues. Several may overlap. */
import { toHex } from '../../bytes.ts';
import type { Leaf } from '../leaf.ts';

export interface Freeze {
  /** Hex. */
  readonly id: string;
  readonly scope: string;
  /** The leaf from which on it held here, and that leaf's time. */
  readonly from: number;
  readonly fromTime: number;
  /** The leaf that ended it. */
  until?: number;
  untilTime?: number;
}

export class Freezes {
  readonly #byId = new Map<string, Freeze>();
  readonly #open = new Map<string, Freeze>();
  /** How many of each scope are open: what every signature asks. */
  readonly #scopes = new Map<string, number>();

  get all(): Iterable<Freeze> {
    return this.#byId.values();
  }

  /** A freeze as it was kept. */
  restore(freeze: Freeze): void {
    this.#byId.set(freeze.id, freeze);
    if (freeze.until === undefined) this.#begin(freeze);
  }

  /** @returns false if there was one of that id */
  freeze(freezeId: Uint8Array, scope: string, from: number, fromTime: number): boolean {
    const id = toHex(freezeId);
    if (this.#byId.has(id)) return false;
    this.restore({ id, scope, from, fromTime });
    return true;
  }

  /** @returns false if no such freeze is open */
  resume(freezeId: Uint8Array, scope: string, until: number, untilTime: number): boolean {
    const freeze = this.#open.get(toHex(freezeId));
    if (freeze === undefined || freeze.scope !== scope) return false;
    freeze.until = until;
    freeze.untilTime = untilTime;
    this.#open.delete(freeze.id);
    this.#scopes.set(scope, (this.#scopes.get(scope) ?? 1) - 1);
    return true;
  }

  /** What held there when its log had `size` leaves holds here from leaf `from` on. */
  inherit(predecessor: Freezes, size: number, from: number, fromTime: number): void {
    for (const { id, scope, from: begun, until } of predecessor.all) {
      const isOpen = begun < size && (until === undefined || until >= size);
      if (isOpen && !this.#byId.has(id)) this.restore({ id, scope, from, fromTime });
    }
  }

  /** The scope of an open freeze that forbids this signature. */
  forbids({ wallet, actor }: Leaf): string | undefined {
    if (this.#open.size === 0) return undefined;
    const scopes = ['fleet', `wallet:${wallet}`, `requester:${actor}`];
    return scopes.find((scope) => (this.#scopes.get(scope) ?? 0) > 0);
  }

  /** Freezes that began at or after leaf `size`, no later than `time`, and were not resumed by then. */
  leftOut(size: number, time: number): readonly Freeze[] {
    return [...this.all].filter(
      ({ from, fromTime, untilTime }) =>
        from >= size && fromTime <= time && (untilTime === undefined || untilTime > time),
    );
  }

  #begin(freeze: Freeze): void {
    this.#open.set(freeze.id, freeze);
    this.#scopes.set(freeze.scope, (this.#scopes.get(freeze.scope) ?? 0) + 1);
  }
}
