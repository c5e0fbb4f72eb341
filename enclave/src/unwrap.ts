/**
 * Execution keys: one attested Decrypt per use, shared by the requests of the same wallet that arrive while it is under
 * way, or one per time to live where the measured configuration has one (design 4, kept-keys.ts). The keys of a wallet
 * exist for the length of one synchronous call and are wiped at its end.
 */
import type { Address } from '@quantumvault/shared/brands.ts';
import { concatBytes, toHex } from '@quantumvault/shared/bytes.ts';
import { codeOf, type ErrorCode } from '@quantumvault/shared/errors.ts';
import { sha256 } from '@quantumvault/shared/sha256.ts';
import type { KeptKeys } from './kept-keys.ts';
import type { EncryptionContext, Kms } from './kms.ts';
import type { Vault, WalletKeys } from './vault.ts';

export interface KeyBlobs {
  readonly executionKey: Uint8Array;
  readonly salt: Uint8Array;
}

/** The context of a wallet's execution key, from the policy or statement being judged alone (design 4). */
export function executionKeyContext(wallet: Address, owner: Address): EncryptionContext {
  return { 'qv:purpose': 'execution-key', 'qv:wallet': wallet, 'qv:owner': owner, 'qv:v': '1' };
}

const OTHER_KEY: readonly ErrorCode[] = ['wallet_keys_mismatch', 'sealed_seed_invalid'];

type Use = { readonly run: (keys: WalletKeys) => void; readonly fail: (error: unknown) => void };

export class Unwrapper {
  readonly #vault: Vault;
  readonly #kms: Kms;
  readonly #kept: KeptKeys;
  readonly #onFailure: (wallet: Address, code: ErrorCode) => void;
  readonly #underWay = new Map<string, Use[]>();

  /** @param onFailure puts on record that a wallet's key was not to be had */
  constructor(
    vault: Vault,
    kms: Kms,
    kept: KeptKeys,
    onFailure: (wallet: Address, code: ErrorCode) => void = () => undefined,
  ) {
    this.#vault = vault;
    this.#kms = kms;
    this.#kept = kept;
    this.#onFailure = onFailure;
  }

  /** Runs `use` with the wallet's keys. @throws QvError kms_*, key_blob_invalid, and whatever `use` throws */
  withKeys<T>(wallet: Address, owner: Address, blobs: KeyBlobs, use: (keys: WalletKeys) => T): Promise<T> {
    return new Promise((resolve, reject) => {
      const job: Use = {
        run: (keys) => {
          try {
            resolve(use(keys));
          } catch (error) {
            // A key came, and nothing of the row opens with it.
            if (OTHER_KEY.includes(codeOf(error))) {
              this.#kept.forget(wallet);
              this.#onFailure(wallet, codeOf(error));
            }
            reject(error);
          }
        },
        fail: reject,
      };
      const key = `${wallet} ${owner} ${toHex(sha256(concatBytes(blobs.salt, blobs.executionKey)))}`;
      const kept = this.#kept.find(wallet, key);
      if (kept !== undefined) {
        this.#vault.withKeptKeys(kept, blobs.salt, job.run);
        return;
      }
      const jobs = this.#underWay.get(key);
      if (jobs !== undefined) {
        jobs.push(job);
        return;
      }
      this.#underWay.set(key, [job]);
      void this.#unwrap(key, wallet, executionKeyContext(wallet, owner), blobs);
    });
  }

  async #unwrap(key: string, wallet: Address, context: EncryptionContext, blobs: KeyBlobs): Promise<void> {
    const take = (): Use[] => {
      const jobs = this.#underWay.get(key) ?? [];
      this.#underWay.delete(key);
      return jobs;
    };
    const mayKeep = this.#kept.asOfNow();
    try {
      await this.#kms.decrypt(blobs.executionKey, context, (recipient, envelope) => {
        const run = (keys: WalletKeys): void => {
          for (const job of take()) job.run(keys);
        };
        this.#kept.keep(wallet, key, mayKeep, (slot) =>
          this.#vault.withWalletKeys(recipient, envelope, blobs.salt, run, slot),
        );
      });
    } catch (error) {
      this.#onFailure(wallet, codeOf(error));
      for (const job of take()) job.fail(error);
    }
  }
}
