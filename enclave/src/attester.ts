/** Attestation documents of this boot. Every one binds the boot key and the configuration, and samples trusted time. */
import { decodeAttestationDocument } from '@quantumvault/shared/attestation/document.ts';
import { type BootId, bootIdOf } from '@quantumvault/shared/brands.ts';
import { QvError } from '@quantumvault/shared/errors.ts';
import { type UserData, userDataCodec } from '@quantumvault/shared/evidence/user-data.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { encodeAs } from '@quantumvault/shared/protocol/wire.ts';
import type { EnclaveConfig } from './config.ts';
import type { Nsm, Urgency } from './nsm.ts';
import type { TrustedTime } from './time.ts';
import type { Vault } from './vault.ts';
import { VERSION } from './version.ts';

/** The public halves of keys that were born in this boot. */
export type BootKeys = Pick<Vault, 'bootPublicKey' | 'importPublicKey'>;

export class Attester {
  readonly boot: BootId;
  readonly #nsm: Nsm;
  readonly #time: TrustedTime;
  readonly #monotonicMs: () => number;
  readonly #userData: Uint8Array;
  /** Times of the last public documents: strangers get a bounded share of the module. */
  #publicTimesMs: number[] = [];

  constructor(nsm: Nsm, time: TrustedTime, monotonicMs: () => number, config: EnclaveConfig, keys: BootKeys) {
    this.#nsm = nsm;
    this.#time = time;
    this.#monotonicMs = monotonicMs;
    this.boot = bootIdOf(keys.bootPublicKey);
    const userData: UserData = {
      bootKey: this.boot,
      importKey: keys.importPublicKey,
      configHash: config.hash,
      logOrigin: config.logOrigin,
      version: VERSION,
    };
    this.#userData = encodeAs(userDataCodec, userData);
    // AWS documents 512 bytes in one place and 1024 in another: stay below the smaller.
    if (this.#userData.length > 512) throw new Error('user_data is too long');
  }

  /** For KMS, naming the recipient key; without one, a sample of time. @throws QvError nsm_failed */
  own(publicKey?: Uint8Array): Promise<Uint8Array> {
    return this.#document(publicKey === undefined ? {} : { publicKey }, 'own');
  }

  /** For whoever asks, over his nonce. @throws QvError nsm_failed, overloaded */
  async forNonce(nonce: Uint8Array): Promise<Uint8Array> {
    const nowMs = this.#monotonicMs();
    this.#publicTimesMs = this.#publicTimesMs.filter((at) => nowMs - at < 1000);
    if (this.#publicTimesMs.length >= LIMITS.publicAttestationsPerSecond) throw overloaded();
    this.#publicTimesMs.push(nowMs);
    return this.#document({ nonce }, 'public');
  }

  async #document(fields: { publicKey?: Uint8Array; nonce?: Uint8Array }, urgency: Urgency): Promise<Uint8Array> {
    const { document, askedAtMs, receivedAtMs } = await this.#nsm.attest(
      { ...fields, userData: this.#userData },
      urgency,
    );
    this.#time.take(decodeAttestationDocument(document).timestampMs, askedAtMs, receivedAtMs);
    return document;
  }
}

const overloaded = () => new QvError('overloaded', { path: 'publicAttestationsPerSecond' });
