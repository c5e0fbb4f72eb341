/**
 * The recipient key and the attestation document that names it, always together, always fresh: KMS refuses documents
 * older than five minutes and the key is replaced with each document (design 4). One is kept ready, so that a request
 * does not wait for the module or for RSA.
 */
import { LIMITS } from '@quantumvault/shared/limits.ts';
import type { Attester } from './attester.ts';
import type { RecipientKey, Vault } from './vault.ts';

export interface AttestedRecipient {
  readonly recipient: RecipientKey;
  /** Raw COSE_Sign1. */
  readonly document: Uint8Array;
  readonly bornAtMs: number;
  /** Set when an envelope for it did not open; nothing is opened with it any more. */
  burnt: boolean;
  /** Calls under way that named it. */
  users: number;
}

export class Recipients {
  readonly #vault: Vault;
  readonly #attester: Attester;
  readonly #monotonicMs: () => number;
  #current: AttestedRecipient | undefined;
  #making: Promise<AttestedRecipient> | undefined;

  constructor(vault: Vault, attester: Attester, monotonicMs: () => number) {
    this.#vault = vault;
    this.#attester = attester;
    this.#monotonicMs = monotonicMs;
  }

  /** Of the document kept ready; undefined while there is none. */
  get ageSeconds(): number | undefined {
    return this.#current && Math.floor((this.#monotonicMs() - this.#current.bornAtMs) / 1000);
  }

  /**
   * Runs a call with a recipient young enough for it. The pair lasts as long as the call, and not longer than the last
   * one that named it once it is replaced.
   * @throws QvError nsm_failed, overloaded, and whatever `call` throws
   */
  async with<T>(call: (attested: AttestedRecipient) => Promise<T>): Promise<T> {
    // Counted in the turn in which it is found: nothing can replace and drop it in between.
    const attested = this.#young() ?? (await this.replace());
    attested.users++;
    try {
      return await call(attested);
    } finally {
      attested.users--;
      this.#dropUnused(attested);
    }
  }

  #young(): AttestedRecipient | undefined {
    const current = this.#current;
    const age = current === undefined ? Number.POSITIVE_INFINITY : this.#monotonicMs() - current.bornAtMs;
    return age < LIMITS.recipientKeyMaxAgeSeconds * 1000 ? current : undefined;
  }

  /** Makes the next pair. Calls under way may finish with the old one; nothing new is asked for it. */
  replace(): Promise<AttestedRecipient> {
    this.#making ??= this.#make().finally(() => {
      this.#making = undefined;
    });
    return this.#making;
  }

  /**
   * Ends a pair whose envelope did not open, also for the calls under way. The envelope has no MAC: one failure per
   * key leaves nothing to a padding oracle.
   */
  burn(used: AttestedRecipient): void {
    used.burnt = true;
    used.recipient.drop();
    if (this.#current === used) this.#current = undefined;
  }

  async #make(): Promise<AttestedRecipient> {
    const recipient = await this.#vault.newRecipient();
    const bornAtMs = this.#monotonicMs();
    const previous = this.#current;
    try {
      const document = await this.#attester.own(recipient.spki);
      this.#current = { recipient, document, bornAtMs, burnt: false, users: 0 };
    } catch (error) {
      recipient.drop();
      throw error;
    }
    if (previous !== undefined) this.#dropUnused(previous);
    return this.#current;
  }

  #dropUnused(attested: AttestedRecipient): void {
    if (attested !== this.#current && attested.users === 0) attested.recipient.drop();
  }
}
