/**
 * KMS as the vault process sees it: through the kms-agent, every answer checked (design 4). The full key ARN is
 * measured and compared with the one answered; a plaintext in an answer is a failure.
 *
 * Where several keys are measured, what one of them does not open is tried with the next: when KMS does not answer for
 * it, refuses the call, or says that the blob is not of this key. An answer that is wrong ends the attempt: a key that
 * gives wrong answers is not passed over in silence.
 */
import { toHex } from '@quantumvault/shared/bytes.ts';
import { codeOf, type ErrorCode, QvError } from '@quantumvault/shared/errors.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import type { CredentialBytes, KmsKeyState } from '@quantumvault/shared/protocol/message-parts.ts';
import { sha256 } from '@quantumvault/shared/sha256.ts';
import { AgentLink, type StartAgent } from './agent-link.ts';
import { type Envelope, parseEnvelope } from './cms.ts';
import type { KmsAnswer } from './kms-agent/protocol.ts';
import type { KmsConfig, KmsKey } from './kms-config.ts';
import { KmsOrder } from './kms-order.ts';
import type { AttestedRecipient, Recipients } from './recipient.ts';
import type { RecipientKey } from './vault.ts';

/** Opens an envelope with the recipient it was made for, in one synchronous call. */
type Open<T> = (recipient: RecipientKey, envelope: Envelope) => T;

/** An answer without a fault. */
interface Checked {
  readonly envelope: Envelope;
  readonly ciphertext: Uint8Array | undefined;
}

/** A new data key: to be opened now, and to be kept. */
export interface DataKey {
  readonly envelope: Envelope;
  readonly ciphertext: Uint8Array;
}

/** What else opens to the same, under the second key. */
export interface SecondBlob<T> {
  readonly ciphertext: Uint8Array;
  readonly context: EncryptionContext;
  readonly open: Open<T>;
}

export type EncryptionContext = Readonly<Record<string, string>>;

/** One blob with one key that may open it. */
interface Attempt<T> {
  readonly keyArn: string;
  readonly ciphertext: Uint8Array;
  readonly context: EncryptionContext;
  readonly open: Open<T>;
}

/** After these the next key is tried, and of several of them the first one here is what callers hear of. */
const NEXT: readonly ErrorCode[] = ['kms_unavailable', 'kms_refused', 'key_blob_invalid'];

export class Kms {
  readonly #config: Pick<KmsConfig, 'keyArn' | 'keys'>;
  readonly #second: KmsKey | undefined;
  readonly #order: KmsOrder;
  readonly #monotonicMs: () => number;
  readonly #recipients: Recipients;
  readonly #link: AgentLink;
  #calls = 0n;
  #failures = 0n;

  constructor(
    config: Pick<KmsConfig, 'keyArn' | 'keys'>,
    recipients: Recipients,
    start: StartAgent,
    monotonicMs: () => number,
  ) {
    this.#config = config;
    this.#second = config.keys.find(({ use }) => use === 'second');
    this.#order = new KmsOrder(config.keys, monotonicMs);
    this.#monotonicMs = monotonicMs;
    this.#recipients = recipients;
    this.#link = new AgentLink(start);
  }

  get hasCredentials(): boolean {
    return this.#link.hasCredentials;
  }

  /** Calls of KMS, those under way too, and how many of them ended without a usable answer. */
  get calls(): bigint {
    return this.#calls;
  }

  get failures(): bigint {
    return this.#failures;
  }

  /** The same by key, in the order in which they are measured. */
  get keys(): readonly KmsKeyState[] {
    return this.#order.counts;
  }

  /** Hands the instance role's credentials over, now and to each agent started later. */
  setCredentials(credentials: CredentialBytes): Promise<void> {
    return this.#link.setCredentials(credentials);
  }

  /** A new data key for `context`, under the current key. @throws QvError kms_*, and whatever `open` throws */
  generateDataKey<T>(context: EncryptionContext, open: (recipient: RecipientKey, made: DataKey) => T): Promise<T> {
    return this.#recipients.with(async (attested) => {
      const made = await this.#dataKey(this.#config.keyArn, context, attested);
      return this.#opening(attested, () => open(attested.recipient, made));
    });
  }

  /** Whether there is a second key, under which everything new is sealed, too. */
  get hasSecond(): boolean {
    return this.#second !== undefined;
  }

  /**
   * A new data key under the current key, and one under the second. None is opened before both are there, so that no key
   * waits in the clear.
   * @throws QvError kms_*, with the path kms.second when that one is not to be had; and whatever `open` throws
   */
  generateTwo<T>(
    first: EncryptionContext,
    second: EncryptionContext,
    open: (recipient: RecipientKey, first: DataKey, second: DataKey) => T,
  ): Promise<T> {
    const { keyArn } = this.#config;
    const secondArn = this.#second?.keyArn;
    if (secondArn === undefined) throw new Error('no second key is measured');
    return this.#recipients.with(async (attested) => {
      const made = await Promise.all([
        this.#dataKey(keyArn, first, attested),
        this.#dataKey(secondArn, second, attested).catch((error: unknown) => {
          throw new QvError(codeOf(error), { path: 'kms.second' }, { cause: error });
        }),
      ]);
      return this.#opening(attested, () => open(attested.recipient, ...made));
    });
  }

  async #dataKey(keyArn: string, context: EncryptionContext, attested: AttestedRecipient): Promise<DataKey> {
    const call = callOf(keyArn, context, attested);
    const { envelope, ciphertext } = await this.#checked(keyArn, this.#link.ask('generateDataKey', call));
    if (ciphertext === undefined) throw invalid('CiphertextBlob');
    return { envelope, ciphertext };
  }

  /**
   * Opens with the current key, one of its replicas, or one that is being replaced; or else `second`, which opens to the
   * same, with the second key or one of those.
   * @throws QvError kms_*, key_blob_invalid when KMS does not know this blob in this context, and whatever `open` throws
   */
  decrypt<T>(ciphertext: Uint8Array, context: EncryptionContext, open: Open<T>, second?: SecondBlob<T>): Promise<T> {
    const { keys } = this.#config;
    const first = keys.filter(({ use }) => use !== 'second');
    // What was the second key when it was sealed may be the current one by now, or one of those before.
    const ofSecond = second === undefined ? [] : [...keys.filter(({ use }) => use === 'second'), ...first];
    const attempts: Attempt<T>[] = [
      ...first.map(({ keyArn }) => ({ keyArn, ciphertext, context, open })),
      ...ofSecond.map(({ keyArn }) => ({ keyArn, ...(second as SecondBlob<T>) })),
    ];
    return this.#decryptWithAny(attempts, toHex(sha256(ciphertext)));
  }

  /** One after the other; what is left of the time is shared among those that are left. */
  async #decryptWithAny<T>(attempts: readonly Attempt<T>[], blob: string): Promise<T> {
    const sorted = this.#order.sorted(attempts, blob);
    const endMs = this.#monotonicMs() + LIMITS.kmsTotalMilliseconds;
    const faults: unknown[] = [];
    const ofOthers: Attempt<T>[] = [];
    const silent = new Set<string>();
    for (const [index, attempt] of sorted.entries()) {
      // Related multi-Region keys open the same blobs; and nobody waits twice for a key that does not answer.
      if (ofOthers.some((other) => isSameKeyAndBlob(other, attempt)) || silent.has(attempt.keyArn)) continue;
      const leftMs = endMs - this.#monotonicMs();
      // The first one is asked in any case.
      if (index > 0 && leftMs <= 0) break;
      try {
        const opened = await this.#decryptWith(attempt, leftMs / (sorted.length - index));
        this.#order.opened(blob, attempts.indexOf(attempt));
        return opened;
      } catch (error) {
        if (!NEXT.includes(codeOf(error))) throw error;
        if (codeOf(error) === 'key_blob_invalid') ofOthers.push(attempt);
        if (codeOf(error) === 'kms_unavailable') silent.add(attempt.keyArn);
        faults.push(error);
      }
    }
    throw NEXT.map((code) => faults.find((fault) => codeOf(fault) === code)).find((fault) => fault !== undefined);
  }

  #decryptWith<T>({ keyArn, ciphertext, context, open }: Attempt<T>, limitMs: number): Promise<T> {
    return this.#recipients.with(async (attested) => {
      const call = { ...callOf(keyArn, context, attested), ciphertext };
      const { envelope } = await this.#checked(keyArn, this.#link.ask('decrypt', call, limitMs));
      return this.#opening(attested, () => open(attested.recipient, envelope));
    });
  }

  /** After a failure to open an envelope its recipient key is tried on no other. */
  #opening<T>(attested: AttestedRecipient, open: () => T): T {
    if (attested.burnt) throw new QvError('kms_unavailable', { value: 'recipient key replaced' });
    try {
      return open();
    } catch (error) {
      if (codeOf(error) === 'kms_response_invalid') this.#recipients.burn(attested);
      throw error;
    }
  }

  /** Checks an answer, and counts what became of the call. */
  async #checked(keyArn: string, asked: Promise<KmsAnswer>): Promise<Checked> {
    this.#calls++;
    this.#order.asking(keyArn);
    try {
      const checked = check(await asked, keyArn);
      this.#order.answered(keyArn);
      return checked;
    } catch (error) {
      const code = codeOf(error);
      // With several keys a blob is one of another key every so often, and KMS has answered.
      if (code === 'key_blob_invalid' && this.#config.keys.length > 1) {
        this.#order.answered(keyArn);
      } else {
        this.#failures++;
        this.#order.failed(keyArn, code === 'kms_unavailable');
      }
      throw error;
    }
  }
}

function callOf(keyArn: string, context: EncryptionContext, { document }: AttestedRecipient) {
  const pairs = Object.entries(context).map(([name, value]) => ({ name, value }));
  return { keyArn, context: pairs, document };
}

const keyIdOf = (keyArn: string): string => keyArn.slice(keyArn.lastIndexOf('/') + 1);

function isSameKeyAndBlob<T>(one: Attempt<T>, other: Attempt<T>): boolean {
  return one.ciphertext === other.ciphertext && keyIdOf(one.keyArn) === keyIdOf(other.keyArn);
}

/** @throws QvError kms_response_invalid */
function check(answer: KmsAnswer, keyArn: string): Checked {
  if (answer.plaintext) throw invalid('Plaintext');
  if (answer.keyArn !== keyArn) throw invalid('KeyId');
  if (answer.envelope === undefined) throw invalid('CiphertextForRecipient');
  return { envelope: parseEnvelope(answer.envelope), ciphertext: answer.ciphertext };
}

const invalid = (path: string): QvError => new QvError('kms_response_invalid', { path });
