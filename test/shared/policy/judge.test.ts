/** The policy corpus: every case gives its verdict, an allow its amounts, and a denial the rule that is expected. */
import { type Address, address, timeMs } from '@quantumvault/shared/brands.ts';
import { fromBase64 } from '@quantumvault/shared/bytes.ts';
import { codeOf } from '@quantumvault/shared/errors.ts';
import { judge, type Verdict } from '@quantumvault/shared/policy/judge.ts';
import { POLICY_FEATURES, parsePolicy } from '@quantumvault/shared/policy/policy.ts';
import { NOTHING_SPENT, reserve, type SpendState } from '@quantumvault/shared/policy/state.ts';
import { decodeTransaction, inspectTransaction } from '@quantumvault/shared/solana/transaction.ts';
import { describe, expect, it } from 'vitest';
import { corpus, type PolicyCase } from './cases.ts';

const everything = { support: POLICY_FEATURES };
const timeOf = (text: string) => timeMs(Date.parse(text));

function stateBefore(vector: PolicyCase): SpendState {
  return (vector.prior ?? []).reduce((state, spend) => {
    const tokens = Object.entries(spend.tokens ?? {}).map(([mint, units]): [Address, bigint] => [
      address(mint),
      BigInt(units),
    ]);
    const lamportsOut = BigInt(spend.lamportsOut ?? '0');
    return reserve(state, { lamportsOut, feeLamports: 5000n, tokens: new Map(tokens) }, timeOf(spend.at));
  }, NOTHING_SPENT);
}

function verdictOf(vector: PolicyCase, decode: typeof decodeTransaction): Verdict {
  const policy = parsePolicy(corpus.policies[vector.policy], everything);
  return judge(policy, decode(fromBase64(vector.base64)).message, timeOf(vector.now), { state: stateBefore(vector) });
}

/** What the corpus calls each reason, and what we call it where that differs. */
const RULES: Readonly<Record<string, RegExp>> = {
  'sol-destination-not-allowed': /^sol\.destinations$/,
  'sol-over-transaction-limit': /^sol\.maxPerTransaction$/,
  'sol-over-window-limit': /^sol\.window$/,
  'token-over-transaction-limit': /^tokens\[\d\]\.maxPerTransaction$/,
  'token-over-window-limit': /^tokens\[\d\]\.window$/,
  'fee-too-high': /^fees\.maxLamports$/,
  'too-many-instructions': /^transaction\.maxInstructions$/,
  'version-not-allowed': /^transaction\.versions$/,
  'extra-signer': /^signers$/,
  'fee-payer-not-wallet': /^feePayer$/,
  'policy-expired': /^validUntil$/,
  'policy-not-yet-valid': /^validFrom$/,
  'rate-per-minute': /^rate\.perMinute$/,
  'rate-per-day': /^rate\.perDay$/,
  'no-instructions': /^transaction_instructions_none$/,
  'duplicate-lookup-table': /^transaction_lookup_table_repeated$/,
  'account-loaded-twice': /^(account-loaded-twice|transaction_lookup_index_repeated)$/,
  malformed: /^transaction_/,
};

describe('denied', () => {
  it.each(corpus.cases.filter((vector) => vector.expect === 'deny'))('$id: $explanation', (vector) => {
    const expected = RULES[vector.reason] ?? new RegExp(`^${vector.reason}$`);
    let verdict: Verdict;
    try {
      verdict = verdictOf(vector, (wire) => inspectTransaction(wire).transaction);
    } catch (error) {
      expect(vector.reason).toBe('malformed');
      expect(codeOf(error)).toMatch(expected);
      return;
    }
    expect(verdict.allow).toBe(false);
    expect(verdict.denied?.rule).toMatch(expected);
    expect(verdict.denied).toMatchObject({ value: expect.stringMatching(/./) });
  });
});

describe('allowed', () => {
  it.each(corpus.cases.filter((vector) => vector.expect === 'allow'))('$id: $explanation', (vector) => {
    const verdict = verdictOf(vector, decodeTransaction);
    expect(verdict.denied).toBeUndefined();
    expect({
      lamportsOut: verdict.lamportsOut.toString(),
      fee: verdict.feeLamports.toString(),
      tokens: Object.fromEntries([...verdict.tokens].map(([mint, units]) => [mint, units.toString()])),
    }).toEqual(vector.amounts);
    expect(verdict.allow).toBe(true);
    expect(verdict.rules.every((rule) => rule.outcome === 'allow')).toBe(true);
  });

  it('only with the state that windows and rates need', () => {
    const [vector] = corpus.cases;
    if (vector === undefined) throw new Error('no case');
    const policy = parsePolicy(corpus.policies[vector.policy], everything);
    const { message } = decodeTransaction(fromBase64(vector.base64));
    const verdict = judge(policy, message, timeOf(vector.now));
    expect(verdict.denied).toEqual({ rule: 'sol.window', value: 'no state' });
  });
});

describe('a dry run', () => {
  it('shows every rule and the amounts, also of what is denied', () => {
    const vector = corpus.cases.find(({ id }) => id === 'create-account-2');
    if (vector === undefined) throw new Error('no case');
    const verdict = verdictOf(vector, decodeTransaction);
    expect(verdict.denied?.rule).toBe('create-account');
    expect(verdict.lamportsOut).toBe(900_000_000n);
    const names = verdict.rules.map(({ rule }) => rule);
    for (const rule of ['validFrom', 'transaction.versions', 'feePayer', 'signers', 'fees.maxLamports', 'rate.perDay'])
      expect(names).toContain(rule);
  });
});
