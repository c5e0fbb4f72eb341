/**
 * The freezes of one boot: its own, and those of boots that it continues. Several may overlap. As in the enclave, a new
 * order for a scope takes the place of all that held for exactly that scope, and what came with a wallet keeps its id.
 */
import type { Address } from '../../brands.ts';
import { toHex } from '../../bytes.ts';
import { isOfWallet, scopesOf, touches } from '../freeze-scope.ts';
import type { Leaf } from '../leaf.ts';

export interface Freeze {
  /** Hex. */
  readonly id: string;
  readonly scope: string;
  /** The leaf from which on it held here, and that leaf's time. */
  readonly from: number;
  readonly fromTime: number;
  /** The leaf with which it was first known here, where it was resumed and came once more. */
  readonly known?: number;
  /** The leaf that ended it. */
  until?: number;
  untilTime?: number;
}

type Since = Pick<Freeze, 'from' | 'fromTime'>;

export class Freezes {
  readonly #byId = new Map<string, Freeze>();
  /** Those that hold, by scope: what every signature asks. No scope without one. */
  readonly #open = new Map<string, Map<string, Freeze>>();

  get all(): Iterable<Freeze> {
    return this.#byId.values();
  }

  get open(): readonly Freeze[] {
    return [...this.#open.values()].flatMap((scope) => [...scope.values()]);
  }

  /** The leaf from which on it was known here; undefined if it never was. */
  knownFrom(id: string): number | undefined {
    const freeze = this.#byId.get(id);
    return freeze?.known ?? freeze?.from;
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
    for (const earlier of this.#open.get(scope)?.values() ?? []) this.#end(earlier, from, fromTime);
    this.restore({ id, scope, from, fromTime });
    return true;
  }

  /** @returns false if no such freeze is open */
  resume(freezeId: Uint8Array, scope: string, until: number, untilTime: number): boolean {
    const freeze = this.#open.get(scope)?.get(toHex(freezeId));
    if (freeze === undefined) return false;
    this.#end(freeze, until, untilTime);
    return true;
  }

  /**
   * The log is continued, and no wallet moves: what stops others holds here until somebody decides otherwise. A host
   * that passes a freeze on does so as an order of its own, which may stand in front of this leaf.
   */
  follow(predecessor: Freezes, size: number, here: Since): void {
    const ordered = new Set([...this.all].map(({ scope }) => scope));
    for (const { id, scope } of predecessor.#openAt(size))
      if (!isOfWallet(scope) && !ordered.has(scope) && !this.#byId.has(id)) this.restore({ id, scope, ...here });
  }

  /** A wallet comes over, and with it whatever stops it; also what was resumed here since the last one came. */
  receive(predecessor: Freezes, size: number, wallet: Address, here: Since): void {
    for (const { id, scope } of predecessor.#openAt(size)) {
      if (!touches(scope, wallet)) continue;
      const before = this.#byId.get(id);
      if (before !== undefined && before.until === undefined) continue;
      const known = this.knownFrom(id);
      this.restore({ id, scope, ...here, ...(known !== undefined && { known }) });
    }
  }

  /** The scope of an open freeze that forbids this signature. */
  forbids({ wallet, actor }: Leaf): string | undefined {
    if (this.#open.size === 0) return undefined;
    const subject = wallet && { wallet, ...(actor && { requester: actor }) };
    return scopesOf(subject).find((scope) => this.#open.has(scope));
  }

  /** Freezes that began at or after leaf `size`, no later than `time`, and were not resumed by then; not those of wallets. */
  leftOut(size: number, time: number): readonly Freeze[] {
    return [...this.all].filter(
      ({ scope, from, fromTime, untilTime }) =>
        !isOfWallet(scope) && from >= size && fromTime <= time && (untilTime === undefined || untilTime > time),
    );
  }

  /** When this log had `size` leaves. */
  #openAt(size: number): readonly Freeze[] {
    return [...this.all].filter(({ from, until }) => from < size && (until === undefined || until >= size));
  }

  #begin(freeze: Freeze): void {
    const scope = this.#open.get(freeze.scope) ?? new Map<string, Freeze>();
    this.#open.set(freeze.scope, scope.set(freeze.id, freeze));
  }

  #end(freeze: Freeze, until: number, untilTime: number): void {
    freeze.until = until;
    freeze.untilTime = untilTime;
    const scope = this.#open.get(freeze.scope);
    scope?.delete(freeze.id);
    if (scope?.size === 0) this.#open.delete(freeze.scope);
  }
}
