/**
 * One decision per (wallet, requester, id): the same request gets the same reply for a day, also after a restart. The
 * enclave has its own, shorter memory; this one is a courtesy to callers and grants nothing.
 */
import type { Address, Hash, RequestId, TimeMs } from '@quantumvault/shared/brands.ts';
import { equalBytes } from '@quantumvault/shared/bytes.ts';
import { type ErrorFacts, QvError } from '@quantumvault/shared/errors.ts';
import { type Denial, DeniedError } from './problem.ts';
import type { UsesRowKey } from './row-keys.ts';
import type { Store } from './store/store.ts';

export interface RequestKey {
  readonly wallet: Address;
  readonly requester: Address;
  readonly id: RequestId;
  readonly bodyHash: Hash;
}

export interface Once {
  /** Throws when nothing may leave. Called last. */
  readonly release: () => void;
  /** Decides and stores; the reply as JSON text. */
  readonly work: () => Promise<string>;
}

export class Idempotency {
  readonly #store: Store;
  readonly #keys: () => UsesRowKey;
  readonly #now: () => TimeMs;
  readonly #inFlight = new Map<string, Hash>();

  constructor(store: Store, keys: () => UsesRowKey, now: () => TimeMs) {
    this.#store = store;
    this.#keys = keys;
    this.#now = now;
  }

  /** @throws QvError request_in_flight, request_id_reused, row_tampered, and what `work` and `release` throw */
  async once(key: RequestKey, { release, work }: Once): Promise<string> {
    // Ids hold no space, so no two keys are spelled the same.
    const name = `${key.wallet} ${key.requester} ${key.id}`;
    const under = this.#inFlight.get(name);
    if (under !== undefined)
      throw new QvError(equalBytes(under, key.bodyHash) ? 'request_in_flight' : 'request_id_reused');
    this.#inFlight.set(name, key.bodyHash);
    try {
      const reply = (await this.#stored(key)) ?? (await work());
      release();
      return reply;
    } finally {
      this.#inFlight.delete(name);
    }
  }

  async #stored({ wallet, requester, id, bodyHash }: RequestKey): Promise<string | undefined> {
    const keys = this.#keys();
    const kept = await keys.reading(async () => {
      const stored = await this.#store.getReply(wallet, requester, id, this.#now());
      return stored && keys.require().openReply(stored);
    });
    if (kept === undefined) return undefined;
    if (!equalBytes(kept.bodyHash, bodyHash)) throw new QvError('request_id_reused');
    if (kept.status === 200) return kept.reply;
    const { facts, ...denial } = JSON.parse(kept.reply) as { facts: ErrorFacts } & Denial;
    throw new DeniedError(facts, denial);
  }
}
