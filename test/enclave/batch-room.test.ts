/** That the receipts of every batch that is signed fit the one reply that brings them. */
import { batchRoom } from '@quantumvault/enclave/sign.ts';
import { addressOf, bootIdOf, type Hash, type RequestId, type Signature, timeMs } from '@quantumvault/shared/brands.ts';
import { encodeLeaf } from '@quantumvault/shared/evidence/leaf.ts';
import { framePieces } from '@quantumvault/shared/frames.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { encodeReply } from '@quantumvault/shared/protocol/messages.ts';
import { expect, it } from 'vitest';

const U64_MAX = 2n ** 64n - 1n;
const bytes = (seed: number): Uint8Array => new Uint8Array(32).fill(seed);
const signature = new Uint8Array(64) as Signature;

/** A leaf in which nothing could be longer. */
function largestLeaf(mints: number): Uint8Array {
  const tokens = Array.from({ length: mints }, (_, index) => ({ mint: addressOf(bytes(index)), amount: U64_MAX }));
  return encodeLeaf({
    ...{ boot: bootIdOf(bytes(1)), sequence: U64_MAX, previous: bytes(2) as Hash, time: timeMs(1_795_383_600_000) },
    ...{ kind: 'signed', wallet: addressOf(bytes(3)), actor: addressOf(bytes(4)) },
    requestId: 'x'.repeat(LIMITS.requestIdCharacters) as RequestId,
    ...{ messageHash: bytes(5) as Hash, policyHash: bytes(6) as Hash, signatureHash: bytes(7) as Hash },
    amounts: { lamportsOut: U64_MAX, feeLamports: U64_MAX, ...(mints > 0 && { tokens }) },
    ...{ stateVersion: U64_MAX, repeats: U64_MAX },
  });
}

it.each(Array.from({ length: LIMITS.leafMints + 1 }, (_, mints) => mints))('with %i mints', (mints) => {
  const leaf = largestLeaf(mints);
  const length = Math.min(batchRoom(mints), LIMITS.batchTransactions);
  expect(length).toBeGreaterThan(0);
  const verdict = { messageHash: bytes(8) as Hash, allow: true, signature, receipt: { leaf, signature } };
  const state = { blob: new Uint8Array(LIMITS.sealedStateBytes), version: U64_MAX };
  const reply = { verdicts: Array.from({ length }, () => verdict), state };
  expect(() => framePieces(encodeReply(0xffff_ffff, 'signBatch', reply))).not.toThrow();
  // Batches of SOL alone are never refused for it.
  if (mints === 0) expect(length).toBe(LIMITS.batchTransactions);
});
