/**
 * The recipient key and the attestation document that names it, always together, always fresh: KMS refuses documents
 * older than five minutes and the key is replaced with each document (design 4). One is kept ready, so that a request
 * does not wait for the module or for RSA.
 */
import { LIMITS } from '@quantumvault/shared/limits.ts';
import type { Attester } from './attester.ts';
import type { Recipient, Vault } from './vault.ts';

export interface AttestedRecipient {
  readonly recipient: Recipient;
  /** Raw COSE_Sign1. */
  readonly document: Uint8Array;
  readonly bornAtMs: number;
  /** Set when an envelope for it did not open; nothing is opened with it any more. */
  burnt: boolean;
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

  /** A recipient young enough for a call of now. @throws QvError nsm_failed, overloaded */
  async current(): Promise<AttestedRecipient> {
    const current = this.#current;
    const age = current === undefined ? Number.POSITIVE_INFINITY : this.#monotonicMs() - current.bornAtMs;
    if (current !== undefined && age < LIMITS.recipientKeyMaxAgeSeconds * 1000) return current;
    return this.replace();
  }

  /** Makes the next pair. Whoever holds the old one may finish with it; nothing new is asked for it. */
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
    if (this.#current === used) this.#current = undefined;
  }

  async #make(): Promise<AttestedRecipient> {
    const recipient = await this.#vault.newRecipient();
    const bornAtMs = this.#monotonicMs();
    const document = await this.#attester.own(recipient.spki);
    this.#current = { recipient, document, bornAtMs, burnt: false };
    return this.#current;
  }
}
