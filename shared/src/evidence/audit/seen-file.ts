/**
 * The bytes of an auditor's file: a line that names the format, then records one behind the other, then the SHA-256 of
 * all of it, against damage.
 *
 *   record   length[u32be] || bytes     strict CBOR (cbor.ts), or amounts and hashes packed
 */
import { utf8 } from '../../bytes.ts';
import { QvError } from '../../errors.ts';
import { LIMITS } from '../../limits.ts';
import { type Codec, decodeAs, encodeAs } from '../../protocol/wire.ts';
import { sameBytes } from './same-bytes.ts';
import type { Sha256 } from './tree.ts';

const MAGIC = utf8('qv/audit-seen/v1\n');
const DIGEST_BYTES = 32;

export function malformed(path: string, cause?: unknown): QvError {
  return new QvError('log_seen_malformed', { path }, { cause });
}

export class SeenWriter {
  readonly #parts: Uint8Array[] = [MAGIC];
  #length = MAGIC.length;

  record<T>(codec: Codec<T>, value: T): void {
    this.packed(encodeAs(codec, value));
  }

  packed(bytes: Uint8Array): void {
    const length = new Uint8Array(4);
    new DataView(length.buffer).setUint32(0, bytes.length);
    this.#parts.push(length, bytes);
    this.#length += 4 + bytes.length;
  }

  end(sha256: Sha256): Uint8Array {
    const file = new Uint8Array(this.#length + DIGEST_BYTES);
    let at = 0;
    for (const part of this.#parts) {
      file.set(part, at);
      at += part.length;
    }
    file.set(sha256(file.subarray(0, at)), at);
    return file;
  }
}

export class SeenReader {
  readonly #bytes: Uint8Array;
  #at = MAGIC.length;

  /** @throws QvError log_seen_malformed */
  constructor(bytes: Uint8Array, sha256: Sha256) {
    if (bytes.length > LIMITS.auditSeenBytes) throw malformed('length');
    if (bytes.length < MAGIC.length + DIGEST_BYTES || !sameBytes(bytes.subarray(0, MAGIC.length), MAGIC))
      throw malformed('format');
    this.#bytes = bytes.subarray(0, bytes.length - DIGEST_BYTES);
    if (!sameBytes(sha256(this.#bytes), bytes.subarray(this.#bytes.length))) throw malformed('digest');
  }

  record<T>(codec: Codec<T>, path: string): T {
    try {
      return decodeAs(codec, this.packed(path), path);
    } catch (error) {
      throw error instanceof QvError ? malformed(error.facts.path ?? path, error) : error;
    }
  }

  packed(path: string): Uint8Array {
    const start = this.#at + 4;
    if (start > this.#bytes.length) throw malformed(path);
    const { buffer, byteOffset } = this.#bytes;
    const end = start + new DataView(buffer, byteOffset).getUint32(this.#at);
    if (end > this.#bytes.length) throw malformed(path);
    this.#at = end;
    return this.#bytes.subarray(start, end);
  }

  /** Nothing may follow. */
  end(): void {
    if (this.#at !== this.#bytes.length) throw malformed('length');
  }
}
