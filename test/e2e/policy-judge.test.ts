/** `qv policy judge` offline and a dry run inside the enclave: the same rules, in the same order, with the same values. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { toBase64 } from '@quantumvault/shared/bytes.ts';
import type { Transaction } from '@solana/web3.js';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { qvJson } from '../host/cli/call.ts';
import { type KitWallet, MaliciousHost } from '../support/malicious-host.ts';
import { enabling, party, transfer, wireOf } from '../support/wallet-kit.ts';

const folder = mkdtempSync(join(tmpdir(), 'qv-judge-'));
const policyFile = join(folder, 'policy.json');
let host: MaliciousHost;
let wallet: KitWallet;

beforeAll(async () => {
  host = await MaliciousHost.start();
  await host.giveCredentials();
  const own = await host.createWallet();
  const plain = host.documentFor(own);
  const window = { seconds: 86_400, max: '1500' };
  const document = { ...plain, sol: { ...(plain['sol'] as object), window }, rate: { perMinute: 2, perDay: 5 } };
  writeFileSync(policyFile, JSON.stringify(document));
  const request = enabling(own.owner, own.blobs, { deployment: host.backend.deployment, document });
  const enabled = await host.data.request('policyEnable', request);
  wallet = { ...own, policy: { bytes: request.policy, mac: enabled.mac } };
});
afterAll(async () => {
  rmSync(folder, { recursive: true, force: true });
  await host?.stop();
});

/** Both verdicts, without the values that name the time of judging. */
async function verdicts(transaction: Transaction, prior: readonly object[] = []) {
  const reply = await host.data.request('sign', host.request(wallet, { transaction, body: { dryRun: true } }));
  const wire = toBase64(wireOf(transaction));
  const argv = ['--policy', policyFile, '--transaction', wire, '--prior', JSON.stringify(prior)];
  const offline = await qvJson('policy', 'judge', ...argv);
  const timeless = (rules: unknown) =>
    (rules as readonly { rule: string; outcome: string; value?: string }[]).map((entry) =>
      entry.rule.startsWith('valid') ? { rule: entry.rule, outcome: entry.outcome } : entry,
    );
  return {
    enclave: { allow: reply.allow, out: reply.amounts.lamportsOut.toString(), rules: timeless(reply.rules) },
    offline: { allow: offline.exit === 0, out: offline['lamportsOut'], rules: timeless(offline['rules']) },
  };
}

describe('the enclave and qv', () => {
  it('agree on what is allowed, and on what is not', async () => {
    for (const [to, lamports] of [
      [wallet.destination, 1_000n],
      [wallet.destination, 1_501n],
      [wallet.destination, 2_000_000n],
      [party().address, 1n],
    ] as const) {
      const { enclave, offline } = await verdicts(transfer(wallet.address, to, lamports));
      expect(offline).toEqual(enclave);
    }
  });

  it('agree on windows and rates, given what was signed before', async () => {
    const prior = [];
    for (let signed = 0; signed < 2; signed++) {
      await host.data.request('sign', host.request(wallet, { lamports: 700n }));
      prior.push({ at: `${new Date().toISOString().slice(0, 19)}Z`, lamportsOut: '700' });
    }
    const { enclave, offline } = await verdicts(transfer(wallet.address, wallet.destination, 101n), prior);
    expect(offline).toEqual(enclave);
    expect(offline.rules).toContainEqual({ rule: 'sol.window', outcome: 'deny', value: '1501' });
    expect(offline.rules).toContainEqual({ rule: 'rate.perMinute', outcome: 'deny', value: '3' });
  });
});
