/**
 * The boot's log: one leaf per decision, in sequence, each naming the hash of the one before, each signed by the boot
 * key (design 10). They are the leaves of an RFC 6962 tree, kept as its frontier. The bytes leave with the reply; the
 * enclave keeps the last hash, the count, and the newest leaves for a host that lost them.
 */
import type { Address, BootId, Hash, TimeMs } from '@quantumvault/shared/brands.ts';
import type { ErrorCode } from '@quantumvault/shared/errors.ts';
import { bootLogOrigin, encodeLeaf, type Leaf, leafHash, type Receipt } from '@quantumvault/shared/evidence/leaf.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { formatCheckpoint } from '@quantumvault/shared/tlog/checkpoint.ts';
import { formatNote, noteMessage, noteSignature } from '@quantumvault/shared/tlog/note.ts';
import { append, EMPTY_FRONTIER, type Frontier, frontierRoot } from '@quantumvault/shared/tlog/tree.ts';
import { type VerifierKey, verifierKey } from '@quantumvault/shared/tlog/verifier-key.ts';
import type { TrustedTime } from './time.ts';
import type { Vault } from './vault.ts';

/** A key that did not come out of its blob. One leaf per attempt, however many requests waited for it. */
export function recordKeyFailure(log: Log, time: TrustedTime, code: ErrorCode, wallet?: Address): void {
  log.append({ kind: 'key-failed', rule: code, ...(wallet && { wallet }) }, time.lastTrusted());
}

export type LeafFacts = Omit<Leaf, 'boot' | 'sequence' | 'previous' | 'time'>;

export interface Recorded {
  readonly sequence: bigint;
  readonly receipt: Receipt;
  readonly hash: Hash;
}

export class Log {
  readonly #vault: Vault;
  readonly #boot: BootId;
  #next = 0n;
  #previous: Hash | undefined;
  #frontier: Frontier = EMPTY_FRONTIER;
  readonly #key: VerifierKey;
  /** The newest leaves, by sequence modulo the number kept. */
  readonly #recent: Receipt[] = [];
  readonly #watching = new Set<() => void>();

  /** @param logOrigin of the deployment, measured; each boot's log has a name of its own under it */
  constructor(vault: Vault, boot: BootId, logOrigin: string) {
    this.#vault = vault;
    this.#boot = boot;
    this.#key = verifierKey(bootLogOrigin(logOrigin, boot), 'ed25519', vault.bootPublicKey);
  }

  /** The number of leaves so far, which is the next one's sequence. */
  get size(): bigint {
    return this.#next;
  }

  /** This boot's name and key, as checkpoints carry them. */
  get key(): VerifierKey {
    return this.#key;
  }

  /** Resolves once there are more leaves than that, or after LIMITS.checkpointWaitMilliseconds. */
  async longerThan(size: bigint): Promise<void> {
    if (this.#next > size) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, LIMITS.checkpointWaitMilliseconds);
    this.#watching.add(resolve);
    await promise;
    clearTimeout(timer);
    this.#watching.delete(resolve);
  }

  /** The tree of all leaves so far, in a note that the boot key signs (C2SP tlog-checkpoint). */
  checkpoint(): Uint8Array {
    const { size } = this.#frontier;
    const text = formatCheckpoint({ origin: this.#key.name, size, root: frontierRoot(this.#frontier), extensions: [] });
    const signature = this.#vault.signAsBoot(noteMessage(text));
    return formatNote({ text, signatures: [noteSignature(this.#key, signature)] });
  }

  /** Leaves from `from` on that are still kept, as many as one reply holds. */
  recent(from: bigint): readonly Receipt[] {
    const oldest = this.#next - BigInt(Math.min(this.#recent.length, LIMITS.recentLeaves));
    const receipts: Receipt[] = [];
    let bytes = 0;
    for (let sequence = from > oldest ? from : oldest; sequence < this.#next; sequence++) {
      const receipt = this.#recent[Number(sequence % BigInt(LIMITS.recentLeaves))];
      bytes += receipt?.leaf.length ?? 0;
      // Leaf 0 holds a whole attestation document; the first one is sent whatever its size.
      if (receipt === undefined || receipts.length === LIMITS.leavesPerReply) break;
      if (receipts.length > 0 && bytes > LIMITS.frameBytes / 2) break;
      receipts.push(receipt);
    }
    return receipts;
  }

  append(facts: LeafFacts, time: TimeMs): Recorded {
    const sequence = this.#next;
    const previous = this.#previous;
    const leaf = encodeLeaf({ ...facts, boot: this.#boot, sequence, time, ...(previous && { previous }) });
    const receipt = { leaf, signature: this.#vault.signAsBoot(leaf) };
    this.#next = sequence + 1n;
    this.#previous = leafHash(leaf);
    this.#frontier = append(this.#frontier, this.#previous);
    this.#recent[Number(sequence % BigInt(LIMITS.recentLeaves))] = receipt;
    for (const wake of this.#watching) wake();
    return { sequence, receipt, hash: this.#previous };
  }
}
