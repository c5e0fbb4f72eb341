/** Records for tests of stores: well-formed, meaningless, and told apart by one number. */
import { createHash } from 'node:crypto';
import type { SignalRecord, WalletRow } from '@quantumvault/host/store/store.ts';
import { type Address, addressOf, bootIdOf, type Hash, type Signature, timeMs } from '@quantumvault/shared/brands.ts';

export const bytes = (length: number, value: number): Uint8Array => new Uint8Array(length).fill(value);
export const key = (value: number): Address => addressOf(bytes(32, value));
export const hashOf = (text: string): Hash => new Uint8Array(createHash('sha256').update(text).digest()) as Hash;
export const BOOT = bootIdOf(bytes(32, 9));
export const NOW = timeMs(1_750_000_000_000);

export const leaf = (sequence: number, content = sequence) => ({
  boot: BOOT,
  sequence: BigInt(sequence),
  leaf: bytes(40, content),
  signature: bytes(64, content) as Signature,
});

export const row = (wallet: Address): WalletRow => ({
  wallet,
  owner: key(2),
  salt: bytes(32, 3),
  executionKey: bytes(180, 4),
  sealedSeed: bytes(72, 5),
  sealedState: bytes(90, 6),
  stateVersion: 1n,
  frozen: false,
  retired: false,
  generation: 0,
  createdAt: NOW,
  rowMac: bytes(32, 7),
});

export const insert = (wallet: Address, nonce: number, sequence: number) => ({
  row: row(wallet),
  creation: {
    owner: key(2),
    nonce: bytes(16, nonce),
    statementHash: hashOf('statement'),
    wallet,
    reply: '{"wallet":1}',
  },
  leaf: leaf(sequence),
});

export const signed = (wallet: Address, version: number, sequence = version, id = `id-${version}`) => ({
  wallet,
  generation: 0,
  sealedState: bytes(90, version),
  stateVersion: BigInt(version),
  rowMac: bytes(32, version),
  leaves: [leaf(sequence)],
  reply: {
    wallet,
    requester: key(8),
    id,
    bodyHash: hashOf(id),
    status: 200,
    reply: `{"version":${version}}`,
    expiresAt: timeMs(NOW + 1000),
  },
});

export const signal = (id: string, change: Partial<SignalRecord> = {}): SignalRecord => ({
  source: 'alpha',
  id,
  at: NOW,
  receivedAt: NOW,
  expiresAt: timeMs(NOW + 100_000),
  body: bytes(20, 1),
  bodyHash: hashOf('body'),
  signature: bytes(64, 2) as Signature,
  mac: bytes(32, 3),
  ...change,
});
