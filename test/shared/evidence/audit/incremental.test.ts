/** An audit that reads only what is new says the same as one that reads everything. */
import type { BootId } from '@quantumvault/shared/brands.ts';
import { auditLog } from '@quantumvault/shared/evidence/audit/audit.ts';
import { decodeSeen } from '@quantumvault/shared/evidence/audit/seen.ts';
import type { LogSource } from '@quantumvault/shared/evidence/audit/types.ts';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { expectCode, refusalOf } from '../../../support/codes.ts';
import { auditDeps, type BuiltLog, Deployment, nodeSha256 } from '../../../support/log-builder.ts';
import { auditOf, codesOf, findingOf, servedLog } from './audits.ts';
import { dishonestStep, honestSteps, Story } from './story.ts';

const numRuns = Number(process.env['PROPERTY_RUNS'] ?? 15);

/** What an honest audit leaves behind. */
async function seenOf(deployment: Deployment, seen?: Uint8Array): Promise<Uint8Array> {
  const report = await auditOf(deployment, seen && { seen });
  expect(report.findings).toEqual([]);
  if (report.seen === undefined) throw new Error('nothing to keep');
  return report.seen;
}

async function longLog(leaves: number): Promise<{ deployment: Deployment; log: BuiltLog }> {
  const deployment = new Deployment();
  const log = await deployment.start();
  const wallet = log.wallet();
  while (log.size < leaves) wallet.sign();
  return { deployment, log };
}

describe('incremental audits', () => {
  test('say the same as full ones, step by step, whatever happened', async () => {
    await fc.assert(
      fc.asyncProperty(
        honestSteps(40),
        fc.array(fc.nat(40), { maxLength: 3 }),
        fc.option(fc.tuple(dishonestStep, fc.nat(40)), { freq: 2 }),
        async (steps, cuts, lie) => {
          const story = new Story();
          await story.begin();
          let seen: Uint8Array | undefined;
          for (const [index, step] of [...steps, undefined].entries()) {
            if (lie?.[1] === index) await story.tell(lie[0]);
            if (step !== undefined) await story.tell(step);
            if (step !== undefined && !cuts.includes(index)) continue;
            const full = await auditOf(story.deployment);
            const next = await auditOf(story.deployment, seen && { seen });
            expect([...new Set(codesOf(next))].sort()).toEqual([...new Set(codesOf(full))].sort());
            expect(next.ok).toBe(full.ok);
            // One state has one file, however it was come to.
            expect(next.seen).toEqual(full.seen);
            if (next.seen === undefined) return;
            seen = next.seen;
          }
        },
      ),
      { numRuns },
    );
  });

  test('read only what is new', async () => {
    const { deployment, log } = await longLog(600);
    const seen = await seenOf(deployment);
    const wallet = log.wallet();
    wallet.sign();
    const read: [BootId, bigint][] = [];
    const source = deployment.source();
    const counting: LogSource = {
      ...source,
      entries: (boot, index, width) => {
        read.push([boot, index]);
        return source.entries(boot, index, width);
      },
    };
    const report = await auditLog(counting, deployment.expectations({ seen }), auditDeps);
    expect(report.findings).toEqual([]);
    expect(report.leaves).toBe(3n);
    expect(read).toEqual([[log.boot, 2n]]);
    const again = await auditLog(counting, deployment.expectations({ seen: report.seen as Uint8Array }), auditDeps);
    expect(again.leaves).toBe(0n);
    expect(again.seen).toEqual(report.seen);
    expect(read).toHaveLength(1);
  });

  test('find receipts, signatures and earlier states among leaves that were read before', async () => {
    const deployment = new Deployment();
    const log = await deployment.start();
    const wallet = log.wallet();
    while (log.size < 700) wallet.sign();
    const seen = await seenOf(deployment);
    wallet.sign();
    const held = {
      receipts: [0, 100, 511, 512, 699, 700].map((sequence) => log.receipt(sequence)),
      onChain: [...wallet.signatures.values()],
      since: [1, 255, 256, 300, 699, 700, 701].map((size) => log.checkpoint({ size })),
    };
    expect((await auditOf(deployment, { seen, ...held })).findings).toEqual([]);
    const served = deployment.serve();
    // The host changes what was read already: whatever points there is no longer found.
    servedLog(served, log.boot).entries[100] = log.entries[101] as Uint8Array;
    expect((await auditOf(deployment, { seen }, served)).ok).toBe(true);
    const codes = new Set(codesOf(await auditOf(deployment, { seen, ...held }, served)));
    expect(codes).toEqual(new Set(['log_forked', 'log_receipt_absent', 'log_signature_unrecorded']));
  });

  test('find a freeze that was lost before it was published, although it came later', async () => {
    const deployment = new Deployment();
    const first = await deployment.start();
    const wallet = first.wallet();
    const before = first.predecessor();
    const published = first.size;
    first.freeze();
    const second = await deployment.start({ follows: before });
    second.wallet().sign();
    const served = deployment.serve();
    Object.assign(servedLog(served, first.boot), {
      entries: first.entries.slice(0, published),
      note: first.checkpoint({ size: published }),
    });
    const { findings, seen } = await auditOf(deployment, {}, served);
    expect(findings).toEqual([]);
    wallet.moveTo(second);
    findingOf(await auditOf(deployment, { seen: seen as Uint8Array }), 'log_freeze_lost');
  });

  test('attest again: an image may have been retired', async () => {
    const { deployment } = await longLog(5);
    const seen = await seenOf(deployment);
    const pcrSets = [{ name: 'newer', pcrs: new Map([[0, new Uint8Array(48).fill(1)]]) }];
    findingOf(await auditOf(deployment, { seen, pcrSets }), 'attestation_pcrs_not_allowed');
  });

  test('find a log that was forked behind, at, or before what was seen', async () => {
    for (const [from, add] of [
      [4, 0],
      [4, 3],
      [300, 3],
    ] as const) {
      const { deployment, log } = await longLog(400);
      const seen = await seenOf(deployment);
      log.rewrite(from, (leaf) => ({ ...leaf, requestId: 'other' }));
      for (let index = 0; index < add; index++) log.record({ kind: 'key-failed' });
      findingOf(await auditOf(deployment, { seen }), 'log_forked');
    }
  });

  test('find a log that was rewound, and a boot that is hidden', async () => {
    const { deployment, log } = await longLog(20);
    const second = await deployment.start({ follows: log.predecessor() });
    const seen = await seenOf(deployment);
    const served = deployment.serve();
    servedLog(served, log.boot).note = log.checkpoint({ size: 10 });
    findingOf(await auditOf(deployment, { seen }, served), 'log_rewound');
    served.logs.delete(second.boot);
    findingOf(await auditOf(deployment, { seen }, served), 'log_boot_hidden');
  });

  test('find the checkpoint of other leaves than those that are new', async () => {
    const { deployment, log } = await longLog(20);
    const seen = await seenOf(deployment);
    log.record({ kind: 'key-failed' });
    const served = deployment.serve();
    servedLog(served, log.boot).note = log.checkpoint({ entries: [...log.entries].reverse() });
    findingOf(await auditOf(deployment, { seen }, served), 'log_forked');
  });

  test('carry windows, freezes, repeats and limits along', async () => {
    const deployment = new Deployment();
    const log = await deployment.start();
    const wallet = log.wallet({
      sol: { maxPerTransaction: '9', window: { seconds: 60, max: '10' }, destinations: [] },
    });
    const first = wallet.sign({ lamports: 6n });
    let seen = await seenOf(deployment);
    wallet.repeat(first);
    wallet.sign({ lamports: 4n });
    seen = await seenOf(deployment, seen);
    wallet.sign({ lamports: 1n });
    findingOf(await auditOf(deployment, { seen }), 'log_window_exceeded');
    log.leaves.pop();
    log.entries.pop();
    wallet.version--;
    log.freeze();
    seen = await seenOf(deployment, seen);
    deployment.now += 120_000;
    wallet.sign({ lamports: 1n });
    findingOf(await auditOf(deployment, { seen }), 'log_signed_frozen');
  });
});

describe('the file that is kept', () => {
  test('is refused when any part of it is another or missing', async () => {
    const deployment = new Deployment();
    const log = await deployment.start();
    const wallet = log.wallet();
    wallet.sign();
    log.resume(log.freeze());
    wallet.moveTo(await deployment.start({ follows: log.predecessor() }));
    const seen = await seenOf(deployment);
    await fc.assert(
      fc.asyncProperty(fc.nat(seen.length - 1), fc.integer({ min: 1, max: 255 }), async (at, flip) => {
        const changed = Uint8Array.from(seen);
        changed[at] = (changed[at] ?? 0) ^ flip;
        await expectCode(auditOf(deployment, { seen: changed }), 'log_seen_malformed');
        await expectCode(auditOf(deployment, { seen: seen.subarray(0, at) }), 'log_seen_malformed');
      }),
      { numRuns: 40 },
    );
  });

  test('is refused when a change was given a digest that fits, unless it is another state', async () => {
    const { deployment } = await longLog(12);
    const seen = await seenOf(deployment);
    const body = seen.subarray(0, -32);
    let refused = 0;
    for (let at = 17; at < body.length; at++) {
      const changed = Uint8Array.from(seen);
      changed[at] = (changed[at] ?? 0) ^ 0x80;
      changed.set(nodeSha256(changed.subarray(0, -32)), body.length);
      const refusal = refusalOf(() => decodeSeen(changed, nodeSha256));
      if (refusal === undefined) continue;
      expect(refusal.code).toBe('log_seen_malformed');
      refused++;
    }
    expect(refused).toBeGreaterThan(10);
  });
});
