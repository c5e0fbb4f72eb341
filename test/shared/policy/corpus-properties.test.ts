/**
 * Properties over the corpus's own transactions, under their own policies: with program rules, windows, lookup tables
 * and all three versions. `model.test.ts` has the same for generated transfers, beside a model of the chain.
 */
import { timeMs } from '@quantumvault/shared/brands.ts';
import { concatBytes, fromBase64 } from '@quantumvault/shared/bytes.ts';
import { judge, type Verdict } from '@quantumvault/shared/policy/judge.ts';
import { POLICY_FEATURES, type Policy, parsePolicy } from '@quantumvault/shared/policy/policy.ts';
import { NOTHING_SPENT } from '@quantumvault/shared/policy/state.ts';
import type { Instruction, Message } from '@quantumvault/shared/solana/message.ts';
import { inspectTransaction } from '@quantumvault/shared/solana/transaction.ts';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { refusalOf } from '../../support/codes.ts';
import { corpus as wire } from '../solana/vectors.ts';
import { corpus } from './cases.ts';

const numRuns = Number(process.env['PROPERTY_RUNS'] ?? 500);
const NOW = timeMs(Date.parse('2026-11-22T12:00:00Z'));
const policies = new Map(
  Object.entries(corpus.policies).map(([name, policy]) => [name, parsePolicy(policy, { support: POLICY_FEATURES })]),
);
const policyOf = (name: string): Policy => {
  const policy = policies.get(name);
  if (policy === undefined) throw new Error(`no policy ${name}`);
  return policy;
};

interface Decoded {
  readonly policy: Policy;
  readonly message: Message;
}
const decoded: readonly Decoded[] = corpus.cases
  .filter(({ reason }) => reason !== 'malformed')
  .map((vector) => ({
    policy: policyOf(vector.policy),
    message: inspectTransaction(fromBase64(vector.base64)).transaction.message,
  }));
const judged = (policy: Policy, message: Message): Verdict => judge(policy, message, NOW, { state: NOTHING_SPENT });
const allowed = decoded.filter(({ policy, message }) => judged(policy, message).allow);
const instructions = decoded.flatMap(({ message }) => message.instructions);

const keyCount = ({ accountKeys, lookups }: Message): number =>
  accountKeys.length +
  lookups.reduce(
    (sum, { writableIndexes, readonlyIndexes }) => sum + writableIndexes.length + readonlyIndexes.length,
    0,
  );

/** An instruction over the accounts that the message has, its data often that of a real one. */
const added = (message: Message): fc.Arbitrary<Instruction> =>
  fc.record({
    programIndex: fc.integer({ min: 1, max: message.accountKeys.length - 1 }),
    accountIndexes: fc.oneof(
      fc.constantFrom(...message.instructions.map(({ accountIndexes }) => accountIndexes)),
      fc.array(fc.nat(keyCount(message) - 1), { maxLength: 8 }),
    ),
    data: fc.oneof(fc.constantFrom(...instructions.map(({ data }) => data)), fc.uint8Array({ maxLength: 40 })),
  });

describe('an allowed transaction', () => {
  it('is there to try things with', () => {
    expect(allowed.length).toBeGreaterThan(25);
    expect(allowed.some(({ message }) => message.lookups.length > 0)).toBe(true);
    expect(new Set(allowed.map(({ message }) => message.version))).toEqual(new Set(['legacy', '0', '1']));
  });

  it('counts no less with another instruction in it', () => {
    let stillAllowed = 0;
    const anyChange = fc.constantFrom(...allowed).chain(({ policy, message }) =>
      fc.record({
        policy: fc.constant(policy),
        message: fc.constant(message),
        instruction: added(message),
        at: fc.nat(message.instructions.length),
      }),
    );
    fc.assert(
      fc.property(anyChange, ({ policy, message, instruction, at }) => {
        const before = judged(policy, message);
        const longer = [...message.instructions.slice(0, at), instruction, ...message.instructions.slice(at)];
        const after = judged(policy, { ...message, instructions: longer });
        expect(after.lamportsOut).toBeGreaterThanOrEqual(before.lamportsOut);
        for (const [mint, units] of before.tokens) expect(after.tokens.get(mint) ?? 0n).toBeGreaterThanOrEqual(units);
        if (after.allow) stillAllowed++;
      }),
      { numRuns: numRuns * 2 },
    );
    // Most additions are denied, but the property says something of those that are not.
    expect(stillAllowed).toBeGreaterThan(0);
  });
});

describe('the order of instructions', () => {
  it('decides nothing', () => {
    const anyOrder = fc.constantFrom(...decoded).chain(({ policy, message }) =>
      fc.record({
        policy: fc.constant(policy),
        message: fc.constant(message),
        order: fc.shuffledSubarray([...message.instructions.keys()], { minLength: message.instructions.length }),
      }),
    );
    fc.assert(
      fc.property(anyOrder, ({ policy, message, order }) => {
        const shuffled = order.flatMap((index) => message.instructions[index] ?? []);
        const before = judged(policy, message);
        const after = judged(policy, { ...message, instructions: shuffled });
        expect(after.allow).toBe(before.allow);
        expect(after.lamportsOut).toBe(before.lamportsOut);
        expect(after.feeLamports).toBe(before.feeLamports);
        expect(new Map(after.tokens)).toEqual(new Map(before.tokens));
      }),
      { numRuns },
    );
  });
});

describe('arbitrary bytes', () => {
  /** A verdict, or a refusal with a code; anything else is thrown, and a wallet's policy never allows it. */
  function decide(bytes: Uint8Array): boolean {
    const refusal = refusalOf(() => inspectTransaction(bytes));
    if (refusal !== undefined) {
      expect(refusal.code).toMatch(/^transaction_/);
      return false;
    }
    const { message } = inspectTransaction(bytes).transaction;
    for (const policy of policies.values()) {
      const verdict = judged(policy, message);
      expect(verdict.allow).toBe(verdict.denied === undefined);
    }
    return true;
  }

  it('are decided, each in a short time', () => {
    const prefix = fc.constantFrom(Uint8Array.of(), Uint8Array.of(0x81), Uint8Array.of(1), Uint8Array.of(0));
    fc.assert(
      fc.property(prefix, fc.uint8Array({ maxLength: 4_200 }), (start, rest) => {
        const began = performance.now();
        decide(concatBytes(start, rest));
        expect(performance.now() - began).toBeLessThan(1_000);
      }),
      { numRuns },
    );
  });

  it('close to real transactions are decided, many of them after decoding', () => {
    const sources = [...wire.transactions, ...corpus.cases].map(({ base64 }) => fromBase64(base64));
    const change = fc.tuple(fc.nat(4_200), fc.nat(255));
    let judgedOnes = 0;
    fc.assert(
      fc.property(fc.constantFrom(...sources), fc.array(change, { minLength: 1, maxLength: 4 }), (source, changes) => {
        const bytes = Uint8Array.from(source);
        for (const [at, value] of changes) bytes[at % bytes.length] = value;
        if (decide(bytes)) judgedOnes++;
      }),
      { numRuns: numRuns * 2 },
    );
    expect(judgedOnes).toBeGreaterThan(numRuns / 4);
  });
});
