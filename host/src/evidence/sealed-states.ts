/**
 * Never brick a wallet: once its enclave is gone, a wallet goes on from the sealed state in the database, and a lease
 * takes no state that is older than the published log says (design 8). So the state is there no later than the leaf
 * that needs it is published, or shown to witnesses, whose log is what leases go by. Replies bring states, too; but
 * with witnesses a reply is held back until its leaf was shown, and without, a host may die between the two.
 *
 * A database that does not answer must not hold signatures back, which expire in the enclave. So the witnesses are
 * asked once every state is written or waits in the backlog, in front of which a state waits no longer than one
 * transaction may wait for its lock. Who kills the host just then, and the enclave too, before the database was
 * unlocked, leaves a wallet that needs the lost state. To wait for the database instead would end that at the price of
 * a stop for everybody whenever the database stops; and nothing signed meanwhile has left, because the host releases a
 * signature only after it was written. The checkpoint itself is not published before all states are written.
 */
import type { Address } from '@quantumvault/shared/brands.ts';
import { codeOf } from '@quantumvault/shared/errors.ts';
import { decodeLeaf } from '@quantumvault/shared/evidence/leaf.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import type { EnclaveClient } from '../enclave/client.ts';
import type { EnclaveSession } from '../enclave/session.ts';
import type { Log } from '../log.ts';
import type { Records } from '../records.ts';
import type { Store } from '../store/store.ts';

export interface SealedStatesDeps {
  readonly enclave: EnclaveClient;
  readonly session: EnclaveSession;
  readonly store: Store;
  readonly records: Records;
  readonly log: Log;
}

/** Asked of the enclave at a time: fewer than it keeps room for, so that the session's questions pass, too. */
const PARALLEL = LIMITS.inFlightReserved / 2;

/** Of one boot. */
export class SealedStates {
  readonly #deps: SealedStatesDeps;
  /** The version that the newest leaf of each wallet names, of those not known to be written. */
  readonly #needed = new Map<Address, bigint>();

  constructor(deps: SealedStatesDeps) {
    this.#deps = deps;
  }

  /** A leaf that is going to be published. */
  need(bytes: Uint8Array): void {
    const { wallet, stateVersion } = decodeLeaf(bytes);
    if (wallet === undefined || stateVersion === undefined) return;
    const known = this.#needed.get(wallet) ?? 0n;
    if (stateVersion > known) this.#needed.set(wallet, stateVersion);
  }

  /**
   * Once per wallet, however many leaves it has.
   * @throws QvError what the enclave or the session lacks; then nothing is published either
   */
  async secure(): Promise<void> {
    if (this.#needed.size === 0) return;
    const { session, store } = this.#deps;
    session.requireRowMac();
    const wallets = [...this.#needed.keys()];
    const stored = await inTime(store.getStateVersions(wallets));
    for (const [wallet, version] of stored === undefined ? [] : this.#needed) {
      // Without a row its creation was never stored, and nobody has the address.
      const kept = stored?.get(wallet);
      if (kept === undefined || kept >= version) this.#needed.delete(wallet);
    }
    const behind = [...this.#needed.keys()];
    const writes: Promise<void>[] = [];
    for (let from = 0; from < behind.length; from += PARALLEL)
      await Promise.all(behind.slice(from, from + PARALLEL).map((wallet) => this.#fetch(wallet, writes)));
    await inTime(Promise.all(writes));
  }

  async #fetch(wallet: Address, writes: Promise<void>[]): Promise<void> {
    const { enclave, records, log } = this.#deps;
    const complain = (error: unknown): void =>
      log.error({ wallet, code: codeOf(error) }, 'the newest state of a wallet is not stored');
    try {
      const newest = await enclave.request('stateGet', { wallet }, { urgent: true });
      writes.push(records.state(wallet, newest).catch(complain));
    } catch (error) {
      // Nothing this code does leads here; to go on asking would stop the log for good.
      if (codeOf(error) !== 'wallet_unknown') throw error;
      complain(error);
    }
    this.#needed.delete(wallet);
  }
}

/** Undefined when the database takes longer than one transaction waits for a lock, or refuses. */
async function inTime<T>(work: Promise<T>): Promise<T | undefined> {
  const { promise, resolve } = Promise.withResolvers<undefined>();
  const timer = setTimeout(() => resolve(undefined), LIMITS.storeBusyMilliseconds);
  try {
    return await Promise.race([work.catch(() => undefined), promise]);
  } finally {
    clearTimeout(timer);
  }
}
