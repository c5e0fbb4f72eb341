/** `npm run demo` as its user runs it. */
import { readdirSync } from 'node:fs';
import { fromBase58 } from '@quantumvault/shared/base58.ts';
import { addressBytes, type BootId, bootIdOf } from '@quantumvault/shared/brands.ts';
import { fromBase64, fromHex } from '@quantumvault/shared/bytes.ts';
import type { Receipt } from '@quantumvault/shared/evidence/leaf.ts';
import { verifyReceipt } from '@quantumvault/shared/evidence/verify.ts';
import { Transaction } from '@solana/web3.js';
import nacl from 'tweetnacl';
import { afterEach, describe, expect, test } from 'vitest';
import { until } from '../support/temporary.ts';
import { type Child, startScript } from './child.ts';

let child: Child | undefined;
afterEach(() => {
  child?.process.kill('SIGKILL');
  child?.remove();
});

async function run(...args: readonly string[]) {
  child = startScript('demo.ts', args);
  const exit = await child.ended;
  return { exit, stdout: child.stdout(), stderr: child.stderr() };
}

/** Nothing of it lies around, and nothing runs: the kms-agent ends by itself once its enclave is gone. */
async function expectNothingLeft(): Promise<void> {
  await until('nothing of it runs', () => child?.survivors().length === 0);
  expect(readdirSync(child?.folder ?? '')).toEqual([]);
}

interface DemoFacts {
  readonly ok: boolean;
  readonly wallet: string;
  readonly owner: string;
  readonly requester: string;
  readonly boot: string;
  readonly policy: { readonly hash: string; readonly epoch: number; readonly statement: string };
  readonly signed: {
    readonly signature: string;
    readonly transaction: string;
    readonly lamportsOut: string;
    readonly messageHash: string;
    readonly verifiedBy: readonly string[];
    readonly receipt: {
      readonly leaf: string;
      readonly signature: string;
      readonly kind: string;
      readonly witnesses: number;
    };
  };
  readonly refused: { readonly code: string; readonly rule: string; readonly value: string };
  readonly dryRun: { readonly verdict: string; readonly rules: readonly { rule: string; outcome: string }[] };
  readonly log: { readonly leaves: number; readonly boots: number; readonly kinds: Record<string, number> };
  readonly attestation: { readonly pcrs: Record<string, string>; readonly steps: readonly { status: string }[] };
}

describe('npm run demo', () => {
  test('tells the whole story and leaves nothing behind', async () => {
    const { exit, stdout, stderr } = await run();
    expect(stderr).toBe('');
    expect(exit).toBe(0);
    for (const number of [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]) expect(stdout).toContain(`[${number}/10]`);
    for (const part of [
      'qv/create-wallet/v1',
      'certificate verified',
      'qv/enable-policy/v1',
      'Panic code',
      'verified with tweetnacl',
      'verified with @solana/web3.js',
      'policy_denied: rule sol.maxPerTransaction, value 50000001',
      'verdict: deny',
      'PCR0',
      'Document is signed by its certificate',
      'none missing',
      'all processes ended',
    ])
      expect(stdout).toContain(part);
    expect(stdout).not.toContain('\u001b');
    await expectNothingLeft();
  });

  test('--json is one object, and what it says can be verified again', async () => {
    const { exit, stdout, stderr } = await run('--json');
    expect([exit, stderr]).toEqual([0, '']);
    expect(stdout).toMatch(/^\{[^\n]*\}\n$/);
    const facts = JSON.parse(stdout) as DemoFacts;
    expect(facts.ok).toBe(true);
    expect(facts.policy).toMatchObject({ epoch: 1, statement: expect.stringContaining(facts.policy.hash) });
    expect(facts.refused).toMatchObject({ code: 'policy_denied', rule: 'sol.maxPerTransaction', value: '50000001' });
    expect(facts.log).toMatchObject({ leaves: 5, boots: 1, kinds: { signed: 1, denied: 1 } });
    expect(facts.signed.receipt.witnesses).toBeGreaterThanOrEqual(2);
    expect(facts.dryRun.verdict).toBe('deny');
    expect(facts.dryRun.rules.find(({ outcome }) => outcome === 'deny')?.rule).toBe('sol.destinations');
    expect(Object.keys(facts.attestation.pcrs)).toEqual(['PCR0', 'PCR1', 'PCR2', 'PCR3', 'PCR4']);
    expect(facts.attestation.steps.every(({ status }) => status === 'pass' || status === 'skipped')).toBe(true);

    const { signed } = facts;
    const transaction = Transaction.from(fromBase64(signed.transaction));
    expect(transaction.verifySignatures(true)).toBe(true);
    const wallet = fromBase58(facts.wallet, 32);
    const signature = fromBase58(signed.signature, 64);
    expect(nacl.sign.detached.verify(transaction.serializeMessage(), signature, wallet)).toBe(true);
    const receipt = { leaf: fromBase64(signed.receipt.leaf), signature: fromBase64(signed.receipt.signature) };
    const boot: BootId = bootIdOf(fromBase58(facts.boot, 32));
    const { leaf } = verifyReceipt(receipt as Receipt, { boot, kind: 'signed' }, (bytes, message, key) =>
      nacl.sign.detached.verify(message, bytes, key),
    );
    expect(leaf).toMatchObject({ wallet: facts.wallet, actor: facts.requester });
    expect(leaf.messageHash).toEqual(fromHex(signed.messageHash));
    expect(leaf.amounts?.lamportsOut).toBe(BigInt(signed.lamportsOut));
    expect(addressBytes(boot)).toHaveLength(32);
    await expectNothingLeft();
  });

  test('a failure is said in one line, and exits with 1', async () => {
    child = startScript('demo.ts', [], { TMPDIR: '/nonexistent' });
    expect(await child.ended).toBe(1);
    expect(child.stderr()).toMatch(/\ndemo: ENOENT.*\n$/);
    child.remove();
    child = startScript('demo.ts', ['--json'], { TMPDIR: '/nonexistent' });
    expect(await child.ended).toBe(1);
    expect(JSON.parse(child.stdout())).toMatchObject({
      ok: false,
      error: { message: expect.stringContaining('ENOENT') },
    });
  });

  test('an unknown option is refused', async () => {
    const { exit, stdout, stderr } = await run('--nope');
    expect([exit, stdout]).toEqual([2, '']);
    expect(stderr).toContain('usage: npm run demo');
  });

  test.each([
    ['SIGINT', 130, 'booting the enclave'],
    ['SIGTERM', 143, '[2/10]'],
  ] as const)('%s stops everything', async (signal, exit, when) => {
    const started = startScript('demo.ts');
    child = started;
    await until(`it says ${when}`, () => started.stdout().includes(when));
    started.process.kill(signal);
    expect(await started.ended).toBe(exit);
    expect(started.stderr()).toContain(`stopped by ${signal}`);
    await expectNothingLeft();
  });

  test('killed outright, it takes its processes with it', async () => {
    const started = startScript('demo.ts');
    child = started;
    await until('the enclave runs', () => started.stdout().includes('starting the host'));
    started.process.kill('SIGKILL');
    await started.ended;
    await until('nothing of it runs', () => started.survivors().length === 0);
  });
});
