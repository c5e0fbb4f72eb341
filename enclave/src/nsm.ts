/**
 * The Nitro Secure Module: its requests and responses (aws-nitro-enclaves-nsm-api), over a device that arrives as an
 * argument, so that the same code talks to /dev/nsm and to a simulation that no image contains.
 *
 * The driver serves one request at a time. There is one queue before it: trusted time and KMS documents go first,
 * documents that strangers ask for come after them and are bounded (design 8).
 */
import {
  type Place,
  readBytes,
  readMapHead,
  readText,
  requireEnd,
  skipBreak,
  skipIndefiniteMapStart,
} from '@quantumvault/shared/attestation/cbor.ts';
import { type CborValue, encodeCbor } from '@quantumvault/shared/cbor.ts';
import { QvError } from '@quantumvault/shared/errors.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';

/** One request in CBOR to one response in CBOR: the ioctl of /dev/nsm, or a simulation. */
export interface NsmDevice {
  request(request: Uint8Array): Promise<Uint8Array>;
}

export interface AttestationFields {
  readonly publicKey?: Uint8Array;
  readonly userData?: Uint8Array;
  readonly nonce?: Uint8Array;
}

export type Urgency = 'own' | 'public';

/** What the module answered, and when it was asked and had answered, by the monotonic clock. */
interface Answered {
  readonly response: Uint8Array;
  readonly askedAtMs: number;
  readonly receivedAtMs: number;
}

export interface Attested {
  /** Raw COSE_Sign1. */
  readonly document: Uint8Array;
  readonly askedAtMs: number;
  readonly receivedAtMs: number;
}

interface Job {
  readonly request: Uint8Array;
  readonly resolve: (answered: Answered) => void;
  readonly reject: (error: unknown) => void;
}

const PLACE: Place = { code: 'nsm_failed', path: 'response' };
const RESPONSE_BYTES = 0x3000;
const RANDOM_BYTES = 256;

export class Nsm {
  readonly #device: NsmDevice;
  readonly #monotonicMs: () => number;
  readonly #queues: Record<Urgency, Job[]> = { own: [], public: [] };
  #busy = false;

  constructor(device: NsmDevice, monotonicMs: () => number) {
    this.#device = device;
    this.#monotonicMs = monotonicMs;
  }

  /** An attestation document. @throws QvError nsm_failed, overloaded */
  async attest(fields: AttestationFields, urgency: Urgency): Promise<Attested> {
    const inner: CborValue = new Map<string, CborValue>([
      ['user_data', fields.userData ?? null],
      ['nonce', fields.nonce ?? null],
      ['public_key', fields.publicKey ?? null],
    ]);
    const { response, ...times } = await this.#ask(encodeCbor(new Map([['Attestation', inner]])), urgency);
    return { document: readField(response, 'Attestation', 'document', LIMITS.attestationDocumentBytes), ...times };
  }

  /** Random bytes of the module, as many as it gives: 1 to 256. @throws QvError nsm_failed */
  async random(): Promise<Uint8Array> {
    const { response } = await this.#ask(encodeCbor('GetRandom'), 'own');
    return readField(response, 'GetRandom', 'random', RANDOM_BYTES);
  }

  #ask(request: Uint8Array, urgency: Urgency): Promise<Answered> {
    const queue = this.#queues[urgency];
    if (queue.length >= LIMITS.nsmQueue) return Promise.reject(new QvError('overloaded', { path: 'nsm' }));
    return new Promise((resolve, reject) => {
      queue.push({ request, resolve, reject });
      void this.#work();
    });
  }

  async #work(): Promise<void> {
    if (this.#busy) return;
    this.#busy = true;
    for (let job = this.#next(); job !== undefined; job = this.#next()) {
      try {
        // The clock starts here, not in the queue: a document is no older than its own asking.
        const askedAtMs = this.#monotonicMs();
        const response = await this.#device.request(job.request);
        const receivedAtMs = this.#monotonicMs();
        if (response.length > RESPONSE_BYTES) throw new QvError('nsm_failed', { path: 'response', value: 'too long' });
        job.resolve({ response, askedAtMs, receivedAtMs });
      } catch (error) {
        job.reject(error instanceof QvError ? error : new QvError('nsm_failed', {}, { cause: error }));
      }
    }
    this.#busy = false;
  }

  #next(): Job | undefined {
    return this.#queues.own.shift() ?? this.#queues.public.shift();
  }
}

interface Inside {
  readonly rest: Uint8Array;
  readonly end: (rest: Uint8Array) => Uint8Array;
}

/** A map of one pair. Its length may be indefinite: AWS changed the encoding of documents that way in 2025. */
function enterMap(bytes: Uint8Array): Inside {
  const indefinite = skipIndefiniteMapStart(bytes);
  if (indefinite === undefined) {
    const { value, rest } = readMapHead(bytes, 1, PLACE);
    if (value !== 1) throw new QvError('nsm_failed', { path: 'response', value: 'empty map' });
    return { rest, end: (after) => after };
  }
  return {
    rest: indefinite,
    end: (after) => {
      const behind = skipBreak(after);
      if (behind === undefined) throw new QvError('nsm_failed', { path: 'response', value: 'map does not end' });
      return behind;
    },
  };
}

/** {name: {key: bytes}}. The module's own errors are {"Error": text}. */
function readField(response: Uint8Array, name: string, key: string, max: number): Uint8Array {
  const outer = enterMap(response);
  const found = readText(outer.rest, 32, PLACE);
  if (found.value === 'Error') {
    throw new QvError('nsm_failed', { path: name, value: readText(found.rest, 64, PLACE).value });
  }
  if (found.value !== name) throw new QvError('nsm_failed', { path: 'response', value: 'another kind' });
  const inner = enterMap(found.rest);
  const label = readText(inner.rest, 32, PLACE);
  if (label.value !== key) throw new QvError('nsm_failed', { path: 'response', value: 'another field' });
  const field = readBytes(label.rest, max, PLACE);
  requireEnd(outer.end(inner.end(field.rest)), PLACE);
  if (field.value.length === 0) throw new QvError('nsm_failed', { path: 'response', value: 'empty' });
  return Uint8Array.from(field.value);
}
