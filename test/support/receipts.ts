/** Receipt files over logs in memory, as a host makes them. */

import type { Hash } from '@quantumvault/shared/brands.ts';
import { leafHash } from '@quantumvault/shared/evidence/leaf.ts';
import { type ReceiptFile, receiptFileJson } from '@quantumvault/shared/evidence/receipt-file.ts';
import { type HashReader, proveInclusion } from '@quantumvault/shared/tlog/proof.ts';
import { nodeHash } from '@quantumvault/shared/tlog/tree.ts';
import type { BuiltLog, CheckpointChanges } from './log-builder.ts';

function subtree(entries: readonly Uint8Array[]): Hash {
  const [first] = entries;
  if (first === undefined) throw new RangeError('no entries');
  if (entries.length === 1) return leafHash(first);
  const half = entries.length / 2;
  return nodeHash(subtree(entries.slice(0, half)), subtree(entries.slice(half)));
}

export const hashesOf =
  (entries: readonly Uint8Array[]): HashReader =>
  async (nodes) =>
    nodes.map(({ level, index }) => {
      const width = 2 ** level;
      return subtree(entries.slice(Number(index) * width, (Number(index) + 1) * width));
    });

/** The receipt of one leaf, under a checkpoint of the whole log unless `changes` say otherwise. */
export async function receiptFileOf(
  log: BuiltLog,
  sequence: number | bigint,
  changes: CheckpointChanges = {},
): Promise<ReceiptFile> {
  const size = BigInt(changes.size ?? log.size);
  const read = hashesOf(log.entries);
  return {
    index: BigInt(sequence),
    receipt: log.receipt(sequence),
    proof: await proveInclusion(BigInt(sequence), size, read),
    checkpoint: log.checkpoint(changes),
    bootRecord: { receipt: log.receipt(0), proof: await proveInclusion(0n, size, read) },
  };
}

export const receiptText = (file: ReceiptFile): string => JSON.stringify(receiptFileJson(file));
