/**
 * One multiplexed connection to the enclave: frames out, replies back in any order (design 5). What is in flight is
 * bounded in count and bytes, every request has a deadline, and a peer that breaks the protocol is hung up on.
 */
import type { Duplex } from 'node:stream';
import { codeOf, type ErrorCode, type ErrorFacts, QvError } from '@quantumvault/shared/errors.ts';
import type { Receipt } from '@quantumvault/shared/evidence/leaf.ts';
import { readFrames, writeFrame } from '@quantumvault/shared/frames.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import {
  decodeReplyHead,
  encodeRequest,
  isRefusal,
  type MessageName,
  type Refusal,
  type ReplyOf,
  type RequestOf,
} from '@quantumvault/shared/protocol/messages.ts';
import type { Transport, TransportAddress } from '@quantumvault/shared/transport.ts';
import type { Log } from '../log.ts';

/** The enclave said no. A denial brings its receipt. */
export class EnclaveRefusal extends QvError {
  readonly receipt: Receipt | undefined;

  constructor(refusal: Refusal) {
    super(refusal.code, factsOf(refusal));
    this.name = 'EnclaveRefusal';
    this.receipt = refusal.receipt;
  }
}

function factsOf({ path, value }: Refusal): ErrorFacts {
  return { ...(path === undefined ? {} : { path }), ...(value === undefined ? {} : { value }) };
}

export interface EnclaveClientOptions {
  readonly address: TransportAddress;
  readonly transport: Transport;
  readonly log: Log;
  readonly inFlightRequests?: number;
  readonly inFlightReserved?: number;
  readonly inFlightBytes?: number;
  readonly inFlightReservedBytes?: number;
  /** Of requests that name no timeout of their own. */
  readonly timeoutMilliseconds?: number;
  /** Told of every request how it ended for its caller, and after how many seconds. */
  readonly onSettled?: (name: MessageName, code: 'ok' | ErrorCode, seconds: number) => void;
}

export interface RequestOptions<N extends MessageName> {
  /** May use what is kept back from callers' requests. */
  readonly urgent?: boolean;
  readonly timeoutMilliseconds?: number;
  /**
   * Called when the answer comes after the caller was told deadline_exceeded: a decision that was made must still be
   * recorded.
   */
  readonly onLate?: (reply: ReplyOf<N> | EnclaveRefusal) => void;
}

interface Pending {
  /** Reads the reply and settles. @throws QvError when the reply does not parse */
  readonly settle: (read: ReturnType<typeof decodeReplyHead>['read']) => void;
  readonly fail: (code: ErrorCode) => void;
}

export class EnclaveClient {
  readonly #options: EnclaveClientOptions;
  readonly #maxRequests: number;
  readonly #maxBytes: number;
  readonly #reserved: number;
  readonly #reservedBytes: number;
  readonly #timeoutMilliseconds: number;
  readonly #pending = new Map<number, Pending>();
  #stream: Duplex | undefined;
  #reconnect: NodeJS.Timeout | undefined;
  #backoffMilliseconds: number = LIMITS.enclaveReconnectMinMilliseconds;
  #nextId = 0;
  #connections = 0;
  #bytes = 0;
  #closed = false;

  constructor(options: EnclaveClientOptions) {
    this.#options = options;
    this.#maxRequests = options.inFlightRequests ?? LIMITS.inFlightRequests;
    this.#reserved = options.inFlightReserved ?? LIMITS.inFlightReserved;
    this.#maxBytes = options.inFlightBytes ?? LIMITS.inFlightBytes;
    this.#reservedBytes = options.inFlightReservedBytes ?? LIMITS.inFlightReservedBytes;
    this.#timeoutMilliseconds = options.timeoutMilliseconds ?? LIMITS.enclaveRequestTimeoutMilliseconds;
  }

  /** Changes with every new connection; what was said on an older one has to be said again. */
  get connection(): number {
    return this.#connections;
  }

  /** Connects now rather than at the next backoff: a freeze does not wait for one. */
  connect(): void {
    if (this.#closed || this.#stream !== undefined) return;
    clearTimeout(this.#reconnect);
    this.#reconnect = undefined;
    const stream = this.#options.transport.connect(this.#options.address);
    this.#stream = stream;
    this.#connections++;
    // The reason of a lost connection is for the log; those who wait are told by 'close'.
    stream.on('error', (error) => this.#options.log.debug({ reason: error.message }, 'enclave connection'));
    stream.on('end', () => stream.destroy());
    stream.on('close', () => this.#onClose(stream));
    readFrames(stream, (payload) => this.#onFrame(stream, payload));
  }

  /**
   * @throws EnclaveRefusal with the enclave's code; QvError enclave_unavailable, deadline_exceeded, overloaded,
   * frame_malformed or cbor_malformed when the request is larger than a frame
   */
  async request<N extends MessageName>(
    name: N,
    body: RequestOf<N>,
    options: RequestOptions<N> = {},
  ): Promise<ReplyOf<N>> {
    const started = performance.now();
    const settled = (code: 'ok' | ErrorCode): void =>
      this.#options.onSettled?.(name, code, (performance.now() - started) / 1000);
    try {
      const reply = await this.#request(name, body, options);
      settled('ok');
      return reply;
    } catch (error) {
      settled(codeOf(error));
      throw error;
    }
  }

  async #request<N extends MessageName>(name: N, body: RequestOf<N>, options: RequestOptions<N>): Promise<ReplyOf<N>> {
    const stream = this.#stream;
    if (stream === undefined) throw new QvError('enclave_unavailable');
    const id = this.#freeId();
    const payload = encodeRequest(id, name, body);
    const [reserved, reservedBytes] = options.urgent === true ? [0, 0] : [this.#reserved, this.#reservedBytes];
    // Bytes that a stalled peer does not take wait in the stream: they count although their callers may have gone.
    if (
      this.#pending.size >= this.#maxRequests - reserved ||
      Math.max(this.#bytes, stream.writableLength) + payload.length > this.#maxBytes - reservedBytes
    ) {
      throw new QvError('overloaded');
    }
    const answer = this.#expect(id, payload.length, name, options);
    writeFrame(stream, payload);
    return answer;
  }

  #expect<N extends MessageName>(id: number, bytes: number, name: N, options: RequestOptions<N>): Promise<ReplyOf<N>> {
    const { promise, resolve, reject } = Promise.withResolvers<ReplyOf<N>>();
    let late = false;
    const timer = setTimeout(() => {
      late = true;
      reject(new QvError('deadline_exceeded'));
      this.#hangUpIfStalled();
    }, options.timeoutMilliseconds ?? this.#timeoutMilliseconds);
    const forget = (): void => {
      clearTimeout(timer);
      this.#pending.delete(id);
      this.#bytes -= bytes;
    };
    this.#bytes += bytes;
    this.#pending.set(id, {
      settle: (read) => {
        let reply: ReturnType<typeof read<N>>;
        try {
          reply = read(name);
        } catch (error) {
          // The frame was understood, its body was not: that is this request's trouble and nobody else's.
          this.#options.log.error({ name, reason: String(error) }, 'a reply of the enclave has a malformed body');
          forget();
          reject(new QvError('internal', {}, { cause: error }));
          return;
        }
        forget();
        const refused = isRefusal(reply) ? new EnclaveRefusal(reply) : undefined;
        if (late) options.onLate?.(refused ?? (reply as ReplyOf<N>));
        else if (refused !== undefined) reject(refused);
        else resolve(reply as ReplyOf<N>);
      },
      fail: (code) => {
        forget();
        reject(new QvError(code));
      },
    });
    return promise;
  }

  /** Requests past their deadline stay counted until answered. When these fill the room, the peer is stuck. */
  #hangUpIfStalled(): void {
    if (this.#pending.size >= this.#maxRequests - this.#reserved) this.#stream?.destroy();
  }

  /** Hangs up; what is in flight fails with enclave_unavailable, and a new connection follows. */
  drop(): void {
    this.#stream?.destroy();
  }

  #freeId(): number {
    do this.#nextId = (this.#nextId + 1) % 0x1_0000_0000;
    while (this.#pending.has(this.#nextId));
    return this.#nextId;
  }

  #onFrame(stream: Duplex, payload: Uint8Array): void {
    if (stream !== this.#stream) return;
    try {
      const { id, read } = decodeReplyHead(payload);
      const pending = this.#pending.get(id);
      // An answer to nothing that was asked: we no longer know what this peer is talking about.
      if (pending === undefined) throw new QvError('message_malformed', { path: 'id', value: 'not in flight' });
      pending.settle(read);
      this.#backoffMilliseconds = LIMITS.enclaveReconnectMinMilliseconds;
    } catch (error) {
      this.#options.log.warn({ reason: String(error) }, 'enclave reply is malformed');
      stream.destroy();
    }
  }

  #onClose(stream: Duplex): void {
    if (stream !== this.#stream) return;
    this.#stream = undefined;
    for (const pending of [...this.#pending.values()]) pending.fail('enclave_unavailable');
    if (this.#closed) return;
    this.#reconnect = setTimeout(() => this.connect(), this.#backoffMilliseconds);
    this.#backoffMilliseconds = Math.min(this.#backoffMilliseconds * 2, LIMITS.enclaveReconnectMaxMilliseconds);
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#reconnect);
    this.#stream?.destroy();
  }
}
