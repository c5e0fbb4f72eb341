/** Reading keys, held against what BIP-39, SLIP-0010 and users of the Solana CLI have published. */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseDerivationPath } from '@quantumvault/host/cli/import/derivation-path.ts';
import { formOf, seedFrom } from '@quantumvault/host/cli/import/key-forms.ts';
import { mnemonicToSeed } from '@quantumvault/host/cli/import/mnemonic.ts';
import { deriveNode } from '@quantumvault/host/cli/import/slip10.ts';
import { wordIndex } from '@quantumvault/host/cli/import/word-list.ts';
import { toHex } from '@quantumvault/shared/bytes.ts';
import { describe, expect, it } from 'vitest';
import { mnemonicOf, pairOf, WORDS } from './oracle.ts';
import { inWork, sodium, utf8 } from './work.ts';

const VECTORS = join(import.meta.dirname, '../../../vectors');
const read = <T>(file: string): T => JSON.parse(readFileSync(join(VECTORS, file), 'utf8')) as T;

describe('BIP-39', () => {
  const vectors = read<{ entropy: string; mnemonic: string; seed: string }[]>('bip39/english.json');

  it('has 24 English vectors', () => expect(vectors).toHaveLength(24));

  it.each(vectors)('$mnemonic', ({ entropy, mnemonic, seed }) => {
    expect(mnemonicOf(Buffer.from(entropy, 'hex'))).toBe(mnemonic);
    inWork((part) => {
      mnemonicToSeed(sodium, utf8(mnemonic), utf8('TREZOR'), part);
      expect(toHex(part.masterSeed)).toBe(seed);
      const bytes = entropy.length / 2;
      expect(toHex(part.entropy.subarray(0, bytes))).toBe(entropy);
      expect(part.mnemonic.subarray(0, mnemonic.length).toString()).toBe(mnemonic);
    });
  });

  it('has the word list of the BIP, byte by byte', () => {
    const list = readFileSync(join(import.meta.dirname, '../../../../host/src/cli/import/bip39-english.txt'));
    expect(createHash('sha256').update(list).digest('hex')).toBe(
      '2f5eed53a4727b4bf8880d8f3f199efc90e58503646d9ff8eff3a2ed3b24dbda',
    );
  });

  it('finds each word, and none of the words with one letter more or less, unless it is one', () => {
    expect(WORDS).toHaveLength(2048);
    const known = new Map(WORDS.map((word, index) => [word, index]));
    for (const word of WORDS) {
      for (const near of [word, word.slice(0, -1), word.slice(1), `${word}s`, `a${word}`, word.toUpperCase()])
        expect(wordIndex(utf8(near)), near).toBe(known.get(near));
    }
    for (const odd of ['', 'a', '\0', 'zoo\n', 'zooz', 'abandon\0', '￿']) expect(wordIndex(utf8(odd))).toBeUndefined();
  });
});

interface Chain {
  readonly path: string;
  readonly chainCode: string;
  readonly private: string;
  readonly public: string;
}

describe.each(read<{ name: string; seed: string; chains: Chain[] }[]>('slip10/ed25519.json'))(
  'SLIP-0010: $name',
  ({ seed, chains }) => {
    it('has all six chains', () => expect(chains).toHaveLength(6));

    it.each(chains)('$path', ({ path, chainCode, private: key, public: publicKey }) => {
      inWork((part) => {
        deriveNode(sodium, Buffer.from(seed, 'hex'), parseDerivationPath(path) ?? [], part);
        expect(toHex(part.node.subarray(0, 32))).toBe(key);
        expect(toHex(part.node.subarray(32))).toBe(chainCode);
        expect(`00${toHex(pairOf(part.node.subarray(0, 32)).pair.subarray(32))}`).toBe(publicKey);
      });
    });
  },
);

interface Published {
  readonly mnemonics: readonly { by: string; mnemonic: string; path: string; address: string }[];
  readonly keypairs: readonly { bytes: readonly number[]; address: string }[];
  readonly base58: readonly { key: string; address: string }[];
}

describe('addresses that were published with their keys', () => {
  const { mnemonics, keypairs, base58 } = read<Published>('solana-keys/published.json');

  function addressFrom(key: Uint8Array, path?: string): string {
    const passphrase = new Uint8Array(0);
    const options = { isExpected: false, passphrase, ...(path !== undefined && { path }) };
    return inWork((part) => pairOf(seedFrom(sodium, key, formOf(key), options, part)).address);
  }

  it.each(mnemonics)('$by: $address', ({ mnemonic, path, address }) => {
    expect(addressFrom(utf8(mnemonic), path)).toBe(address);
    // Without a path it is the default, which is another key than that of any other path.
    if (path !== "m/44'/501'/0'/0'") expect(addressFrom(utf8(mnemonic))).not.toBe(address);
    else expect(addressFrom(utf8(mnemonic))).toBe(address);
  });

  it.each(keypairs)('a keypair file: $address', ({ bytes, address }) => {
    expect(addressFrom(utf8(JSON.stringify(bytes)))).toBe(address);
    expect(addressFrom(Uint8Array.from(bytes))).toBe(address);
    expect(addressFrom(Uint8Array.from(bytes.slice(0, 32)))).toBe(address);
  });

  it.each(base58)('base58: $address', ({ key, address }) => expect(addressFrom(utf8(key))).toBe(address));
});
