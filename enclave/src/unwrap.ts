/**
 * Execution keys: one attested Decrypt per use, shared by the requests of the same wallet that arrive while it is under
 * way, or one per time to live where the measured configuration has one (design 4, kept-keys.ts). The keys of a wallet
 * exist for the length of one synchronous call and are wiped at its end.
 */
import type { Address } from '@quantumvault/shared/brands.ts';
import { concatBytes, toHex } from '@quantumvault/shared/bytes.ts';
import { codeOf, type ErrorCode } from '@quantumvault/shared/errors.ts';
import type { WalletKeyBlobs } from '@quantumvault/shared/protocol/message-parts.ts';
import { sha256 } from '@quantumvault/shared/sha256.ts';
import type { Envelope } from './cms.ts';
import type { KeptKeys } from './kept-keys.ts';
import type { EncryptionContext, Kms } from './kms.ts';
import { executionKeyAssociated } from './state.ts';
import type { RecipientKey, UnwrapOptions, Vault, WalletKeys } from './vault.ts';

export type KeyBlobs = Pick<WalletKeyBlobs, 'executionKey' | 'salt' | 'second'>;

/** The context of a wallet's execution key, from the policy or statement being judged alone (design 4). */
export function executionKeyContext(wallet: Address, owner: Address): EncryptionContext {
  return { 'qv:purpose': 'execution-key', 'qv:wallet': wallet, 'qv:owner': owner, 'qv:v': '1' };
}

/** Of the data key that it is sealed under for the second KMS key. */
export function secondKeyContext(wallet: Address, owner: Address): EncryptionContext {
  return { ...executionKeyContext(wallet, owner), 'qv:purpose': 'execution-key-second' };
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
      const key = `${wallet} ${owner} ${nameOf(blobs)}`;
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
      void this.#unwrap(key, wallet, owner, blobs);
    });
  }

  async #unwrap(key: string, wallet: Address, owner: Address, blobs: KeyBlobs): Promise<void> {
    const take = (): Use[] => {
      const jobs = this.#underWay.get(key) ?? [];
      this.#underWay.delete(key);
      return jobs;
    };
    const mayKeep = this.#kept.asOfNow();
    const run = (keys: WalletKeys): void => {
      for (const job of take()) job.run(keys);
    };
    const open = (recipient: RecipientKey, envelope: Envelope, sealed?: UnwrapOptions['sealed']): void =>
      this.#kept.keep(wallet, key, mayKeep, (keepIn) =>
        this.#vault.withWalletKeys(recipient, envelope, blobs.salt, run, { keepIn, sealed }),
      );
    const { second } = blobs;
    const associated = executionKeyAssociated(wallet, owner);
    try {
      await this.#kms.decrypt(
        blobs.executionKey,
        executionKeyContext(wallet, owner),
        (recipient, envelope) => open(recipient, envelope),
        second && {
          ciphertext: second.ciphertext,
          context: secondKeyContext(wallet, owner),
          open: (recipient, envelope) => open(recipient, envelope, { sealed: second.sealed, associated }),
        },
      );
    } catch (error) {
      this.#onFailure(wallet, codeOf(error));
      for (const job of take()) job.fail(error);
    }
  }
}

/** Of all that is asked of KMS. Its parts have one length each, so that no two sets of blobs have one name. */
function nameOf({ salt, executionKey, second }: KeyBlobs): string {
  const parts = [salt, sha256(executionKey), ...(second ? [sha256(second.ciphertext), second.sealed] : [])];
  return toHex(sha256(concatBytes(...parts)));
}
