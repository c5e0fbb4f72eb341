/** qv policy judge: the whole policy corpus through the command, and what it does with unusual input. */
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { fromBase64, toBase64 } from '@quantumvault/shared/bytes.ts';
import { describe, expect, test } from 'vitest';
import {
  corpus,
  DESTINATION,
  fullPolicy,
  type Json,
  type PolicyCase,
  simplePolicy,
  USDC,
} from '../../shared/policy/cases.ts';
import { corpus as wire } from '../../shared/solana/vectors.ts';
import { noteCode } from '../../support/codes-seen.ts';
import { type JsonAnswer, qv, qvJson } from './call.ts';
import { file } from './documents.ts';

const POLICIES = Object.fromEntries(
  Object.entries(corpus.policies).map(([name, policy]) => [name, file(`${name}.json`, JSON.stringify(policy))]),
);
const NOON = '2026-11-22T12:00:00Z';

function argumentsOf({ policy, base64, now, prior }: PolicyCase): readonly string[] {
  const common = ['--policy', POLICIES[policy] ?? '', '--transaction', base64, '--now', now];
  return ['policy', 'judge', ...common, ...(prior === undefined ? [] : ['--prior', JSON.stringify(prior)])];
}

function expectVerdict(answer: JsonAnswer, vector: PolicyCase): void {
  if (vector.expect === 'allow') {
    expect(answer).toMatchObject({ ok: true, exit: 0, verdict: 'allow', now: vector.now });
    const { lamportsOut, fee, tokens } = answer;
    expect({ lamportsOut, fee, tokens }).toEqual(vector.amounts);
    expect(answer).not.toHaveProperty('rule');
  } else if (vector.reason === 'malformed') {
    expect(answer).toMatchObject({ ok: false, exit: 2, error: { code: expect.stringMatching(/^transaction_/) } });
  } else {
    expect(answer).toMatchObject({ ok: false, exit: 3, verdict: 'deny' });
    expect(answer['rule']).toMatch(/./);
    expect(answer['value']).toMatch(/./);
    expect(answer['rules']).toContainEqual({ rule: answer['rule'], outcome: 'deny', value: answer['value'] });
  }
}

describe('the corpus', () => {
  test.each(corpus.cases)('$id: $explanation', async (vector) => {
    expectVerdict(await qvJson(...argumentsOf(vector)), vector);
  });

  test('holds cases of every outcome, and some with earlier spends', () => {
    expect(new Set(corpus.cases.map(({ expect: outcome }) => outcome))).toEqual(new Set(['allow', 'deny']));
    expect(corpus.cases.filter(({ prior }) => prior !== undefined).length).toBeGreaterThan(3);
  });
});

const CLI = join(import.meta.dirname, '..', '..', '..', 'host', 'src', 'cli', 'qv.ts');

/** The binary in a process of its own. */
async function processOf(argv: readonly string[], input = ''): Promise<JsonAnswer> {
  const child = promisify(execFile)(process.execPath, [CLI, ...argv, '--json']);
  // qv stops reading when it has seen enough.
  child.child.stdin?.on('error', () => undefined).end(input);
  const { stdout, code } = await child.then(
    ({ stdout }) => ({ stdout, code: 0 }),
    (error: { stdout: string; code: number }) => error,
  );
  const answer = JSON.parse(stdout) as JsonAnswer;
  expect(answer.exit).toBe(code);
  if (answer.error !== undefined) noteCode(answer.error.code);
  return answer;
}

const firstOf = (matches: (vector: PolicyCase) => boolean): PolicyCase => {
  const found = corpus.cases.find(matches);
  if (found === undefined) throw new Error('no such case');
  return found;
};
const allowed = firstOf(({ expect: outcome, policy }) => outcome === 'allow' && policy === 'transfers');
const SAMPLE = [
  allowed,
  firstOf(({ reason }) => reason === 'malformed'),
  ...corpus.cases.filter(({ prior }) => prior !== undefined),
];

describe('the binary', () => {
  test.each(SAMPLE)('$id', async (vector) => {
    expectVerdict(await processOf(argumentsOf(vector)), vector);
  });

  test.each(['policy', 'transaction', 'prior'])('takes the %s from standard input', async (name) => {
    const prior = JSON.stringify([{ at: '2026-11-22T11:00:00Z' }]);
    const policy = JSON.stringify(corpus.policies[allowed.policy]);
    const contents: Record<string, string> = { policy, transaction: `${allowed.base64}\n`, prior };
    const given = { policy: POLICIES[allowed.policy] ?? '', transaction: allowed.base64, prior, [name]: '-' };
    const argv = Object.entries(given).flatMap(([key, value]) => [`--${key}`, value]);
    expect(await processOf(['policy', 'judge', '--now', NOON, ...argv], contents[name])).toMatchObject({
      exit: 0,
      verdict: 'allow',
    });
  });

  test('refuses endless standard input', async () => {
    const argv = ['policy', 'judge', '--policy', '-', '--transaction', allowed.base64];
    const answer = await processOf(argv, 'x'.repeat(300 * 1024));
    expect(answer).toMatchObject({ exit: 2, error: { code: 'body_too_large', path: '-' } });
  });
});

const judged = (...argv: readonly string[]): Promise<JsonAnswer> => qvJson('policy', 'judge', '--now', NOON, ...argv);
let policies = 0;
const policyFile = (policy: Json): string => file(`policy-${policies++}.json`, JSON.stringify(policy));

describe('inputs', () => {
  test('transaction, prior and signal may stand in files', async () => {
    const transaction = file('transaction.b64', `${allowed.base64}\n`);
    const prior = file('prior.json', '[]');
    const policy = POLICIES[allowed.policy] ?? '';
    expect(await judged('--policy', policy, '--transaction', transaction, '--prior', prior)).toMatchObject({ exit: 0 });
  });

  test('the real clock decides unless --now is given', async () => {
    const expired = {
      ...corpus.policies[allowed.policy],
      validFrom: '2020-01-01T00:00:00Z',
      validUntil: '2020-01-02T00:00:00Z',
    };
    const argv = ['--policy', policyFile(expired), '--transaction', allowed.base64];
    expect(await qvJson('policy', 'judge', ...argv)).toMatchObject({ exit: 3, rule: 'validUntil' });
    expect(await qvJson('policy', 'judge', ...argv, '--now', '2020-01-01T12:00:00Z')).toMatchObject({ exit: 0 });
  });

  test.each([
    ['--now', '2026-11-22', 'usage_invalid'],
    ['--now', '2026-11-22T12:00:00+01:00', 'usage_invalid'],
    ['--transaction', 'AQ==', 'transaction_truncated'],
    ['--transaction', 'AQ', 'base64_malformed'],
    ['--transaction', '/nowhere/transaction.b64', 'base64_malformed'],
    ['--transaction', '/', 'base64_malformed'],
    ['--policy', '/nowhere.json', 'input_unreadable'],
    ['--policy', file('broken.json', '{'), 'json_malformed'],
    ['--policy', file('twice.json', '{"version":1,"version":1}'), 'json_malformed'],
    ['--policy', file('list.json', '[]'), 'policy_invalid'],
    ['--policy', '{"version":2}', 'policy_invalid'],
    ['--prior', '{}', 'field_malformed'],
    ['--prior', '[1]', 'field_malformed'],
    ['--prior', '[{}]', 'field_malformed'],
    ['--prior', '[{"at":"yesterday"}]', 'field_malformed'],
    ['--prior', `[{"at":"${NOON}","lamportsOut":5}]`, 'field_malformed'],
    ['--prior', `[{"at":"${NOON}","lamportsOut":"-5"}]`, 'field_malformed'],
    ['--prior', `[{"at":"${NOON}","lamports":"5"}]`, 'field_malformed'],
    ['--prior', `[{"at":"${NOON}","tokens":{"${USDC}":"05"}}]`, 'field_malformed'],
    ['--prior', `[{"at":"${NOON}","tokens":{"USDC":"5"}}]`, 'base58_malformed'],
    ['--prior', `[{"at":"${NOON}","tokens":[]}]`, 'field_malformed'],
    ['--prior', '[{"at"]', 'json_malformed'],
    ['--signal', '{}', 'field_malformed'],
    ['--signal', `{"source":"a","id":"1","at":"${NOON}","verifiedBy":"me"}`, 'field_malformed'],
    ['--signal', `{"source":"a","id":"1","at":"${NOON}","more":1}`, 'field_malformed'],
    ['--signal', '/nowhere.json', 'input_unreadable'],
  ])('%s %s is refused', async (option, value, code) => {
    const options: Record<string, string> = {
      '--policy': POLICIES[allowed.policy] ?? '',
      '--transaction': allowed.base64,
      [option]: value,
    };
    const answer = await qvJson('policy', 'judge', ...Object.entries(options).flat());
    expect(answer).toMatchObject({ ok: false, exit: 2, error: { code } });
  });

  test('a policy that could never be enabled is refused', async () => {
    const many = Array.from(
      { length: 250 },
      (_, index) => `${DESTINATION.slice(0, -3)}${(111 + index).toString().replaceAll('0', 'z')}`,
    );
    const lookupTables = Object.fromEntries(many.slice(0, 4).map((table) => [table, many]));
    const policy = { ...simplePolicy(), transaction: { ...(simplePolicy()['transaction'] as Json), lookupTables } };
    const answer = await judged('--policy', policyFile(policy), '--transaction', allowed.base64);
    expect(answer).toMatchObject({ exit: 2, error: { code: 'policy_too_large' } });
  });

  test('only one of them can be standard input', async () => {
    const answer = await judged('--policy', '-', '--transaction', '-');
    expect(answer).toMatchObject({ exit: 2, error: { code: 'usage_invalid' } });
  });
});

describe('a suspicious transaction', () => {
  test.each(wire.malformed.filter((record) => record.class === 'suspicious'))('$id is denied', async ({ base64 }) => {
    const answer = await judged('--policy', POLICIES['transfers'] ?? '', '--transaction', base64);
    expect(answer).toMatchObject({ exit: 3, verdict: 'deny' });
  });

  test('is denied for that, even where nothing else speaks against it', async () => {
    const bytes = fromBase64(allowed.base64);
    // One signature slot, the header and three keys stand before the blockhash of this legacy transfer.
    bytes.fill(0, 1 + 64 + 4 + 96, 1 + 64 + 4 + 96 + 32);
    const answer = await judged('--policy', POLICIES[allowed.policy] ?? '', '--transaction', toBase64(bytes));
    expect(answer).toMatchObject({ exit: 3, rule: 'transaction_blockhash_zero' });
  });
});

describe('what was signed before', () => {
  const window = (max: string) => ({ fees: { maxLamports: '100000', window: { seconds: 60, max } } });
  const withFees = (max: string): string => policyFile({ ...simplePolicy(), ...window(max) });
  const priorOf = (...entries: Json[]): string => JSON.stringify(entries);

  test('counts a fee, that of one signature unless given', async () => {
    const argv = ['--transaction', allowed.base64, '--prior', priorOf({ at: '2026-11-22T11:59:30Z' })];
    expect(await judged('--policy', withFees('10000'), ...argv)).toMatchObject({ exit: 0 });
    expect(await judged('--policy', withFees('9999'), ...argv)).toMatchObject({
      exit: 3,
      rule: 'fees.window',
      value: '10000',
    });
    const dear = priorOf({ at: '2026-11-22T11:59:30Z', fee: '5001' });
    expect(await judged('--policy', withFees('10000'), '--transaction', allowed.base64, '--prior', dear)).toMatchObject(
      {
        value: '10001',
      },
    );
  });

  test('counts in any order', async () => {
    const [old, recent] = [{ at: '2026-11-22T11:00:00Z' }, { at: '2026-11-22T11:59:30Z' }];
    for (const prior of [priorOf(old, recent), priorOf(recent, old)])
      expect(
        await judged('--policy', withFees('10000'), '--transaction', allowed.base64, '--prior', prior),
      ).toMatchObject({
        exit: 0,
      });
  });
});

describe('signals', () => {
  const policy = policyFile({
    ...simplePolicy(),
    signals: { ...(fullPolicy()['signals'] as Json), signaturesPerSignal: 1 },
  });
  const at = '2026-11-22T11:59:30Z';
  const judgedWith = (signal: Json | undefined, prior: readonly Json[] = []): Promise<JsonAnswer> =>
    judged(
      ...['--policy', policy, '--transaction', allowed.base64, '--prior', JSON.stringify(prior)],
      ...(signal === undefined ? [] : ['--signal', JSON.stringify(signal)]),
    );

  test('are judged, although the enclave does not take them yet', async () => {
    expect(await judgedWith({ source: 'alpha', id: '1', at, verifiedBy: 'enclave' })).toMatchObject({ exit: 0 });
    expect(await judgedWith({ source: 'tv-main', id: '1', at })).toMatchObject({ exit: 0 });
    expect(await judgedWith({ source: 'alpha', id: '1', at })).toMatchObject({ exit: 3, rule: 'signals.sources' });
    expect(await judgedWith(undefined)).toMatchObject({ exit: 3, rule: 'signals.required' });
  });

  test('are used up by what was signed before', async () => {
    const signal = { source: 'tv-main', id: '1', at };
    expect(await judgedWith(signal, [{ at, signal }])).toMatchObject({ exit: 3, rule: 'signals.signaturesPerSignal' });
    expect(await judgedWith(signal, [{ at, signal: { ...signal, id: '2' } }])).toMatchObject({ exit: 0 });
  });
});

describe('people', () => {
  test('see every rule, the amounts and the verdict', async () => {
    const { exit, stdout } = await qv(...argumentsOf(allowed));
    expect(exit).toBe(0);
    expect(stdout).toMatch(/✓ validUntil {2}2026-11-22T12:00:00Z/);
    expect(stdout).toMatch(/SOL out +250000000 lamports\n +Fee +5000 lamports/);
    expect(stdout).toContain('✓ Allowed by the policy.');
  });

  test('see which rule denies', async () => {
    const { exit, stdout } = await qv(...argumentsOf(firstOf(({ id }) => id === 'window-over-3')));
    expect(exit).toBe(3);
    expect(stdout).toMatch(/✗ tokens\[0\]\.window {2}\d+/);
    expect(stdout).toMatch(/Tokens out +\d+ units of EPjF/);
    expect(stdout).toMatch(/✗ Denied by tokens\[0\]\.window: \d+/);
  });
});
