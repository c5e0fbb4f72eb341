/**
 * Execution keys, one attested Decrypt per use, shared by the requests of the same wallet that arrive while it is
 * under way (design 4). The key exists for the length of one synchronous call and is wiped at its end.
 */
import type { Address } from '@quantumvault/shared/brands.ts';
import { concatBytes, toHex } from '@quantumvault/shared/bytes.ts';
import { codeOf, type ErrorCode, QvError } from '@quantumvault/shared/errors.ts';
import { sha256 } from '@quantumvault/shared/sha256.ts';
import type { EncryptionContext, Kms, Unwrapped } from './kms.ts';
import type { Recipients } from './recipient.ts';
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
  readonly #recipients: Recipients;
  readonly #onFailure: (wallet: Address, code: ErrorCode) => void;
  readonly #underWay = new Map<string, Use[]>();

  /** @param onFailure puts on record that a wallet's key was not to be had */
  constructor(
    vault: Vault,
    kms: Kms,
    recipients: Recipients,
    onFailure: (wallet: Address, code: ErrorCode) => void = () => undefined,
  ) {
    this.#vault = vault;
    this.#kms = kms;
    this.#recipients = recipients;
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
            if (OTHER_KEY.includes(codeOf(error))) this.#onFailure(wallet, codeOf(error));
            reject(error);
          }
        },
        fail: reject,
      };
      const key = `${wallet} ${owner} ${toHex(sha256(concatBytes(blobs.salt, blobs.executionKey)))}`;
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
    try {
      const unwrapped = await this.#kms.decrypt(blobs.executionKey, context);
      this.open(unwrapped, blobs.salt, (keys) => {
        for (const job of take()) job.run(keys);
      });
    } catch (error) {
      this.#onFailure(wallet, codeOf(error));
      for (const job of take()) job.fail(error);
    }
  }

  /** Opens an envelope; after a failure its recipient key is tried on no other. */
  open<T>(unwrapped: Unwrapped, salt: Uint8Array, use: (keys: WalletKeys) => T): T {
    const { attested, envelope } = unwrapped;
    if (attested.burnt) throw new QvError('kms_unavailable', { value: 'recipient key replaced' });
    try {
      return this.#vault.withWalletKeys(attested.recipient, envelope, salt, use);
    } catch (error) {
      if (codeOf(error) === 'kms_response_invalid') this.#recipients.burn(attested);
      throw error;
    }
  }
}
