/**
 * Panic codes: drawn when an owner enables a policy, shown in that one reply, kept as a hash. Plain SHA-256 is enough,
 * without salt and without being slow, because what is hashed is 128 random bits and not something people think of:
 * there is nothing to try out. Whoever reads the database learns no code; whoever writes it can put a hash of his own
 * there, which freezes that wallet and can do nothing else.
 */
import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import { type Address, type Hash, hash } from '@quantumvault/shared/brands.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import type { Store } from '../store/store.ts';
import { formatPanicCode } from './panic-code.ts';

const PURPOSE = 'qv/panic-code/v1\0';

export function panicCodeHash(code: Uint8Array): Hash {
  return hash(new Uint8Array(createHash('sha256').update(PURPOSE).update(code).digest()));
}

interface Enablings {
  count: number;
  code: Promise<string> | undefined;
}

export class PanicCodes {
  readonly #store: Store;
  readonly #open = new Map<Address, Enablings>();

  constructor(store: Store) {
    this.#store = store;
  }

  /**
   * Runs `enable`, then replaces the wallet's code. Enablings of one wallet that overlap, a request and its repeat for
   * example, get one code between them: otherwise the slower one would make void what the other has just answered.
   * @throws whatever `enable` throws; QvError store_unavailable, overloaded: enabled, and to be repeated for a code
   */
  async issue<T>(wallet: Address, enable: () => Promise<T>): Promise<{ readonly enabled: T; readonly code: string }> {
    const enablings = this.#open.get(wallet) ?? { count: 0, code: undefined };
    this.#open.set(wallet, enablings);
    enablings.count++;
    try {
      const enabled = await enable();
      enablings.code ??= this.#replace(wallet).catch((error: unknown) => {
        // Whoever comes next tries again.
        enablings.code = undefined;
        throw error;
      });
      return { enabled, code: await enablings.code };
    } finally {
      if (--enablings.count === 0) this.#open.delete(wallet);
    }
  }

  async #replace(wallet: Address): Promise<string> {
    const code = randomBytes(LIMITS.panicCodeBytes);
    await this.#store.putPanicCode({ wallet, hash: panicCodeHash(code) });
    return formatPanicCode(code);
  }

  /**
   * The database looks for the hash, and how long that takes says at most something about hashes: nobody can choose
   * codes by them. What it found is then compared in constant time.
   * @throws QvError store_unavailable, overloaded
   */
  async walletOf(code: Uint8Array): Promise<Address | undefined> {
    const wanted = panicCodeHash(code);
    const found = await this.#store.findPanicCode(wanted);
    const isIt = found !== undefined && found.hash.length === wanted.length && timingSafeEqual(found.hash, wanted);
    return isIt ? found.wallet : undefined;
  }
}
