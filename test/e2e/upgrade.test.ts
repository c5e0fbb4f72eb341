/** `npm run demo -- --upgrade` as its user runs it: two images, side by side, and a key policy that KMS enforces. */
import { readdirSync } from 'node:fs';
import { afterEach, expect, test } from 'vitest';
import { until } from '../support/temporary.ts';
import { type Child, startScript } from './child.ts';

let child: Child | undefined;
afterEach(() => {
  child?.process.kill('SIGKILL');
  child?.remove();
});

interface Facts {
  readonly ok: boolean;
  readonly policy: { readonly before: readonly string[]; readonly both: readonly string[] };
  readonly boots: { readonly old: string; readonly next: string };
  readonly crashed: unknown;
  readonly moved: { readonly released: number; readonly taken: number; readonly held: number };
  readonly travelled: unknown;
  readonly operators: { readonly refused: readonly string[] };
  readonly retired: {
    readonly faults: readonly string[];
    readonly images: readonly string[];
    readonly refused: unknown;
  };
  readonly log: { readonly boots: number; readonly kinds: Readonly<Record<string, number>> };
  readonly signatures: Readonly<Record<string, number>>;
  readonly failures: number;
}

/** Some thirty processes, one after the other, on a machine that may have other things to do. */
const TIMEOUT_MILLISECONDS = 240_000;

test('tells the whole story, and leaves nothing behind', { timeout: TIMEOUT_MILLISECONDS }, async () => {
  const started = startScript('demo.ts', ['--upgrade', '--json']);
  child = started;
  const exit = await started.ended;
  const facts = JSON.parse(started.stdout()) as Facts;
  expect([exit, started.stderr(), facts.ok]).toEqual([0, '', true]);
  const { policy, boots, moved, operators, retired, log, signatures } = facts;
  // Measured from what differs, not written down anywhere.
  const [old, next] = policy.both;
  expect(policy.before).toEqual([old]);
  expect(retired.images).toEqual([next]);
  for (const pcr0 of [old, next]) expect(pcr0).toMatch(/^[0-9a-f]{96}$/);
  expect(old).not.toBe(next);
  expect(facts.crashed).toEqual({ released: 2, taken: 2 });
  // Those two are released again as they were: whoever asks for all gets the same answer.
  expect(moved).toMatchObject({ released: 8, held: 8 });
  expect(facts.travelled).toEqual({ window: '3000', frozen: 'frozen' });
  expect(operators.refused).toEqual(Array(3).fill('operators_too_few'));
  expect(retired.faults).toEqual(['image_unexpected', 'image_retired']);
  expect(retired.refused).toEqual({ sign: 'kms_refused', create: 'kms_refused' });
  // One backend, two boots, and it noticed nothing.
  expect(facts.failures).toBe(0);
  expect(Object.keys(signatures).sort()).toEqual([boots.old, boots.next].sort());
  const signed = Object.values(signatures).reduce((sum, count) => sum + count, 2);
  expect(log).toMatchObject({ boots: 2, kinds: { boot: 2, release: 16, follows: 1, signed } });
  await until('nothing of it runs', () => started.survivors().length === 0);
  expect(readdirSync(started.folder)).toEqual([]);
});

test('stops everything when it is interrupted', { timeout: TIMEOUT_MILLISECONDS }, async () => {
  const started = startScript('demo.ts', ['--upgrade']);
  child = started;
  await until('it is under way', () => started.stdout().includes('[2/10]'), TIMEOUT_MILLISECONDS);
  started.process.kill('SIGINT');
  expect(await started.ended).toBe(130);
  expect(started.stderr()).toContain('stopped by SIGINT');
  await until('nothing of it runs', () => started.survivors().length === 0);
  expect(readdirSync(started.folder)).toEqual([]);
});
