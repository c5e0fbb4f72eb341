/** Judging a swap through a lookup table under the corpus's trading policy, beside kit decoding the same bytes. */
import { readFileSync } from 'node:fs';
import { timeMs } from '@quantumvault/shared/brands.ts';
import { fromBase64 } from '@quantumvault/shared/bytes.ts';
import { judge } from '@quantumvault/shared/policy/judge.ts';
import { POLICY_FEATURES, parsePolicy } from '@quantumvault/shared/policy/policy.ts';
import { NOTHING_SPENT } from '@quantumvault/shared/policy/state.ts';
import { decodeTransaction } from '@quantumvault/shared/solana/transaction.ts';
import { getCompiledTransactionMessageDecoder, getTransactionDecoder } from '@solana/kit';
import type { Row } from './measure.ts';

const CORPUS = '../vectors/solana/policy-cases.dev.json';
const CASE = 'allow-jupiter-like-1';

interface Corpus {
  readonly policies: Readonly<Record<string, unknown>>;
  readonly cases: readonly { id: string; policy: string; base64: string; now: string }[];
}

export function policyRow(): Row {
  const corpus = JSON.parse(readFileSync(new URL(CORPUS, import.meta.url), 'utf8')) as Corpus;
  const chosen = corpus.cases.find(({ id }) => id === CASE);
  if (chosen === undefined) throw new Error(`no case ${CASE}`);
  const policy = parsePolicy(corpus.policies[chosen.policy], { support: POLICY_FEATURES });
  const wire = fromBase64(chosen.base64);
  const now = timeMs(Date.parse(chosen.now));
  const transactions = getTransactionDecoder();
  const messages = getCompiledTransactionMessageDecoder();
  return {
    name: 'judgements, decoding included',
    ours: async () => {
      const { message } = decodeTransaction(wire);
      if (!judge(policy, message, now, { state: NOTHING_SPENT }).allow) throw new Error('the case is not allowed');
    },
    baseline: 'kit decoding the same bytes',
    theirs: async () => {
      messages.decode(transactions.decode(wire).messageBytes);
    },
  };
}
