/**
 * The request ids of one wallet, remembered for the freshness window, so that a repeat neither counts twice nor hides
 * another body behind a known id. Full means 429: forgetting early would let a request count twice (design 6).
 */
import type { Address, Hash, RequestId, TimeMs } from '@quantumvault/shared/brands.ts';
import { equalBytes } from '@quantumvault/shared/bytes.ts';
import { QvError } from '@quantumvault/shared/errors.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';

interface Remembered {
  readonly bodyHash: Hash;
  readonly forgetAt: number;
  /** The leaf that recorded it, once it is done. */
  leaf: bigint | undefined;
}

/** Ids of all wallets together: one count for the whole enclave. */
export class RememberedCount {
  value = 0;
}

const KEEP_MS = (LIMITS.requestMaxAgeSeconds + LIMITS.requestMaxFutureSeconds) * 1000;

/** A request under way. Exactly one of the two ends is called. */
export interface Ticket {
  /** The leaf of the first time, when this very request was signed before: nothing is to be reserved again. */
  readonly repeats: bigint | undefined;
  /** `leaf` recorded the signature. */
  signed(leaf: bigint): void;
  refused(): void;
}

export class RequestMemory {
  readonly #count: RememberedCount;
  /** In order of acceptance, which is the order of forgetting. */
  readonly #requests = new Map<string, Remembered>();

  constructor(count: RememberedCount) {
    this.#count = count;
  }

  /** @throws QvError request_id_reused, request_in_flight, request_ids_full */
  begin(requester: Address, id: RequestId, bodyHash: Hash, now: TimeMs): Ticket {
    this.#forget(now);
    const key = `${requester}:${id}`;
    const known = this.#requests.get(key);
    if (known !== undefined) {
      if (!equalBytes(known.bodyHash, bodyHash)) throw new QvError('request_id_reused');
      if (known.leaf === undefined) throw new QvError('request_in_flight');
      return { repeats: known.leaf, signed: () => undefined, refused: () => undefined };
    }
    if (this.#requests.size >= LIMITS.requestIdsPerWallet || this.#count.value >= LIMITS.requestIdsPerEnclave) {
      throw new QvError('request_ids_full');
    }
    const entry: Remembered = { bodyHash, forgetAt: now + KEEP_MS, leaf: undefined };
    this.#requests.set(key, entry);
    this.#count.value++;
    return {
      repeats: undefined,
      signed: (leaf) => {
        entry.leaf = leaf;
      },
      refused: () => {
        if (this.#requests.delete(key)) this.#count.value--;
      },
    };
  }

  /** The wallet has left. */
  forgetAll(): void {
    this.#count.value -= this.#requests.size;
    this.#requests.clear();
  }

  #forget(now: TimeMs): void {
    for (const [key, entry] of this.#requests) {
      // One that is still being worked on holds its place: it ends by itself.
      if (entry.forgetAt >= now || entry.leaf === undefined) break;
      this.#requests.delete(key);
      this.#count.value--;
    }
  }
}
