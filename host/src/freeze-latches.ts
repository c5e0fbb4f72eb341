/** The host's memory of freezes: what holds, and how much of it the enclave is known to know. */
import type { BootId, TimeMs } from '@quantumvault/shared/brands.ts';
import { equalBytes } from '@quantumvault/shared/bytes.ts';
import { FLEET, scopesOf } from '@quantumvault/shared/evidence/freeze-scope.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import type { Subject } from './freeze-scope.ts';
import type { FreezeRecord } from './store/store.ts';

export interface Latch {
  record: FreezeRecord;
  /** Orders of this scope are numbered; `told` is the newest one that an enclave acknowledged. */
  order: number;
  told: number;
  /** The boot that did, whether or not its acknowledgement could be read. */
  boot: BootId | undefined;
  /** The leaf of that acknowledgement: an older one that arrives late changes nothing. */
  sequence: bigint | undefined;
  /** Orders that wait for the enclave's answer. */
  underWay: number;
}

/** An acknowledgement, as far as it says which freeze holds now. */
export interface Known {
  readonly boot: BootId;
  readonly freezeId: Uint8Array;
  readonly sequence?: bigint;
}

export class Latches {
  readonly #latches = new Map<string, Latch>();
  /** Grows with every change: what was asked before one says nothing about after. */
  changes = 0;

  get size(): number {
    return this.#latches.size;
  }

  get(scope: string): Latch | undefined {
    return this.#latches.get(scope);
  }

  /** The fleet's first, then as they came. */
  all(): readonly Latch[] {
    const fleet = this.#latches.get(FLEET);
    const others = [...this.#latches.values()].filter((latch) => latch !== fleet);
    return fleet === undefined ? others : [fleet, ...others];
  }

  /** The widest scope that stops this. */
  stopping(subject?: Subject): string | undefined {
    return scopesOf(subject).find((scope) => this.#latches.has(scope));
  }

  /**
   * One more order. Whatever id an earlier one got ends nothing any more. More scopes than there is room for freeze
   * everything: a freeze is never refused.
   */
  order(scope: string, reason: string, latchedAt: TimeMs): Latch {
    const latch = this.#find(scope, reason, latchedAt);
    latch.order++;
    const { boot: _, freezeId: __, ...first } = latch.record;
    latch.record = first;
    this.changes++;
    return latch;
  }

  /** A freeze that is known from elsewhere. What is held already stays as it is, but for the earlier time and reason. */
  learn(record: FreezeRecord): Latch {
    const { scope, reason, latchedAt, boot, freezeId } = record;
    const held = this.#latches.get(scope);
    if (held !== undefined) {
      if (latchedAt < held.record.latchedAt) held.record = { ...held.record, reason, latchedAt };
      return held;
    }
    const latch = this.order(scope, reason, latchedAt);
    if (latch.record.scope === scope && boot !== undefined && freezeId !== undefined) {
      this.told(latch, latch.order, boot);
      this.identify(latch, { boot, freezeId });
    }
    return latch;
  }

  #find(scope: string, reason: string, latchedAt: TimeMs): Latch {
    const name = this.#latches.has(scope) || this.#latches.size < LIMITS.frozenScopes ? scope : FLEET;
    const held = this.#latches.get(name);
    if (held !== undefined) return held;
    const record = { scope: name, reason, latchedAt };
    const latch = { record, order: 0, told: 0, boot: undefined, sequence: undefined, underWay: 0 };
    this.#latches.set(name, latch);
    return latch;
  }

  /** An enclave answered this order. */
  told(latch: Latch, order: number, boot: BootId | undefined): void {
    latch.told = Math.max(latch.told, order);
    latch.boot = boot;
    this.changes++;
  }

  /** @returns whether anything is new */
  identify(latch: Latch, { boot, freezeId, sequence }: Known): boolean {
    const { record } = latch;
    const isSameBoot = record.boot === boot;
    if (isSameBoot && record.freezeId !== undefined && equalBytes(record.freezeId, freezeId)) {
      latch.sequence ??= sequence;
      return false;
    }
    if (isSameBoot && sequence !== undefined && sequence < (latch.sequence ?? 0n)) return false;
    latch.sequence = sequence;
    latch.boot = boot;
    latch.record = { ...record, boot, freezeId };
    this.changes++;
    return true;
  }

  end(latch: Latch): void {
    this.#latches.delete(latch.record.scope);
    this.changes++;
  }
}

/** Whether the newest order has reached this boot. */
export function isTold(latch: Latch, boot: BootId): boolean {
  return latch.told === latch.order && latch.boot === boot;
}
