/** qv policy check, qv policy statement: documents explained, and the text an owner signs. */

import { timeMs } from '@quantumvault/shared/brands.ts';
import { toHex, utf8 } from '@quantumvault/shared/bytes.ts';
import {
  POLICY_FEATURES,
  type Policy,
  parsePolicy,
  policyBytes,
  policyHash,
} from '@quantumvault/shared/policy/policy.ts';
import { renderPolicyStatement } from '@quantumvault/shared/policy/statement.ts';
import { describe, expect, test } from 'vitest';
import { corpus, fullPolicy, type Json, simplePolicy } from '../../shared/policy/cases.ts';
import { type JsonAnswer, qv, qvJson } from './call.ts';
import { file } from './documents.ts';

let files = 0;
const policyFile = (policy: unknown): string => file(`policy-${files++}.json`, JSON.stringify(policy));
const check = (policy: unknown, ...more: string[]): Promise<JsonAnswer> =>
  qvJson('policy', 'check', policyFile(policy), ...more);
const hashOf = (policy: Policy): string => toHex(policyHash(policyBytes(policy)));

/** Nothing to warn of. */
const tightPolicy = (): Json => ({
  ...simplePolicy(),
  sol: { ...(simplePolicy()['sol'] as Json), window: { seconds: 60, max: '1' } },
  rate: { perMinute: 1, perDay: 1 },
});

describe('check', () => {
  test.each(Object.entries(corpus.policies))('takes the policy %s', async (_, policy) => {
    const answer = await check(policy);
    expect(answer).toMatchObject({ ok: true, valid: true, errors: [], notEnforced: [] });
    expect(answer['policyHash']).toBe(hashOf(parsePolicy(policy, { support: POLICY_FEATURES })));
  });

  test('names every error with its path', async () => {
    const policy = { ...simplePolicy(), wallet: 'x', epoch: 0, sol: { maxPerTransaction: '1' } };
    const answer = await check(policy);
    expect(answer).toMatchObject({
      ok: false,
      exit: 2,
      valid: false,
      error: { code: 'policy_invalid', path: 'wallet' },
    });
    expect(answer['errors']).toEqual([
      { path: 'wallet', why: 'must be a base58 address' },
      { path: 'epoch', why: 'must be 1 to 4294967295' },
      { path: 'sol.destinations', why: 'missing' },
    ]);
    const { exit, stdout } = await qv('policy', 'check', policyFile(policy));
    expect(exit).toBe(2);
    expect(stdout).toContain('✗ sol.destinations  missing\n');
    expect(stdout).toContain('Not valid: 3 errors.');
  });

  test('warns, and fails for that only when strict', async () => {
    const warnings = [
      { path: 'fees', weakness: 'no-window', meaning: expect.stringMatching(/window/) },
      { path: 'sol', weakness: 'no-window', meaning: expect.stringMatching(/window/) },
    ];
    expect(await check(simplePolicy())).toMatchObject({ exit: 0, valid: true, warnings });
    expect(await check(simplePolicy(), '--strict')).toMatchObject({ ok: false, exit: 1, valid: true, warnings });
    expect(await check(tightPolicy(), '--strict')).toMatchObject({ exit: 0, warnings: [] });
    const { stdout } = await qv('policy', 'check', policyFile(simplePolicy()));
    expect(stdout).toMatch(/! sol {2}no-window: Without a window/);
    expect(stdout).toMatch(/✓ Valid, 2 warnings\. \d+ bytes, SHA-256 [0-9a-f]{64}/);
  });

  test('has nothing left that the enclave does not enforce', async () => {
    const answer = await check(fullPolicy());
    expect(answer).toMatchObject({ exit: 0, valid: true, notEnforced: [] });
    const weaknesses = (answer['warnings'] as { weakness: string }[]).map(({ weakness }) => weakness);
    expect(weaknesses).toEqual(['host-verified', 'program-upgradeable']);
    const { stdout } = await qv('policy', 'check', policyFile(fullPolicy()));
    expect(stdout).not.toContain('does not enforce');
    const strict = { ...tightPolicy(), signals: { ...(fullPolicy()['signals'] as Json), sources: [] } };
    expect(await check(strict)).toMatchObject({ exit: 0, warnings: [] });
    expect(await check(strict, '--strict')).toMatchObject({ exit: 0 });
  });

  test.each([
    ['{', 'json_malformed'],
    ['{"version":1,"version":1}', 'json_malformed'],
    ['[]', 'policy_invalid'],
    ['"x"', 'policy_invalid'],
    ['null', 'policy_invalid'],
  ])('%s is no policy', async (text, code) => {
    expect(await qvJson('policy', 'check', file('no-policy.json', text))).toMatchObject({ exit: 2, error: { code } });
  });

  test('text from the document cannot drive the terminal', async () => {
    const { stdout } = await qv('policy', 'check', policyFile({ ...simplePolicy(), 'a\u001b[2J': 1 }));
    expect(stdout).toContain('a?[2J  unknown field');
  });
});

describe('statement', () => {
  const BEFORE = '2026-11-22T13:00:00Z';
  const statement = (policy: unknown, ...more: string[]): Promise<JsonAnswer> =>
    qvJson('policy', 'statement', policyFile(policy), '--deployment', 'prod-eu', '--enable-before', BEFORE, ...more);
  const rendered = (document: Json, previousHash?: Policy): string => {
    const policy = parsePolicy(document);
    return renderPolicyStatement({
      policy,
      policyHash: policyHash(policyBytes(policy)),
      deployment: 'prod-eu',
      previousHash: previousHash === undefined ? undefined : policyHash(policyBytes(previousHash)),
      enableBeforeMs: timeMs(Date.parse(BEFORE)),
    });
  };

  test('is what the enclave renders', async () => {
    const text = rendered(simplePolicy());
    const answer = await statement(simplePolicy());
    expect(answer).toMatchObject({
      exit: 0,
      statement: text,
      bytes: utf8(text).length,
      deployment: 'prod-eu',
      epoch: 3,
      previousHash: null,
      enableBefore: BEFORE,
      policyHash: hashOf(parsePolicy(simplePolicy())),
    });
    const argv = ['policy', 'statement', policyFile(simplePolicy())];
    const { exit, stdout } = await qv(...argv, '--deployment', 'prod-eu', '--enable-before', BEFORE);
    expect([exit, stdout]).toEqual([0, `${text}\n`]);
  });

  test('names the previous policy, given as file or as hash', async () => {
    const previous = parsePolicy(tightPolicy());
    const text = rendered(simplePolicy(), previous);
    expect(text).toContain(`Previous policy: ${hashOf(previous)}`);
    for (const source of [policyFile(tightPolicy()), hashOf(previous)]) {
      const answer = await statement(simplePolicy(), '--previous', source);
      expect(answer).toMatchObject({ statement: text, previousHash: hashOf(previous) });
    }
  });

  test('is refused for a policy that the enclave does not take', async () => {
    expect(await statement({ ...simplePolicy(), epoch: 0 })).toMatchObject({
      exit: 2,
      error: { code: 'policy_invalid', path: 'epoch' },
    });
  });

  test.each([
    ['--deployment', 'two words', 'field_malformed'],
    ['--enable-before', 'tomorrow', 'usage_invalid'],
    ['--previous', 'abcd', 'input_unreadable'],
    ['--previous', 'A'.repeat(64), 'input_unreadable'],
    ['--previous', '{"version":1}', 'policy_invalid'],
  ])('%s %s is refused', async (option, value, code) => {
    const options: Record<string, string> = { '--deployment': 'prod-eu', '--enable-before': BEFORE, [option]: value };
    const answer = await qvJson('policy', 'statement', policyFile(simplePolicy()), ...Object.entries(options).flat());
    expect(answer).toMatchObject({ exit: 2, error: { code } });
  });
});
