/**
 * The boot's log: one leaf per decision, in sequence, each naming the hash of the one before, each signed by the boot
 * key (design 10). The bytes leave with the reply; the enclave keeps the last hash and the count.
 */
import type { BootId, Hash, TimeMs } from '@quantumvault/shared/brands.ts';
import { encodeLeaf, type Leaf, leafHash, type Receipt } from '@quantumvault/shared/evidence/leaf.ts';
import type { Vault } from './vault.ts';

export type LeafFacts = Omit<Leaf, 'boot' | 'sequence' | 'previous' | 'time'>;

export interface Recorded {
  readonly receipt: Receipt;
  readonly hash: Hash;
  readonly sequence: bigint;
}

export class Log {
  readonly #vault: Vault;
  readonly #boot: BootId;
  #next = 0n;
  #previous: Hash | undefined;

  constructor(vault: Vault, boot: BootId) {
    this.#vault = vault;
    this.#boot = boot;
  }

  /** The number of leaves so far, which is the next one's sequence. */
  get size(): bigint {
    return this.#next;
  }

  append(facts: LeafFacts, time: TimeMs): Recorded {
    const sequence = this.#next;
    const previous = this.#previous;
    const leaf = encodeLeaf({ ...facts, boot: this.#boot, sequence, time, ...(previous && { previous }) });
    const receipt = { leaf, signature: this.#vault.signAsBoot(leaf) };
    this.#next = sequence + 1n;
    this.#previous = leafHash(leaf);
    return { receipt, hash: this.#previous, sequence };
  }
}
