/** BIP-39 and SLIP-0010 once more, over Node's crypto: what the code is compared with. */
import { createHash, createHmac, pbkdf2Sync } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Address, addressOf } from '@quantumvault/shared/brands.ts';
import nacl from 'tweetnacl';

const LIST = join(import.meta.dirname, '../../../../host/src/cli/import/bip39-english.txt');
export const WORDS: readonly string[] = readFileSync(LIST, 'utf8').trim().split('\n');

/** @param entropy 16, 20, 24, 28 or 32 bytes */
export function mnemonicOf(entropy: Uint8Array): string {
  const bits = (bytes: Uint8Array): string => [...bytes].map((byte) => byte.toString(2).padStart(8, '0')).join('');
  const checksum = bits(createHash('sha256').update(entropy).digest()).slice(0, entropy.length / 4);
  const groups = (bits(entropy) + checksum).match(/.{11}/g) ?? [];
  return groups.map((group) => WORDS[Number.parseInt(group, 2)]).join(' ');
}

export function masterSeedOf(mnemonic: string, passphrase = ''): Buffer {
  return pbkdf2Sync(mnemonic.normalize('NFKD'), `mnemonic${passphrase.normalize('NFKD')}`, 2048, 64, 'sha512');
}

export interface Node {
  readonly key: Buffer;
  readonly chainCode: Buffer;
}

/** All nodes of the path, the master node first. @param indexes without the hardened bit */
export function nodesOf(seed: Uint8Array, indexes: readonly number[]): readonly Node[] {
  const split = (bytes: Buffer): Node => ({ key: bytes.subarray(0, 32), chainCode: bytes.subarray(32) });
  const nodes = [split(createHmac('sha512', 'ed25519 seed').update(seed).digest())];
  for (const index of indexes) {
    const { key, chainCode } = nodes.at(-1) as Node;
    const number = Buffer.alloc(4);
    number.writeUInt32BE(index + 0x8000_0000);
    nodes.push(split(createHmac('sha512', chainCode).update(Buffer.of(0)).update(key).update(number).digest()));
  }
  return nodes;
}

export function pairOf(seed: Uint8Array): { readonly pair: Uint8Array; readonly address: Address } {
  const { secretKey, publicKey } = nacl.sign.keyPair.fromSeed(Uint8Array.from(seed));
  return { pair: secretKey, address: addressOf(publicKey) };
}
