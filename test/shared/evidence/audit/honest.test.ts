/** Logs of honest boots, of which an audit has nothing to say. */
import { timeMs } from '@quantumvault/shared/brands.ts';
import { auditLog } from '@quantumvault/shared/evidence/audit/audit.ts';
import type { AuditExpectations, AuditReport } from '@quantumvault/shared/evidence/audit/types.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { describe, expect, test } from 'vitest';
import { auditDeps, type BuiltLog, Deployment, START } from '../../../support/log-builder.ts';

async function audited(deployment: Deployment, change: Partial<AuditExpectations> = {}): Promise<AuditReport> {
  return auditLog(deployment.source(), deployment.expectations(change), auditDeps);
}

async function expectHonest(deployment: Deployment, change: Partial<AuditExpectations> = {}): Promise<AuditReport> {
  const report = await audited(deployment, change);
  expect(report.findings).toEqual([]);
  expect(report.ok).toBe(true);
  expect(report.findingCount).toBe(0);
  expect(report.steps.every(({ status }) => status !== 'fail')).toBe(true);
  expect(report.seen).toBeDefined();
  return report;
}

/** A boot that continues another one. */
const after = (log: BuiltLog, size?: number) => ({ follows: log.predecessor(size) });

describe('an honest log passes', () => {
  test('of one boot, with every kind of decision', async () => {
    const deployment = new Deployment({ witnesses: 2 });
    const log = await deployment.start();
    const [a, b] = [log.wallet(), log.wallet()];
    const first = a.sign();
    b.sign();
    a.repeat(first);
    a.deny();
    b.sign();
    a.enable({ fees: { maxLamports: '5000' } });
    a.sign();
    const report = await expectHonest(deployment, {
      receipts: [3, 5, 7].map((sequence) => log.receipt(sequence)),
      onChain: [...a.signatures.values(), ...b.signatures.values()],
      since: [log.checkpoint({ size: 1 }), log.checkpoint({ size: 4 }), log.checkpoint()],
    });
    expect(report.leaves).toBe(BigInt(log.size));
    expect(report.kinds).toEqual({ boot: 1, 'wallet-created': 2, 'policy-enabled': 3, signed: 5, denied: 1 });
    expect(report.boots).toEqual([
      {
        boot: log.boot,
        origin: log.origin,
        size: BigInt(log.size),
        from: START,
        to: log.leaves.at(-1)?.time,
        witnesses: ['witness-0.example.com', 'witness-1.example.com'],
        cosignedAt: expect.any(Number),
      },
    ]);
    expect(report.steps.map(({ name, status }) => [name, status])).toEqual([
      ['boots', 'pass'],
      ['attestation', 'pass'],
      ['checkpoints', 'pass'],
      ['witnesses', 'pass'],
      ['entries', 'pass'],
      ['roots', 'pass'],
      ['history', 'pass'],
      ['chain', 'skipped'],
      ['wallets', 'pass'],
      ['policies', 'pass'],
      ['windows', 'pass'],
      ['freezes', 'pass'],
      ['repeats', 'pass'],
      ['receipts', 'pass'],
      ['chainSignatures', 'pass'],
    ]);
  });

  test('of boots that follow each other, listed in any order', async () => {
    const deployment = new Deployment();
    const logs = [await deployment.start()];
    for (let index = 0; index < 3; index++) logs.push(await deployment.start(after(logs[index] as BuiltLog)));
    for (const log of logs) log.wallet().sign();
    const last = logs.at(-1)?.boot;
    deployment.logs.reverse();
    const report = await expectHonest(deployment);
    expect(report.boots.find(({ boot }) => boot === last)?.follows).toBe(logs[2]?.boot);
  });

  test('of two boots that follow one', async () => {
    const deployment = new Deployment();
    const first = await deployment.start();
    await deployment.start(after(first));
    await deployment.start(after(first));
    await expectHonest(deployment);
  });

  test('with freezes that overlap, are resumed, and are of other wallets', async () => {
    const deployment = new Deployment();
    const log = await deployment.start();
    const [a, b] = [log.wallet(), log.wallet()];
    const one = log.freeze(`wallet:${a.address}`);
    b.sign();
    const two = log.freeze(`requester:${a.requester}`);
    log.resume(one, `wallet:${a.address}`);
    b.sign();
    log.resume(two, `requester:${a.requester}`);
    a.sign();
    const fleet = [log.freeze(), log.freeze()];
    a.deny();
    a.enable();
    // Of the orders for one scope the last one counts.
    log.resume(fleet[1] as Uint8Array);
    a.sign();
    await expectHonest(deployment);
  });

  test('with a freeze that travels and is resumed where it arrived', async () => {
    const deployment = new Deployment();
    const first = await deployment.start();
    const id = first.freeze();
    const second = await deployment.start(after(first));
    second.resume(id);
    second.wallet().sign();
    await expectHonest(deployment);
  });

  test('with freezes that come with wallets, and were passed on before the log says whose it continues', async () => {
    const deployment = new Deployment();
    const first = await deployment.start();
    const [a, b, c] = [first.wallet(), first.wallet(), first.wallet()];
    const stopped = first.freeze(`wallet:${c.address}`);
    const fleet = first.freeze();
    const second = await deployment.start();
    const passedOn = second.freeze();
    second.record({ kind: 'follows', predecessor: first.predecessor() });
    second.resume(passedOn);
    second.wallet().sign();
    a.moveTo(second);
    second.resume(fleet);
    a.sign();
    // It holds where b comes from, so it comes again.
    b.moveTo(second);
    second.resume(fleet);
    a.sign();
    first.resume(stopped, `wallet:${c.address}`);
    first.resume(fleet);
    c.moveTo(second);
    c.sign();
    await expectHonest(deployment);
  });

  test('with wallets that are released and leased, also back and forth', async () => {
    const deployment = new Deployment();
    const first = await deployment.start();
    const second = await deployment.start(after(first));
    const [a, b, c] = [first.wallet(), first.wallet(), first.wallet()];
    for (const wallet of [a, b, c]) wallet.sign();
    a.moveTo(second);
    b.moveTo(second);
    a.sign();
    b.sign();
    a.moveTo(first);
    a.sign();
    b.moveTo(first);
    b.sign();
    c.leaseTo(second);
    c.sign();
    const third = await deployment.start(after(second));
    c.leaseTo(third, c.version + 3n);
    c.sign();
    for (let turn = 0; turn < 3; turn++) {
      deployment.logs.push(deployment.logs.shift() as BuiltLog);
      await expectHonest(deployment);
    }
  });

  test('with a lease that would rather wait for a boot which waits for it', async () => {
    const deployment = new Deployment();
    const first = await deployment.start();
    const second = await deployment.start(after(first));
    const [a, b] = [first.wallet(), second.wallet()];
    a.leaseTo(second);
    a.sign();
    b.sign();
    b.moveTo(first);
    b.sign();
    await expectHonest(deployment);
    deployment.logs.reverse();
    await expectHonest(deployment);
  });

  test('of more boots than are read side by side, listed the newest first', async () => {
    const deployment = new Deployment();
    let log = await deployment.start();
    for (let index = 0; index < 30; index++) {
      const next = await deployment.start(after(log));
      const wallet = log.wallet();
      wallet.moveTo(next);
      wallet.sign();
      log = next;
    }
    deployment.logs.reverse();
    await expectHonest(deployment);
  });

  test('with a policy whose enabling was lost with its boot', async () => {
    const deployment = new Deployment();
    const first = await deployment.start();
    const wallet = first.wallet();
    wallet.policyHash = deployment.addPolicy(wallet.document());
    wallet.version++;
    wallet.leaseTo(await deployment.start(after(first)));
    wallet.sign();
    wallet.sign();
    await expectHonest(deployment);
  });

  test('at every limit exactly', async () => {
    const deployment = new Deployment();
    const log = await deployment.start();
    const mint = log.wallet(false).address;
    const wallet = log.wallet({
      fees: { maxLamports: '5000', window: { seconds: 10, max: '15000' } },
      sol: { maxPerTransaction: '100', window: { seconds: 20, max: '300' }, destinations: [] },
      tokens: [
        {
          mint,
          tokenProgram: 'TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA',
          decimals: 6,
          maxPerTransaction: '7',
          window: { seconds: 40, max: '14' },
          destinations: [],
        },
      ],
      rate: { perMinute: 3, perDay: 5 },
    });
    const sign = (advanceMs: number, units = 0n) =>
      wallet.sign({ lamports: 100n, advanceMs, tokens: units > 0n ? [{ mint, amount: units }] : [] });
    sign(5_000, 7n);
    sign(5_000, 7n);
    sign(50_001);
    const repeated = sign(60_001, 7n);
    wallet.repeat(repeated);
    deployment.now += LIMITS.requestMaxAgeSeconds * 1000;
    sign(1, 7n);
    deployment.now = START + 86_400_001 + 60_001;
    wallet.sign({ lamports: 100n });
    await expectHonest(deployment);
  });

  test('of more than one bundle, without a fast hash', async () => {
    const deployment = new Deployment();
    const log = await deployment.start();
    const wallet = log.wallet();
    while (log.size < 600) wallet.sign();
    const progress: bigint[] = [];
    const { sha256: _, ...deps } = auditDeps;
    const seenLeaves: bigint[] = [];
    const report = await auditLog(
      deployment.source(),
      deployment.expectations({ since: [256, 300, 512].map((size) => log.checkpoint({ size })) }),
      { ...deps, onProgress: (leaves) => progress.push(leaves), onLeaf: (_, leaf) => seenLeaves.push(leaf.sequence) },
    );
    expect(report.findings).toEqual([]);
    expect(seenLeaves).toHaveLength(600);
  });

  test('although the expectations name neither origin nor configuration', async () => {
    const deployment = new Deployment();
    await deployment.start();
    const { logOrigin: _, configHash: __, ...expected } = deployment.expectations();
    const report = await auditLog(deployment.source(), expected, auditDeps);
    expect(report.ok).toBe(true);
  });

  test('with a repeat at the end of the time for repeats', async () => {
    const deployment = new Deployment();
    const log = await deployment.start();
    const wallet = log.wallet();
    const first = wallet.sign();
    const keep = LIMITS.requestMaxAgeSeconds + LIMITS.requestMaxFutureSeconds + LIMITS.auditRepeatSlackSeconds;
    deployment.now = timeMs(first.time + keep * 1000);
    wallet.sign();
    deployment.now = timeMs(first.time + keep * 1000);
    wallet.repeat(first);
    await expectHonest(deployment);
  });
});
