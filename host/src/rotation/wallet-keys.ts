/**
 * The key blobs of wallets: putting a wallet under fresh ones, and following where that has happened. The enclave
 * decides which blobs count. A row that lags behind, because an answer was lost or is still being written, is brought up
 * to date from what the enclave remembers, and the question is asked again: nobody's request fails for it.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Address, TimeMs } from '@quantumvault/shared/brands.ts';
import { codeOf, QvError } from '@quantumvault/shared/errors.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import type { EnclaveClient } from '../enclave/client.ts';
import type { EnclaveSession } from '../enclave/session.ts';
import type { Log } from '../log.ts';
import type { Records } from '../records.ts';
import type { Store, WalletRow } from '../store/store.ts';
import { blobsOf, requireLive, sameKeys, verifiedRow } from '../wallet-rows.ts';

export interface WalletKeysDeps {
  readonly store: Store;
  readonly session: EnclaveSession;
  readonly enclave: EnclaveClient;
  readonly records: Records;
  readonly log: Log;
}

export interface Rotated {
  /** False: its keys were young enough, and nothing was done. */
  readonly rotated: boolean;
  /** When the keys were made that the wallet has now. */
  readonly at: TimeMs;
}

export interface RotateOptions {
  /** Keys that were made at this time or later are left as they are; undefined: whatever their age. */
  readonly before?: TimeMs | undefined;
  /** Only wallets that are not sealed for a second KMS key. */
  readonly withoutSecond?: boolean | undefined;
}

/** A wallet that is re-wrapped more often than this while one request is asked: something else is wrong. */
const ROUNDS = 4;
/** For an owner who enables policies while his wallet is re-wrapped. */
const POLICY_MILLISECONDS = LIMITS.walletRewrapMilliseconds / 2;
const PAUSE_MILLISECONDS = 100;

/** When the keys of a row were made. */
export const keysMadeAt = ({ rotatedAt, createdAt }: WalletRow): TimeMs => rotatedAt ?? createdAt;

export class WalletKeys {
  readonly #deps: WalletKeysDeps;
  /** Rows that are being brought up to date, for everybody who waits for them. */
  readonly #following = new Map<Address, Promise<WalletRow>>();
  /** Rotations under way, as what ends with them. */
  readonly #rotating = new Map<Address, Promise<void>>();

  constructor(deps: WalletKeysDeps) {
    this.#deps = deps;
  }

  /**
   * Asks with the row, and where other blobs count by now with the row as it then is.
   * @throws what `ask` throws; QvError wallet_keys_replaced where the enclave does not say which count, row_tampered,
   * store_*, enclave_*
   */
  async ask<T>(row: WalletRow, ask: (row: WalletRow) => Promise<T>): Promise<T> {
    let current = row;
    for (let round = 1; ; round++) {
      try {
        return await ask(current);
      } catch (error) {
        if (codeOf(error) !== 'wallet_keys_replaced' || round === ROUNDS) throw error;
        current = await this.#follow(current.wallet, current);
      }
    }
  }

  /**
   * Puts a wallet under a fresh execution key and salt.
   * @throws QvError wallet_unknown, wallet_retired, wallet_held_elsewhere, policy_not_current, overloaded, row_tampered,
   * store_*, enclave_*, kms_*, key_blob_invalid, state_*
   */
  async rotate(wallet: Address, options: RotateOptions = {}): Promise<Rotated> {
    const { store, session, records } = this.#deps;
    records.requireRoom();
    const row = await verifiedRow(store, session, wallet);
    const rotating = this.ask(row, (current) => this.#rotate(current, options));
    const end = rotating.then(
      () => undefined,
      () => undefined,
    );
    this.#rotating.set(wallet, end);
    try {
      return await rotating;
    } finally {
      if (this.#rotating.get(wallet) === end) this.#rotating.delete(wallet);
    }
  }

  /**
   * Resolves when the wallet is not being rotated, at once mostly. Who enables a policy waits for it: the enclave MACs the
   * one that counts with the new key, and would have to begin anew for each that comes while it asks KMS.
   */
  async afterRotation(wallet: Address): Promise<void> {
    await this.#rotating.get(wallet);
  }

  async #rotate(row: WalletRow, { before, withoutSecond }: RotateOptions): Promise<Rotated> {
    const { store, session } = this.#deps;
    const until = performance.now() + POLICY_MILLISECONDS;
    let current = row;
    for (;;) {
      requireLive(current);
      const at = keysMadeAt(current);
      // Also one whose answer was lost, and that was told again just now.
      const stays = (before !== undefined && at >= before) || (withoutSecond === true && current.second !== undefined);
      if (stays) return { rotated: false, at };
      try {
        return { rotated: true, at: await this.#rewrap(current) };
      } catch (error) {
        if (codeOf(error) !== 'policy_not_current' || performance.now() > until) throw error;
        // Enabled meanwhile: what the enclave decided may not be stored yet.
        await sleep(PAUSE_MILLISECONDS);
        current = await verifiedRow(store, session, row.wallet);
      }
    }
  }

  /** When the enclave did it. It is written before this resolves. */
  async #rewrap(row: WalletRow): Promise<TimeMs> {
    const { enclave, records, log } = this.#deps;
    const { wallet, owner, policy } = row;
    const request = { wallet, owner, blobs: blobsOf(row), ...(policy && { policy }) };
    const reply = await enclave.request('walletRewrap', request, {
      timeoutMilliseconds: LIMITS.walletRewrapMilliseconds,
      onLate: (late) => {
        if (late instanceof Error) return;
        records
          .moved({ row, ...late, receipts: [late.receipt] })
          .catch((error) => log.error({ wallet, code: codeOf(error) }, 'new keys of a wallet are not stored yet'));
      },
    });
    const { rewrapped, state, receipt } = reply;
    await records.moved({ row, state, rewrapped, receipts: [receipt] });
    log.info({ wallet, version: String(state.version) }, 'a wallet has a fresh key and salt');
    return rewrapped.at;
  }

  /** The row with the blobs that count, as far as anybody knows them. */
  #follow(wallet: Address, stale: WalletRow): Promise<WalletRow> {
    const known = this.#following.get(wallet);
    if (known !== undefined) return known;
    const following = this.#bringUpToDate(wallet, stale).finally(() => this.#following.delete(wallet));
    this.#following.set(wallet, following);
    return following;
  }

  async #bringUpToDate(wallet: Address, stale: WalletRow): Promise<WalletRow> {
    const { store, session, enclave, records } = this.#deps;
    const row = await verifiedRow(store, session, wallet);
    if (!sameKeys(row, stale)) return row;
    const newest = await enclave.request('stateGet', { wallet });
    if (newest.rewrapped === undefined) throw new QvError('wallet_keys_replaced', { path: 'wallet' });
    await records.state(wallet, newest);
    return await verifiedRow(store, session, wallet);
  }
}
