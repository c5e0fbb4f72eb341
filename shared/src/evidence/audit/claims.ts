/**
 * What others hold against the logs: states seen before, receipts, signatures on chain. Where they point into leaves
 * that an earlier audit has read, those bundles are read again and compared with what they were.
 */
import type { BootId } from '../../brands.ts';
import { toHex } from '../../bytes.ts';
import { QvError } from '../../errors.ts';
import { TILE_WIDTH } from '../../tlog/tiles.ts';
import { decodeLeaf } from '../leaf.ts';
import type { BootRun } from './boot-run.ts';
import type { AuditInput } from './input.ts';
import type { Checklist } from './report.ts';
import { sameBytes } from './same-bytes.ts';

type Runs = ReadonlyMap<BootId, BootRun>;

export async function compareClaims(runs: Runs, input: AuditInput, checklist: Checklist): Promise<void> {
  await compareStates(runs, input, checklist);
  await compareReceipts(runs, input, checklist);
  await findSignatures(runs, input, checklist);
}

async function compareStates(runs: Runs, { since }: AuditInput, checklist: Checklist): Promise<void> {
  for (const { boot, size, root } of since) {
    const run = runs.get(boot);
    // Not listed, or without a checkpoint that could be read: found before.
    if (run === undefined) continue;
    const now = run.checkpoint.size;
    if (size > now) checklist.add('history', 'log_rewound', { boot }, `${now} leaves, ${size} were seen before`);
    // Fewer leaves were read than there must be: found before.
    if (size > run.state.size) continue;
    const found = await run.rootAt(size);
    if (found === undefined || !sameBytes(found, root))
      checklist.add('history', 'log_forked', { boot }, `another root at ${size} leaves than was seen before`);
  }
}

async function compareReceipts(runs: Runs, { receipts }: AuditInput, checklist: Checklist): Promise<void> {
  for (const { boot, sequence, hash } of receipts.missing()) {
    const place = { boot, sequence: BigInt(sequence) };
    const run = runs.get(boot);
    if (run === undefined) {
      checklist.add('receipts', 'log_receipt_foreign', place, 'somebody holds a receipt of a boot without a log');
      continue;
    }
    if (sequence < (run.seen?.size ?? 0)) {
      const hashes = await run.verifiedHashes(Math.floor(sequence / TILE_WIDTH));
      const found = hashes?.[sequence % TILE_WIDTH];
      if (found !== undefined && sameBytes(found, hash)) continue;
    }
    const detail = `somebody holds a receipt for this leaf, which is not in the log of ${run.checkpoint.size} leaves`;
    checklist.add('receipts', 'log_receipt_absent', place, detail);
  }
}

/** First those read now, while they were read; then those of earlier audits. */
async function findSignatures(runs: Runs, { unrecorded }: AuditInput, checklist: Checklist): Promise<void> {
  for (const run of runs.values())
    for (let start = 0; start < (run.seen?.size ?? 0) && unrecorded.size > 0; start += TILE_WIDTH) {
      const bundle = await run.verifiedBundle(start / TILE_WIDTH);
      for (const entry of bundle?.entries ?? []) forget(unrecorded, entry);
    }
  for (const signature of unrecorded.values())
    checklist.add('chainSignatures', 'log_signature_unrecorded', {}, `no leaf is of the signature ${signature}`);
}

function forget(unrecorded: Map<string, string>, entry: Uint8Array): void {
  try {
    const { kind, signatureHash } = decodeLeaf(entry);
    if (kind === 'signed' && signatureHash !== undefined) unrecorded.delete(toHex(signatureHash));
  } catch (error) {
    // Kept states are of logs in which every leaf could be read.
    if (!(error instanceof QvError)) throw error;
  }
}
