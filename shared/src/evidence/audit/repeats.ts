/** The signatures of one boot that its requesters may still ask for again. */
import type { Address, Hash } from '../../brands.ts';
import { LIMITS } from '../../limits.ts';
import type { LeafOf } from './kinds.ts';
import { sameBytes } from './same-bytes.ts';

/** What a boot remembers, and as much again as it may take from the request to the leaf. */
export const REPEAT_MS =
  (LIMITS.requestMaxAgeSeconds + LIMITS.requestMaxFutureSeconds + LIMITS.auditRepeatSlackSeconds) * 1000;

export interface SignedBefore {
  readonly sequence: number;
  readonly time: number;
  readonly wallet: Address;
  readonly actor: Address;
  readonly requestId: string;
  readonly messageHash: Hash;
  readonly signatureHash: Hash;
}

export class Repeats {
  /** By sequence, so in order of time. */
  readonly #known = new Map<number, SignedBefore>();

  get all(): Iterable<SignedBefore> {
    return this.#known.values();
  }

  restore(signed: SignedBefore): void {
    this.#known.set(signed.sequence, signed);
  }

  /** A signature for the first time. */
  add(leaf: LeafOf<'signed'>, sequence: number): void {
    this.#forget(leaf.time);
    const { time, wallet, actor, requestId, messageHash, signatureHash } = leaf;
    this.restore({ sequence, time, wallet, actor, requestId, messageHash, signatureHash });
  }

  /** Whether this leaf repeats the one that it says. */
  holds(leaf: LeafOf<'signed'>): boolean {
    this.#forget(leaf.time);
    const first = leaf.repeats === undefined ? undefined : this.#known.get(Number(leaf.repeats));
    if (first === undefined) return false;
    const { wallet, actor, requestId, messageHash, signatureHash } = first;
    return (
      wallet === leaf.wallet &&
      actor === leaf.actor &&
      requestId === leaf.requestId &&
      sameBytes(messageHash, leaf.messageHash) &&
      sameBytes(signatureHash, leaf.signatureHash)
    );
  }

  #forget(now: number): void {
    for (const { sequence, time } of this.#known.values()) {
      if (now - time <= REPEAT_MS) return;
      this.#known.delete(sequence);
    }
  }
}
