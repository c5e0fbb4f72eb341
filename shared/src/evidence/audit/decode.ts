/** Leaves and their hashes, some hundred thousand a second where a fast SHA-256 was given. */
import { type Address, addressOf, type Hash } from '../../brands.ts';
import { type CborValue, decodeCbor } from '../../cbor.ts';
import { type Leaf, leafCodec } from '../leaf.ts';
import type { Sha256 } from './tree.ts';

/** An entry's length is a u16 (C2SP tlog-tiles). */
const MAX_ENTRY_BYTES = 0xffff;
/** Keys of `wallet` and `actor` in the leaf's codec: the same few addresses over and over. */
const ADDRESSES = [
  [6, 'wallet'],
  [7, 'actor'],
] as const;
const ADDRESS_BYTES = 32;
/** Addresses whose base58 is remembered; base58 would be most of the work. */
const REMEMBERED = 16_384;

export class LeafReader {
  readonly #sha256: Sha256;
  /** 0x00 and the entry (RFC 6962 section 2.1): one buffer for all, because hashing copies. */
  readonly #prefixed = new Uint8Array(1 + MAX_ENTRY_BYTES);
  readonly #addresses = new Map<string, Address>();

  constructor(sha256: Sha256) {
    this.#sha256 = sha256;
  }

  hash(entry: Uint8Array): Hash {
    this.#prefixed.set(entry, 1);
    return this.#sha256(this.#prefixed.subarray(0, 1 + entry.length));
  }

  /** What decodeLeaf reads, and refuses. @throws QvError cbor_malformed, message_malformed */
  decode(entry: Uint8Array): Leaf {
    const value = decodeCbor(entry);
    if (!(value instanceof Map)) return leafCodec.fromCbor(value, 'leaf');
    const fields = value as Map<number | string, CborValue>;
    const known: { wallet?: Address; actor?: Address } = {};
    for (const [key, name] of ADDRESSES) {
      const bytes = fields.get(key);
      // Anything else is the codec's to refuse.
      if (!(bytes instanceof Uint8Array) || bytes.length !== ADDRESS_BYTES) continue;
      known[name] = this.#address(bytes);
      fields.delete(key);
    }
    return Object.assign(leafCodec.fromCbor(fields, 'leaf'), known);
  }

  #address(bytes: Uint8Array): Address {
    const key = String.fromCharCode(...bytes);
    const known = this.#addresses.get(key);
    if (known !== undefined) return known;
    if (this.#addresses.size >= REMEMBERED) this.#addresses.clear();
    const address = addressOf(bytes);
    this.#addresses.set(key, address);
    return address;
  }
}
