/** Everything by which a key that was read could be recognised in memory, and where in a process it is. */
import { createHash } from 'node:crypto';
import { toBase58 } from '@quantumvault/shared/base58.ts';
import { patternsOf } from '../../../memory/encodings.ts';
import { isGuarded, mappingAt, readMemory } from '../../../memory/process-memory.ts';
import { Searcher } from '../../../memory/search.ts';
import { masterSeedOf, nodesOf, pairOf } from './oracle.ts';

export interface Found {
  /** `seed: hex, whole` */
  readonly what: string;
  /** `guarded`, or what the mapping is. */
  readonly where: string;
}

export class Traces {
  readonly #searcher = new Searcher();
  readonly #names: string[] = [];

  /** In every encoding, in parts too. */
  bytes(name: string, secret: Uint8Array): this {
    for (const { form, part, bytes } of patternsOf(secret)) this.#add(`${name}: ${form}, ${part}`, bytes);
    return this;
  }

  /** Pieces of a text, as V8 keeps strings too. */
  text(name: string, pieces: readonly string[]): this {
    for (const piece of pieces) {
      this.#add(`${name}: piece`, Buffer.from(piece, 'latin1'));
      this.#add(`${name}: piece, UTF-16`, Buffer.from(piece, 'utf16le'));
    }
    return this;
  }

  /** A key and what Ed25519 computes with: the scalar in bytes, and in the digits that libsodium multiplies by. */
  key(name: string, seed: Uint8Array): this {
    const expanded = createHash('sha512').update(seed).digest();
    const scalar = Buffer.from(expanded.subarray(0, 32));
    scalar[0] = (scalar[0] ?? 0) & 248;
    scalar[31] = ((scalar[31] ?? 0) & 127) | 64;
    this.bytes(name, seed).bytes(`${name}, expanded`, expanded).bytes(`${name}, scalar`, scalar);
    this.bytes(`${name}, digits`, digitsOf(scalar));
    return this.text(`${name}, base58`, windows(toBase58(pairOf(seed).pair).slice(0, 40), 16));
  }

  /** Three words each: no text has them by chance. The list of words has them neither. */
  mnemonic(mnemonic: string, entropy: Uint8Array, passphrase: string, indexes: readonly number[]): this {
    const words = mnemonic.split(' ');
    this.text(
      'mnemonic',
      words.slice(2).map((_, at) => words.slice(at, at + 3).join(' ')),
    );
    if (passphrase !== '') this.text('passphrase', windows(passphrase, 12));
    const master = masterSeedOf(mnemonic, passphrase);
    this.bytes('entropy', entropy).bytes('master seed', master);
    for (const [depth, { key, chainCode }] of nodesOf(master, indexes).entries())
      this.key(`key at depth ${depth}`, key).bytes(`chain code at depth ${depth}`, chainCode);
    return this;
  }

  /** In all memory of a process. */
  async in(pid: number): Promise<readonly Found[]> {
    const snapshot = await readMemory(pid);
    return snapshot.runs.flatMap(({ address, offset, length }) =>
      this.#searcher.search(snapshot.bytes, offset, offset + length).map((match) => {
        const mapping = mappingAt(snapshot, address + match.offset - offset);
        const where = isGuarded(mapping) ? 'guarded' : `${mapping.name} ${mapping.permissions}`;
        return { what: this.#names[match.pattern] ?? '', where };
      }),
    );
  }

  #add(name: string, bytes: Uint8Array): void {
    this.#searcher.add(bytes);
    this.#names.push(name);
  }
}

export function windows(text: string, length: number): readonly string[] {
  return Array.from({ length: text.length - length + 1 }, (_, start) => text.slice(start, start + length));
}

/** 64 digits from -8 to 8 for a scalar, the lowest first. */
function digitsOf(scalar: Uint8Array): Uint8Array {
  const digits = new Int8Array(64);
  for (const [at, byte] of scalar.entries()) digits.set([byte & 15, byte >> 4], 2 * at);
  let carry = 0;
  for (let at = 0; at < 63; at++) {
    const digit = (digits[at] ?? 0) + carry;
    carry = (digit + 8) >> 4;
    digits[at] = digit - (carry << 4);
  }
  digits[63] = (digits[63] ?? 0) + carry;
  return new Uint8Array(digits.buffer);
}
