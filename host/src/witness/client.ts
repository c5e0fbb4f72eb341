/**
 * The log's side of C2SP tlog-witness: has one witness cosign checkpoints, tells it of logs it does not know yet, and
 * believes nothing it says that its key has not signed.
 */

import type { Hash } from '@quantumvault/shared/brands.ts';
import { QvError } from '@quantumvault/shared/errors.ts';
import type { Receipt } from '@quantumvault/shared/evidence/leaf.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { type NoteSignature, parseNote, parseSignatureLines, verifyNote } from '@quantumvault/shared/tlog/note.ts';
import type { VerifierKey } from '@quantumvault/shared/tlog/verifier-key.ts';
import { formatAddCheckpoint, parseSize, SIZE_TYPE } from '@quantumvault/shared/tlog/witness-request.ts';
import { verifyEd25519 } from '../ed25519.ts';
import { receiptJson } from '../wire-json.ts';
import { type Reply, WitnessConnection } from './connection.ts';

export interface WitnessEndpoint {
  /** The submission prefix: `add-checkpoint` goes below it. */
  readonly url: URL;
  /** Of type `cosignature`. */
  readonly key: VerifierKey;
}

export interface CosignRequest {
  /** The checkpoint, signed by the log. */
  readonly note: Uint8Array;
  readonly origin: string;
  readonly size: bigint;
  /** Consistency proof from an older size to `size`; never asked for size 0 or `size` itself, whose proofs are empty. */
  readonly prove: (oldSize: bigint) => Promise<readonly Hash[]>;
  /** Leaf 0, for a witness that does not know the log yet. */
  readonly bootRecord: Receipt;
}

export interface WitnessClientOptions {
  /** For one checkpoint, all exchanges together. Default: LIMITS.witnessTimeoutMilliseconds. */
  readonly timeoutMilliseconds?: number;
  readonly fetch?: typeof fetch;
  /** How far the witness is believed to have followed whatever log it is asked about first. Default: not at all. */
  readonly followed?: bigint;
}

export class WitnessClient {
  readonly endpoint: WitnessEndpoint;
  readonly #options: WitnessClientOptions;
  /** By origin, how far the witness has followed, as far as it said. Forgetting costs one more round trip. */
  readonly #followed = new Map<string, bigint>();

  constructor(endpoint: WitnessEndpoint, options: WitnessClientOptions = {}) {
    if (endpoint.key.type !== 'cosignature') throw new QvError('log_key_malformed', { value: endpoint.key.name });
    this.endpoint = endpoint;
    this.#options = options;
  }

  /**
   * The witness's cosignature on the checkpoint, verified.
   * @throws QvError witness_unavailable: no answer in time, or not now; asking again later may help
   * @throws QvError witness_size_mismatch: it has cosigned a larger tree (the value is its size), or another caller
   *   moves the same log
   * @throws QvError witness_root_mismatch: it has cosigned another tree of this size, so the log has forked
   * @throws QvError witness_refused, witness_response_invalid; and what `prove` throws
   */
  async cosign(request: CosignRequest): Promise<NoteSignature> {
    const { fetch: fetcher = fetch, timeoutMilliseconds = LIMITS.witnessTimeoutMilliseconds } = this.#options;
    const connection = new WitnessConnection(this.endpoint.url, fetcher, timeoutMilliseconds);
    const { origin, size } = request;
    let oldSize = this.#followed.get(origin) ?? this.#options.followed ?? 0n;
    // Two publishers of one log, or a checkpoint older than one already cosigned: the witness would say the same.
    if (oldSize > size) throw new QvError('witness_size_mismatch', { value: `${oldSize}` });
    let reply = await this.#addCheckpoint(connection, request, oldSize);
    if (reply.status === 404) {
      await this.#addLog(connection, request.bootRecord);
      // Just admitted, so nothing of it is cosigned.
      oldSize = 0n;
      reply = await this.#addCheckpoint(connection, request, oldSize);
    }
    const named = sizeNamed(reply);
    if (named !== undefined) {
      // Not remembered: it may be a mistake, and would keep us from asking ever again.
      if (named > size) throw new QvError('witness_size_mismatch', { value: `${named}` });
      this.#remember(origin, named);
      reply = await this.#addCheckpoint(connection, request, named);
    }
    if (reply.status !== 200) throw refusal(reply);
    const signature = this.#verified(reply, request.note);
    this.#remember(origin, size);
    return signature;
  }

  async #addCheckpoint(connection: WitnessConnection, request: CosignRequest, oldSize: bigint): Promise<Reply> {
    const { note, size, prove } = request;
    const isEmpty = oldSize === 0n || oldSize === size;
    const proof = isEmpty ? [] : await connection.inTime(prove(oldSize));
    return await connection.post('add-checkpoint', 'text/plain', formatAddCheckpoint({ oldSize, proof, note }));
  }

  async #addLog(connection: WitnessConnection, bootRecord: Receipt): Promise<void> {
    const body = new TextEncoder().encode(JSON.stringify(receiptJson(bootRecord)));
    const reply = await connection.post('add-log', 'application/json', body);
    if (reply.status !== 200) throw refusal(reply);
  }

  /** Lines of other keys are nobody's business here; one of ours has to be there, once, and good. */
  #verified({ body }: Reply, note: Uint8Array): NoteSignature {
    const { key } = this.endpoint;
    try {
      const signatures = parseSignatureLines(body).filter(({ name, keyId }) => name === key.name && keyId === key.id);
      verifyNote({ text: parseNote(note).text, signatures }, [key], verifyEd25519);
      const [signature] = signatures;
      if (signature !== undefined) return signature;
    } catch (cause) {
      throw new QvError('witness_response_invalid', { value: key.name }, { cause });
    }
    throw new QvError('witness_response_invalid', { value: key.name });
  }

  #remember(origin: string, size: bigint): void {
    this.#followed.delete(origin);
    this.#followed.set(origin, size);
    const [oldest] = this.#followed.keys();
    if (this.#followed.size > LIMITS.witnessRemembered && oldest !== undefined) this.#followed.delete(oldest);
  }
}

/** The size that a 409 of that kind names. @throws QvError witness_response_invalid */
function sizeNamed({ status, type, body }: Reply): bigint | undefined {
  if (status !== 409 || type !== SIZE_TYPE) return undefined;
  const size = parseSize(body);
  if (size === undefined) throw new QvError('witness_response_invalid', { value: 'size' });
  return size;
}

function refusal(reply: Reply): QvError {
  const { status } = reply;
  const named = sizeNamed(reply);
  if (named !== undefined) return new QvError('witness_size_mismatch', { value: `${named}` });
  // The specification has two reasons for 409.
  if (status === 409) return new QvError('witness_root_mismatch');
  const busy = status === 429 || status >= 500;
  return new QvError(busy ? 'witness_unavailable' : 'witness_refused', { value: reply.code ?? `HTTP ${status}` });
}
