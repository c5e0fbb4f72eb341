/** A requester's key is replaced by two epochs of the policy, as `qv policy next` writes them, while it signs. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ownerFromSigner, type Signer } from '@quantumvault/host/client/client.ts';
import { type Hash, hash } from '@quantumvault/shared/brands.ts';
import { fromHex } from '@quantumvault/shared/bytes.ts';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { qv, qvJson } from '../host/cli/call.ts';
import { clientOf, firstPolicy, transfer } from '../stack/scenario.ts';
import { type Stack, startStack } from '../stack/stack.ts';
import { throwawayKey } from '../stack/throwaway.ts';
import { expectCode } from '../support/codes.ts';

let stack: Stack;
beforeAll(async () => {
  stack = await startStack({ witnesses: 'none' });
});
afterAll(() => stack?.stop());

describe('a requester’s key', () => {
  it('is replaced without a gap, windows included, and the old one counts for nothing afterwards', async () => {
    const [ownerKey, old, next, destination] = [throwawayKey(), throwawayKey(), throwawayKey(), throwawayKey()];
    const owner = ownerFromSigner(ownerKey.signer);
    const client = clientOf(stack);
    const { wallet } = await client.createWallet({ owner, requesters: [old.signer.address] });
    const sign = (requester: Signer, lamports: bigint, id?: string) => {
      const { wire } = transfer(wallet, destination.signer.address, lamports);
      return client.sign({ wallet, transaction: wire, requester, ...(id && { id }) });
    };
    const file = (epoch: number): string => join(stack.dir, `policy-${epoch}.json`);
    const parties = {
      wallet,
      owner: owner.address,
      requester: old.signer.address,
      destination: destination.signer.address,
    };
    const first = firstPolicy(parties, Date.now());
    const policy = { ...first, sol: { ...first.sol, window: { seconds: 3600, max: '2500' } } };
    writeFileSync(file(1), JSON.stringify(policy));
    let previousHash: Hash = (await client.enablePolicy({ owner, policy })).policyHash;
    /** As an owner does it: the next document out of the last one, and nothing else. */
    const enableNext = async (epoch: number, ...change: string[]): Promise<void> => {
      const answer = await qvJson('policy', 'next', file(epoch - 1), ...change);
      expect(answer).toMatchObject({ ok: true, epoch });
      expect(hash(fromHex(String(answer['previousHash'])))).toEqual(previousHash);
      writeFileSync(file(epoch), JSON.stringify(answer['policy']));
      const enabled = await client.enablePolicy({ owner, policy: answer['policy'], previousHash });
      previousHash = enabled.policyHash;
    };
    await sign(old.signer, 1_000n);
    await expectCode(sign(next.signer, 1n), 'request_signature_invalid');
    await enableNext(2, '--add-requester', next.signer.address);
    const both = await Promise.all([sign(old.signer, 500n), sign(next.signer, 500n)]);
    expect(both.map(({ leaf }) => leaf.actor)).toEqual([old.signer.address, next.signer.address]);
    await enableNext(3, '--remove-requester', old.signer.address);
    await expectCode(sign(old.signer, 1n), 'request_signature_invalid');
    await sign(next.signer, 500n);
    // What the old key spent is spent.
    const denied = await expectCode(sign(next.signer, 1n), 'policy_denied');
    expect(denied.facts).toMatchObject({ path: 'sol.window', value: '2501' });
  });
});

describe('qv policy next', () => {
  const policyFile = async (): Promise<string> => {
    const keys = [throwawayKey(), throwawayKey(), throwawayKey(), throwawayKey()].map(({ signer }) => signer.address);
    const [wallet, owner, requester, destination] = keys as [never, never, never, never];
    const path = join(stack.dir, 'policy.json');
    writeFileSync(path, JSON.stringify(firstPolicy({ wallet, owner, requester, destination }, Date.now())));
    return path;
  };
  const someone = (): string => throwawayKey().signer.address;

  it('changes the requesters and the epoch, and nothing else', async () => {
    const path = await policyFile();
    const added = someone();
    const answer = await qvJson('policy', 'next', path, '--add-requester', added);
    const before = (await qvJson('policy', 'check', path))['policyHash'];
    expect(answer['previousHash']).toBe(before);
    const { exit, stdout } = await qv('policy', 'next', path, '--add-requester', added);
    expect(exit).toBe(0);
    expect(JSON.parse(stdout)).toEqual(answer['policy']);
    const { requesters, epoch, ...rest } = JSON.parse(stdout) as Record<string, unknown>;
    expect([(requesters as string[]).length, (requesters as string[])[1], epoch]).toEqual([2, added, 2]);
    const statement = await qvJson(
      ...['policy', 'statement', stdout, '--previous', path, '--deployment', 'test'],
      ...['--enable-before', '2100-01-01T00:00:00Z'],
    );
    expect(statement).toMatchObject({ ok: true, epoch: 2, previousHash: before });
    expect(Object.keys(rest)).not.toContain('requesters');
  });

  it('refuses what changes nothing, and what no enclave would enable', async () => {
    const path = await policyFile();
    const policy = (await qvJson('policy', 'next', path, '--add-requester', someone()))['requesters'] as string[];
    const own = policy[0] ?? '';
    for (const argv of [[], ['--add-requester', own], ['--remove-requester', someone()]])
      expect(await qvJson('policy', 'next', path, ...argv)).toMatchObject({
        exit: 2,
        error: { code: 'usage_invalid' },
      });
    const swapped = ['--remove-requester', own, '--add-requester', own];
    expect(await qvJson('policy', 'next', path, ...swapped)).toMatchObject({ error: { code: 'usage_invalid' } });
    const many = Array.from({ length: 16 }, () => ['--add-requester', someone()]).flat();
    expect(await qvJson('policy', 'next', path, ...many)).toMatchObject({ exit: 2, error: { code: 'policy_invalid' } });
    expect(await qvJson('policy', 'next', path, '--add-requester', 'x')).toMatchObject({
      error: { code: 'base58_malformed', path: '--add-requester' },
    });
  });
});
