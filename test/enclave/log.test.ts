import { Log } from '@quantumvault/enclave/log.ts';
import { verifyEd25519 } from '@quantumvault/host/client/keys.ts';
import { bootIdOf, timeMs } from '@quantumvault/shared/brands.ts';
import { decodeLeaf, leafHash } from '@quantumvault/shared/evidence/leaf.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { openCheckpoint } from '@quantumvault/shared/tlog/checkpoint.ts';
import { append as appendLeaf, EMPTY_FRONTIER, frontierRoot } from '@quantumvault/shared/tlog/tree.ts';
import { verifierKey } from '@quantumvault/shared/tlog/verifier-key.ts';
import nacl from 'tweetnacl';
import { describe, expect, it } from 'vitest';
import { testVault } from '../support/vault.ts';

const vault = testVault();
const boot = bootIdOf(vault.bootPublicKey);
const append = (log: Log) => log.append({ kind: 'frozen', reason: 'test' }, timeMs(1));

describe('the log of a boot', () => {
  it('numbers its leaves, chains them by hash, signs each', () => {
    const log = new Log(vault, boot, 'test.example/qv');
    const recorded = Array.from({ length: 5 }, () => append(log));
    let previous: Uint8Array | undefined;
    for (const [index, { receipt, hash }] of recorded.entries()) {
      const leaf = decodeLeaf(receipt.leaf);
      expect([leaf.sequence, leaf.boot]).toEqual([BigInt(index), boot]);
      expect(leaf.previous).toEqual(previous);
      expect(nacl.sign.detached.verify(receipt.leaf, receipt.signature, vault.bootPublicKey)).toBe(true);
      expect(hash).toEqual(leafHash(receipt.leaf));
      previous = hash;
    }
    expect(log.size).toBe(5n);
  });

  it('keeps the newest for a host that lost them, and gives them in slices', () => {
    const log = new Log(vault, boot, 'test.example/qv');
    const all = Array.from({ length: LIMITS.recentLeaves + 10 }, () => append(log).receipt);
    const from = (sequence: bigint) => log.recent(sequence).map(({ leaf }) => decodeLeaf(leaf).sequence);
    expect(from(0n)).toEqual(Array.from({ length: LIMITS.leavesPerReply }, (_, index) => BigInt(index + 10)));
    expect(log.recent(100n)).toEqual(all.slice(100, 100 + LIMITS.leavesPerReply));
    expect(log.recent(log.size - 2n)).toEqual(all.slice(-2));
    expect(log.recent(log.size)).toEqual([]);
    expect(log.recent(log.size + 5n)).toEqual([]);
    expect(new Log(vault, boot, 'test.example/qv').recent(0n)).toEqual([]);
  });

  it('is an RFC 6962 tree, whose checkpoints the boot key signs', () => {
    const log = new Log(vault, boot, 'test.example/qv');
    const origin = `test.example/qv/${boot}`;
    const known = { origin, key: verifierKey(origin, 'ed25519', vault.bootPublicKey), witnesses: [] };
    let frontier = EMPTY_FRONTIER;
    for (let size = 0; size < 20; size++) {
      const { checkpoint } = openCheckpoint(log.checkpoint(), known, verifyEd25519);
      expect(checkpoint).toEqual({ origin, size: BigInt(size), root: frontierRoot(frontier), extensions: [] });
      frontier = appendLeaf(frontier, append(log).hash);
    }
  });
});
