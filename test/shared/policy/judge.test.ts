/** The policy corpus: each case whose policy needs nothing that is not enforced gives its verdict and amounts. */
import { type TimeMs, timeMs } from '@quantumvault/shared/brands.ts';
import { fromBase64 } from '@quantumvault/shared/bytes.ts';
import { codeOf } from '@quantumvault/shared/errors.ts';
import { judge, type Verdict } from '@quantumvault/shared/policy/judge.ts';
import { POLICY_FEATURES, parsePolicy } from '@quantumvault/shared/policy/policy.ts';
import { decodeTransaction } from '@quantumvault/shared/solana/transaction.ts';
import { describe, expect, it } from 'vitest';
import { corpus, type PolicyCase } from './cases.ts';

const everything = { support: POLICY_FEATURES };

/** The case's verdict, or the code of a transaction that does not decode. */
function outcome(vector: PolicyCase): Verdict | string {
  const policy = parsePolicy(corpus.policies[vector.policy], everything);
  const now: TimeMs = timeMs(Date.parse(vector.now));
  try {
    return judge(policy, decodeTransaction(fromBase64(vector.base64)).message, now);
  } catch (error) {
    return codeOf(error);
  }
}

describe('denied', () => {
  const stateful = (vector: PolicyCase): boolean => vector.prior !== undefined;
  it.each(corpus.cases.filter((vector) => vector.expect === 'deny' && !stateful(vector)))(
    '$id: $explanation',
    (vector) => {
      const verdict = outcome(vector);
      if (typeof verdict === 'string') expect(verdict).toMatch(/^transaction_/);
      else {
        expect(verdict.allow).toBe(false);
        expect(verdict.denied?.rule).toBeTruthy();
      }
    },
  );
});

const FIRST = /^allow-(sol|fee|compute|memo|max-instructions|validity|version|v1)/;

describe('allowed', () => {
  it.each(corpus.cases.filter((vector) => vector.expect === 'allow' && FIRST.test(vector.id)))(
    '$id: $explanation',
    (vector) => {
      const verdict = outcome(vector);
      if (typeof verdict === 'string') throw new Error(verdict);
      expect(verdict.denied).toBeUndefined();
      expect({
        lamportsOut: verdict.lamportsOut.toString(),
        fee: verdict.feeLamports.toString(),
        tokens: Object.fromEntries([...verdict.tokens].map(([mint, units]) => [mint, units.toString()])),
      }).toEqual(vector.amounts);
      expect(verdict.rules.every((rule) => rule.outcome === 'allow')).toBe(true);
    },
  );
});
