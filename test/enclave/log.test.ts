import { Log } from '@quantumvault/enclave/log.ts';
import { Vault } from '@quantumvault/enclave/vault.ts';
import { bootIdOf, timeMs } from '@quantumvault/shared/brands.ts';
import { decodeLeaf, leafHash } from '@quantumvault/shared/evidence/leaf.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import nacl from 'tweetnacl';
import { describe, expect, it } from 'vitest';

const vault = new Vault();
const boot = bootIdOf(vault.bootPublicKey);
const append = (log: Log) => log.append({ kind: 'frozen', reason: 'test' }, timeMs(1));

describe('the log of a boot', () => {
  it('numbers its leaves, chains them by hash, signs each', () => {
    const log = new Log(vault, boot);
    const recorded = Array.from({ length: 5 }, () => append(log));
    let previous: Uint8Array | undefined;
    for (const [index, { receipt, hash, sequence }] of recorded.entries()) {
      const leaf = decodeLeaf(receipt.leaf);
      expect([leaf.sequence, sequence, leaf.boot]).toEqual([BigInt(index), BigInt(index), boot]);
      expect(leaf.previous).toEqual(previous);
      expect(nacl.sign.detached.verify(receipt.leaf, receipt.signature, vault.bootPublicKey)).toBe(true);
      expect(hash).toEqual(leafHash(receipt.leaf));
      previous = hash;
    }
    expect(log.size).toBe(5n);
  });

  it('keeps the newest for a host that lost them, and gives them in slices', () => {
    const log = new Log(vault, boot);
    const all = Array.from({ length: LIMITS.recentLeaves + 10 }, () => append(log).receipt);
    const from = (sequence: bigint) => log.recent(sequence).map(({ leaf }) => decodeLeaf(leaf).sequence);
    expect(from(0n)).toEqual(Array.from({ length: LIMITS.leavesPerReply }, (_, index) => BigInt(index + 10)));
    expect(log.recent(100n)).toEqual(all.slice(100, 100 + LIMITS.leavesPerReply));
    expect(log.recent(log.size - 2n)).toEqual(all.slice(-2));
    expect(log.recent(log.size)).toEqual([]);
    expect(log.recent(log.size + 5n)).toEqual([]);
    expect(new Log(vault, boot).recent(0n)).toEqual([]);
  });
});
