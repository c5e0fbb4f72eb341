/** Leaves and their hashes, some hundred thousand a second where a fast SHA-256 was given. */
import type { Hash } from '../../brands.ts';
import { decodeLeaf, type Leaf } from '../leaf.ts';
import type { Sha256 } from './tree.ts';

/** An entry's length is a u16 (C2SP tlog-tiles). */
const MAX_ENTRY_BYTES = 0xffff;

export class LeafReader {
  readonly #sha256: Sha256;
  /** 0x00 and the entry (RFC 6962 section 2.1): one buffer for all, because hashing copies. */
  readonly #prefixed = new Uint8Array(1 + MAX_ENTRY_BYTES);

  constructor(sha256: Sha256) {
    this.#sha256 = sha256;
  }

  hash(entry: Uint8Array): Hash {
    this.#prefixed.set(entry, 1);
    return this.#sha256(this.#prefixed.subarray(0, 1 + entry.length));
  }

  /** @throws QvError cbor_malformed, message_malformed */
  decode(entry: Uint8Array): Leaf {
    return decodeLeaf(entry);
  }
}
