/** Values that seeds are made of; the same in each run. */
import {
  type Address,
  addressOf,
  bootIdOf,
  type Hash,
  type RequestId,
  type Signature,
  timeMs,
} from '@quantumvault/shared/brands.ts';
import { utf8 } from '@quantumvault/shared/bytes.ts';
import { encodeLeaf } from '@quantumvault/shared/evidence/leaf.ts';
import { releaseOrderCodec } from '@quantumvault/shared/evidence/succession.ts';
import { encodeAs } from '@quantumvault/shared/protocol/wire.ts';
import nacl from 'tweetnacl';

export const filled = (length: number, byte: number): Uint8Array => new Uint8Array(length).fill(byte);
export const pair = (number: number) => nacl.sign.keyPair.fromSeed(filled(32, number));
export const key = (number: number): Address => addressOf(pair(number).publicKey);

export const wallet = key(1);
export const owner = key(2);
export const requester = key(3);
export const mint = key(4);
export const boot = bootIdOf(pair(5).publicKey);
export const otherBoot = bootIdOf(pair(6).publicKey);
export const hash = filled(32, 0x11) as Hash;
export const signature = filled(64, 0x22) as Signature;
export const freezeId = filled(16, 0x33);
export const time = timeMs(Date.UTC(2026, 10, 22, 12));
export const requestId = 'order-4711' as RequestId;
export const deployment = 'test';
export const note = utf8(
  `example.com/qv/test/${boot}\n7\n${Buffer.from(hash).toString('base64')}\n\n\u2014 a ${'A'.repeat(92)}\n`,
);

export const leaf = encodeLeaf({
  boot,
  sequence: 0n,
  time,
  kind: 'boot',
  attestation: filled(40, 1),
  configHash: hash,
});
export const receipt = { leaf, signature };
export const signedBytes = { bytes: filled(40, 9), signature };
export const order = encodeAs(releaseOrderCodec, {
  deployment,
  predecessor: boot,
  successor: otherBoot,
  wallets: [wallet],
  notAfter: time,
});
export const operatorSigned = { bytes: order, signatures: [{ key: owner, signature }] };
export const sealedState = { blob: filled(120, 7), version: 3n };
export const blobs = {
  salt: filled(32, 1),
  executionKey: filled(180, 2),
  sealedSeed: filled(72, 3),
  sealedState: filled(120, 4),
  second: { ciphertext: filled(180, 8), sealed: filled(72, 9) },
};
