/**
 * KMS as the vault process sees it: through the kms-agent, every answer checked (design 4). The full key ARN is
 * measured and compared with the one answered; a plaintext in an answer is a failure.
 */
import type { Duplex } from 'node:stream';
import { codeOf, QvError } from '@quantumvault/shared/errors.ts';
import { readFrames, writeFrame } from '@quantumvault/shared/frames.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import type { CredentialBytes } from '@quantumvault/shared/protocol/message-parts.ts';
import { type Envelope, parseEnvelope } from './cms.ts';
import {
  type AgentMessageName,
  type AgentReply,
  type AgentRequest,
  decodeAgentReply,
  encodeAgentRequest,
  type KmsAnswer,
} from './kms-agent/protocol.ts';
import type { AttestedRecipient, Recipients } from './recipient.ts';
import type { RecipientKey } from './vault.ts';

/** Opens an envelope with the recipient it was made for, in one synchronous call. `ciphertext` is the key's blob. */
type Open<T> = (recipient: RecipientKey, envelope: Envelope, ciphertext: Uint8Array) => T;

/** An answer without a fault. */
interface Checked {
  readonly envelope: Envelope;
  readonly ciphertext: Uint8Array | undefined;
}

export type EncryptionContext = Readonly<Record<string, string>>;

interface Waiting {
  readonly settle: (read: ReturnType<typeof decodeAgentReply>['read']) => void;
  readonly fail: (error: QvError) => void;
}

/** Starts the agent's process and returns the socket to it, closed when the process ends. */
export type StartAgent = () => Duplex;

/** Pauses between starts of an agent that keeps ending. */
const RESTART_MS = [0, 200, 1_000, 5_000] as const;

export class Kms {
  readonly #keyArn: string;
  readonly #recipients: Recipients;
  readonly #start: StartAgent;
  readonly #waiting = new Map<number, Waiting>();
  #agent: Duplex | undefined;
  #credentials: CredentialBytes | undefined;
  #nextId = 1;
  #restarts = 0;
  #calls = 0n;
  #failures = 0n;

  constructor(keyArn: string, recipients: Recipients, start: StartAgent) {
    this.#keyArn = keyArn;
    this.#recipients = recipients;
    this.#start = start;
    this.#connect();
  }

  get hasCredentials(): boolean {
    return this.#credentials !== undefined;
  }

  /** Calls of KMS, those under way too, and how many of them ended without a usable answer. */
  get calls(): bigint {
    return this.#calls;
  }

  get failures(): bigint {
    return this.#failures;
  }

  /** Hands the instance role's credentials over, now and to each agent started later. */
  async setCredentials(credentials: CredentialBytes): Promise<void> {
    await this.#ask('credentials', credentials);
    this.#credentials = credentials;
  }

  /** A new data key for `context`. @throws QvError kms_*, and whatever `open` throws */
  generateDataKey<T>(context: EncryptionContext, open: Open<T>): Promise<T> {
    return this.#recipients.with(async (attested) => {
      const call = this.#call(context, attested);
      const { envelope, ciphertext } = await this.#counted(() => this.#ask('generateDataKey', call));
      if (ciphertext === undefined) throw invalid('CiphertextBlob');
      return this.#open(attested, envelope, ciphertext, open);
    });
  }

  /**
   * @throws QvError kms_*, key_blob_invalid when KMS does not know this blob in this context, and whatever `open` throws
   */
  decrypt<T>(ciphertext: Uint8Array, context: EncryptionContext, open: Open<T>): Promise<T> {
    return this.#recipients.with(async (attested) => {
      const call = { ...this.#call(context, attested), ciphertext };
      const { envelope } = await this.#counted(() => this.#ask('decrypt', call));
      return this.#open(attested, envelope, ciphertext, open);
    });
  }

  /** After a failure to open an envelope its recipient key is tried on no other. */
  #open<T>(attested: AttestedRecipient, envelope: Envelope, ciphertext: Uint8Array, open: Open<T>): T {
    if (attested.burnt) throw new QvError('kms_unavailable', { value: 'recipient key replaced' });
    try {
      return open(attested.recipient, envelope, ciphertext);
    } catch (error) {
      if (codeOf(error) === 'kms_response_invalid') this.#recipients.burn(attested);
      throw error;
    }
  }

  async #counted(call: () => Promise<KmsAnswer>): Promise<Checked> {
    this.#calls++;
    try {
      return this.#checked(await call());
    } catch (error) {
      this.#failures++;
      throw error;
    }
  }

  #call(context: EncryptionContext, attested: AttestedRecipient) {
    const pairs = Object.entries(context).map(([name, value]) => ({ name, value }));
    return { keyArn: this.#keyArn, context: pairs, document: attested.document };
  }

  #checked(answer: KmsAnswer): Checked {
    if (answer.plaintext) throw invalid('Plaintext');
    if (answer.keyArn !== this.#keyArn) throw invalid('KeyId');
    if (answer.envelope === undefined) throw invalid('CiphertextForRecipient');
    return { envelope: parseEnvelope(answer.envelope), ciphertext: answer.ciphertext };
  }

  #ask<N extends AgentMessageName>(name: N, body: AgentRequest<N>): Promise<AgentReply<N>> {
    const agent = this.#agent;
    if (agent === undefined) return Promise.reject(new QvError('kms_unavailable', { value: 'agent not running' }));
    const id = this.#nextId;
    this.#nextId = id === 0xffff_ffff ? 1 : id + 1;
    return new Promise((resolve, reject) => {
      // The SDK retries inside this time; an agent that hangs altogether is cut off by it.
      const timer = setTimeout(
        () => waiting.fail(new QvError('kms_unavailable', { value: 'no answer in time' })),
        LIMITS.kmsTotalMilliseconds,
      );
      const done = (): void => {
        clearTimeout(timer);
        this.#waiting.delete(id);
      };
      const waiting: Waiting = {
        settle: (read) => {
          done();
          try {
            resolve(read(name));
          } catch (error) {
            reject(error);
          }
        },
        fail: (error) => {
          done();
          reject(error);
        },
      };
      this.#waiting.set(id, waiting);
      writeFrame(agent, encodeAgentRequest(id, name, body));
      // It has not read for long: what is given up on stays in this buffer. The next agent reads.
      if (agent.writableLength > LIMITS.inFlightBytes) agent.destroy();
    });
  }

  #connect(): void {
    const agent = this.#start();
    this.#agent = agent;
    readFrames(agent, (payload) => {
      const { id, read } = decodeAgentReply(payload);
      this.#restarts = 0;
      this.#waiting.get(id)?.settle(read);
    });
    agent.on('error', () => undefined);
    agent.once('close', () => {
      this.#agent = undefined;
      for (const waiting of [...this.#waiting.values()]) waiting.fail(new QvError('kms_unavailable'));
      this.#reconnect();
    });
    const credentials = this.#credentials;
    // A failure shows at the next call; the host hands fresh ones over at its next refresh anyway.
    if (credentials !== undefined) this.#ask('credentials', credentials).catch(() => undefined);
  }

  /** Want of memory or processes passes, and must not end the process that holds the wallets. */
  #reconnect(): void {
    const again = (): void => {
      try {
        this.#connect();
      } catch {
        this.#reconnect();
      }
    };
    setTimeout(again, RESTART_MS[Math.min(this.#restarts++, RESTART_MS.length - 1)]);
  }
}

const invalid = (path: string): QvError => new QvError('kms_response_invalid', { path });
