/**
 * Which key of KMS is asked first to open a blob, where several may be able to. What is remembered here changes the
 * order alone: no key is left out, and no answer is believed for it.
 */
import { LIMITS } from '@quantumvault/shared/limits.ts';
import type { KmsKeyState } from '@quantumvault/shared/protocol/message-parts.ts';
import type { KmsKey } from './kms-config.ts';

interface Known {
  readonly key: KmsKey;
  calls: bigint;
  failures: bigint;
  avoidUntilMs: number;
}

interface Opened {
  /** Its place among the attempts, which are the same each time. */
  readonly attempt: number;
  readonly untilMs: number;
}

export class KmsOrder {
  readonly #known: ReadonlyMap<string, Known>;
  readonly #monotonicMs: () => number;
  /** By blob: which attempt other than the first opened it last. The oldest make room. */
  readonly #opened = new Map<string, Opened>();

  constructor(keys: readonly KmsKey[], monotonicMs: () => number) {
    const start = (key: KmsKey): [string, Known] => [key.keyArn, { key, calls: 0n, failures: 0n, avoidUntilMs: 0 }];
    this.#known = new Map(keys.map(start));
    this.#monotonicMs = monotonicMs;
  }

  /** As they are measured. */
  get counts(): readonly KmsKeyState[] {
    return [...this.#known.values()].map(({ key: { keyArn, use }, calls, failures, avoidUntilMs }) => ({
      keyArn,
      use,
      calls,
      failures,
      isAvoided: avoidUntilMs > this.#monotonicMs(),
    }));
  }

  /** The one that opened this blob last, then those whose keys answer, then the others. */
  sorted<A extends { readonly keyArn: string }>(attempts: readonly A[], blob: string): readonly A[] {
    const now = this.#monotonicMs();
    const opened = this.#opened.get(blob);
    const rank = ({ keyArn }: A, index: number): number => {
      if ((this.#known.get(keyArn)?.avoidUntilMs ?? 0) > now) return 2;
      return opened?.attempt === index && opened.untilMs > now ? 0 : 1;
    };
    const ranked = attempts.map((attempt, index) => ({ attempt, rank: rank(attempt, index) }));
    return ranked.sort((a, b) => a.rank - b.rank).map(({ attempt }) => attempt);
  }

  /** Called before each call. One whose time is over is tried by one caller; the others go on avoiding it meanwhile. */
  asking(keyArn: string): void {
    const known = this.#known.get(keyArn);
    if (known === undefined) return;
    known.calls++;
    if (known.avoidUntilMs > 0) this.#avoid(known);
  }

  answered(keyArn: string): void {
    const known = this.#known.get(keyArn);
    if (known !== undefined) known.avoidUntilMs = 0;
  }

  /** @param isSilent it did not answer, or was too busy to: it would keep others waiting, too */
  failed(keyArn: string, isSilent: boolean): void {
    const known = this.#known.get(keyArn);
    if (known === undefined) return;
    known.failures++;
    if (isSilent) this.#avoid(known);
    else known.avoidUntilMs = 0;
  }

  #avoid(known: Known): void {
    known.avoidUntilMs = this.#monotonicMs() + LIMITS.kmsAvoidMilliseconds;
  }

  /** For a while this attempt is the first one for that blob; then the usual order is tried again. */
  opened(blob: string, attempt: number): void {
    this.#opened.delete(blob);
    if (attempt === 0) return;
    this.#opened.set(blob, { attempt, untilMs: this.#monotonicMs() + LIMITS.kmsOpenedMilliseconds });
    if (this.#opened.size <= LIMITS.kmsOpenedBlobs) return;
    const [oldest] = this.#opened.keys();
    if (oldest !== undefined) this.#opened.delete(oldest);
  }
}
