/**
 * Execution keys that stay unwrapped for a while, where the measured configuration allows it (design 4): in guarded
 * memory, so many and no more, each from its Decrypt until its time to live ends and not a use longer. Wiped then, at
 * a freeze, and when its wallet leaves. Without that configuration nothing is kept.
 */
import type { Address } from '@quantumvault/shared/brands.ts';
import type { Vault } from './vault.ts';

export interface KeepFor {
  readonly timeToLiveSeconds: number;
  /** Keys at a time; the oldest makes room. */
  readonly count: number;
}

interface Kept {
  /** Names wallet, owner, salt and wrapped key. */
  readonly key: string;
  readonly slot: number;
  readonly endsAtMs: number;
}

export class KeptKeys {
  readonly #vault: Vault;
  readonly #timeToLiveMs: number;
  readonly #monotonicMs: () => number;
  readonly #isInUse: (wallet: Address) => boolean;
  /** In the order in which they end, which is that of their births. */
  readonly #kept = new Map<Address, Kept>();
  readonly #freeSlots: number[];
  #forgotten = 0;
  #timer: NodeJS.Timeout | undefined;

  /** @param isInUse whether the wallet is held here and not frozen: of no other is a key kept */
  constructor(
    vault: Vault,
    keepFor: KeepFor | undefined,
    monotonicMs: () => number,
    isInUse: (wallet: Address) => boolean,
  ) {
    this.#vault = vault;
    this.#timeToLiveMs = (keepFor?.timeToLiveSeconds ?? 0) * 1000;
    this.#freeSlots = Array.from({ length: keepFor?.count ?? 0 }, (_, slot) => slot);
    this.#monotonicMs = monotonicMs;
    this.#isInUse = isInUse;
  }

  get size(): number {
    return this.#kept.size;
  }

  /** The slot of that very key; undefined when it is not here any more. */
  find(wallet: Address, key: string): number | undefined {
    this.#wipeEnded();
    const kept = this.#kept.get(wallet);
    return kept?.key === key ? kept.slot : undefined;
  }

  /** To be asked before a Decrypt, and handed to `keep`: what was ordered wiped meanwhile is not kept after all. */
  asOfNow(): number {
    return this.#forgotten;
  }

  /**
   * Runs `open` with the slot that is to hold the key, or without one if none may be kept.
   * @throws whatever `open` throws; then nothing is kept
   */
  keep(wallet: Address, key: string, asOf: number, open: (slot: number | undefined) => void): void {
    const mayKeep = asOf === this.#forgotten && this.#isInUse(wallet);
    const slot = mayKeep ? this.#takeSlot(wallet) : undefined;
    if (slot === undefined) {
      open(undefined);
      return;
    }
    this.#kept.set(wallet, { key, slot, endsAtMs: this.#monotonicMs() + this.#timeToLiveMs });
    try {
      open(slot);
    } catch (error) {
      this.forget(wallet);
      throw error;
    }
    this.#arm();
  }

  /** Wipes a wallet's key, or all. */
  forget(wallet?: Address): void {
    this.#forgotten++;
    for (const held of wallet === undefined ? [...this.#kept.keys()] : [wallet]) this.#wipe(held);
  }

  #takeSlot(wallet: Address): number | undefined {
    this.#wipe(wallet);
    if (this.#freeSlots.length === 0) {
      const [oldest] = this.#kept.keys();
      if (oldest !== undefined) this.#wipe(oldest);
    }
    return this.#freeSlots.pop();
  }

  #wipe(wallet: Address): void {
    const kept = this.#kept.get(wallet);
    if (kept === undefined) return;
    this.#vault.forget(kept.slot);
    this.#kept.delete(wallet);
    this.#freeSlots.push(kept.slot);
  }

  #wipeEnded(): void {
    const now = this.#monotonicMs();
    for (const [wallet, { endsAtMs }] of this.#kept) {
      if (endsAtMs > now) return;
      this.#wipe(wallet);
    }
  }

  /** Also with no request to notice it, a key ends in time. */
  #arm(): void {
    if (this.#timer !== undefined) return;
    const [next] = this.#kept.values();
    if (next === undefined) return;
    const inMs = Math.max(0, Math.ceil(next.endsAtMs - this.#monotonicMs()));
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#wipeEnded();
      this.#arm();
    }, inMs).unref();
  }
}
