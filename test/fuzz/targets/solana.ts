/** Solana transactions and the data of instructions, held against kit and web3.js. */
import { timeMs } from '@quantumvault/shared/brands.ts';
import { concatBytes, fromHex } from '@quantumvault/shared/bytes.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { judge } from '@quantumvault/shared/policy/judge.ts';
import { parsePolicy } from '@quantumvault/shared/policy/policy.ts';
import { NOTHING_SPENT } from '@quantumvault/shared/policy/state.ts';
import { decodeAssociatedToken } from '@quantumvault/shared/solana/associated-token.ts';
import { decodeComputeBudget } from '@quantumvault/shared/solana/compute-budget.ts';
import { describeInstruction } from '@quantumvault/shared/solana/describe.ts';
import { decodeAssertion } from '@quantumvault/shared/solana/lighthouse.ts';
import { decodeMessage, encodeMessage, type Message } from '@quantumvault/shared/solana/message.ts';
import {
  ASSOCIATED_TOKEN_PROGRAM,
  COMPUTE_BUDGET_PROGRAM,
  MEMO_PROGRAM,
  SYSTEM_PROGRAM,
  TOKEN_2022_PROGRAM,
  TOKEN_PROGRAM,
} from '@quantumvault/shared/solana/programs.ts';
import { decodeSystem } from '@quantumvault/shared/solana/system.ts';
import { decodeBatch, decodeToken } from '@quantumvault/shared/solana/token.ts';
import { decodeTransaction, encodeTransaction, inspectTransaction } from '@quantumvault/shared/solana/transaction.ts';
import { fullPolicy, corpus as policies } from '../../shared/policy/cases.ts';
import { corpus, kitView, ourView, web3View, wireOf } from '../../shared/solana/vectors.ts';
import { accept, must, mustEqualBytes, type Target } from '../engine/target.ts';
import { mustEndThere } from './checks.ts';
import { changeAmount, changeMessage, longerLength } from './solana-mutators.ts';

const CODES = [
  'transaction_too_large',
  'transaction_truncated',
  'transaction_trailing_bytes',
  'transaction_version_unknown',
  'transaction_length_overflow',
  'transaction_length_not_minimal',
  'transaction_header_invalid',
  'transaction_keys_too_many',
  'transaction_key_duplicate',
  'transaction_instructions_too_many',
  'transaction_program_index',
  'transaction_account_index',
  'transaction_lookup_empty',
  'transaction_config_heap',
  'transaction_config_mask',
  'transaction_envelope_mismatch',
  'transaction_signature_count',
] as const;

export const transactions: Target = {
  name: 'transactions',
  covers: [
    'shared/src/solana/transaction.ts#decodeTransaction',
    'shared/src/solana/message.ts#decodeMessage',
    'shared/src/solana/message.ts#readMessage',
  ],
  seeds: () => {
    const some = [...corpus.transactions, ...corpus.malformed].filter((_, index) => index % 10 === 0);
    const judged = policies.cases.filter((_, index) => index % 16 === 0);
    const seeds = [...some, ...judged].map(
      (record) => [record.id.replaceAll(/[^A-Za-z0-9.-]/g, '-'), wireOf(record)] as const,
    );
    return Object.fromEntries(seeds.filter(([, wire]) => wire.length < 5_000));
  },
  mutators: [changeMessage, changeMessage, longerLength],
  dictionary: [
    '80',
    '81',
    '8000',
    'ff7f',
    'ffff03',
    '808004',
    '0000000000000000000000000000000000000000000000000000000000000000',
    '01000103',
    '0306466fe5211732ffecadba72c39be7bc8ce5bbc5f7126b2c439b3a40000000',
  ].map((hex) => fromHex(hex)),
  maxBytes: LIMITS.transactionV1Bytes + 64,
  codes: CODES,
  executions: 1_500,
  run(input) {
    const { transaction, doubts } = accept(inspectTransaction(input));
    mustEqualBytes(encodeTransaction(transaction), input, 'a transaction encodes to other bytes');
    const { message, messageBytes, signatures } = transaction;
    mustEqualBytes(encodeMessage(message), messageBytes, 'a message encodes to other bytes');
    must(signatures.length === message.header.requiredSignatures, 'number of signatures');
    must(
      input.length <= (message.version === '1' ? LIMITS.transactionV1Bytes : LIMITS.transactionBytes),
      'larger than a transaction',
    );
    mustEndThere(inspectTransaction, input);
    const ours = ourView(message);
    must(JSON.stringify(kitView(messageBytes)) === JSON.stringify(ours), 'kit reads another message');
    if (message.version !== '1')
      must(JSON.stringify(web3View(messageBytes)) === JSON.stringify(ours), 'web3.js reads another message');
    if (doubts.length === 0)
      mustEqualBytes(decodeTransaction(input).messageBytes, messageBytes, 'the signer reads another message');
    return ours;
  },
};

const NOW = timeMs(Date.UTC(2026, 10, 22, 12));
const JUDGES = [...Object.values(policies.policies).slice(0, 8), fullPolicy()].map((document) => parsePolicy(document));
const within = (index: number, most: number): boolean => Number.isInteger(index) && index >= 0 && index < most;

/** Whatever decodes, the judge answers, and what it allows is inside the policy. */
export const judged: Target = {
  name: 'judge',
  covers: ['shared/src/policy/judge.ts#judge', 'shared/src/policy/instructions.ts#judgeInstructions'],
  seeds: () => {
    // What is allowed, and one denial for each reason.
    const reasons = new Set<string>();
    const allowed = policies.cases.filter(({ expect }) => expect === 'allow').filter((_, index) => index % 4 === 0);
    const denied = policies.cases.filter(
      ({ expect, reason }) => expect === 'deny' && !reasons.has(reason) && reasons.add(reason),
    );
    return Object.fromEntries(
      [...allowed, ...denied.slice(0, 24)].map((record) => [
        record.id.replaceAll(/[^A-Za-z0-9.-]/g, '-'),
        wireOf(record),
      ]),
    );
  },
  mutators: [changeMessage, changeAmount],
  maxBytes: LIMITS.transactionV1Bytes,
  codes: CODES,
  executions: 1_000,
  run(input) {
    const { message } = accept(inspectTransaction(input)).transaction;
    const verdicts = JUDGES.map((policy) => {
      const verdict = judge(policy, message, NOW, { state: NOTHING_SPENT });
      const denied = verdict.rules.filter(({ outcome }) => outcome === 'deny');
      must(verdict.allow === (denied.length === 0), 'allowed and denied');
      must(verdict.lamportsOut >= 0n && verdict.feeLamports >= 0n, 'less than nothing');
      must(
        verdict.rules.every(({ rule }) => /^[\x20-\x7e]{1,64}$/.test(rule)),
        'a rule that no leaf can name',
      );
      if (verdict.allow) {
        must(
          message.accountKeys[0] === policy.wallet && message.header.requiredSignatures === 1,
          'another wallet signs',
        );
        must(
          verdict.lamportsOut <= policy.sol.maxPerTransaction && verdict.feeLamports <= policy.fees.maxLamports,
          'beyond a limit',
        );
        must(
          message.instructions.length > 0 && message.instructions.length <= policy.transaction.maxInstructions,
          'number of instructions',
        );
        must(policy.transaction.versions.includes(message.version), 'version');
        for (const [mint, amount] of verdict.tokens)
          must(
            policy.tokens.some((rule) => rule.mint === mint && amount <= rule.maxPerTransaction),
            'beyond a limit of tokens',
          );
      }
      return [verdict.allow, verdict.denied?.rule, verdict.lamportsOut, verdict.feeLamports];
    });
    for (const { programIndex } of message.instructions)
      must(within(programIndex, message.accountKeys.length), 'an index');
    return verdicts;
  },
};

const PROGRAMS = [
  SYSTEM_PROGRAM,
  TOKEN_PROGRAM,
  TOKEN_2022_PROGRAM,
  ASSOCIATED_TOKEN_PROGRAM,
  COMPUTE_BUDGET_PROGRAM,
  MEMO_PROGRAM,
] as const;

/** The first byte says of which program it is the data. */
export const instructionData: Target = {
  name: 'instruction-data',
  covers: [
    'shared/src/solana/system.ts#decodeSystem',
    'shared/src/solana/token.ts#decodeToken',
    'shared/src/solana/token.ts#decodeBatch',
    'shared/src/solana/associated-token.ts#decodeAssociatedToken',
    'shared/src/solana/compute-budget.ts#decodeComputeBudget',
    'shared/src/solana/lighthouse.ts#decodeAssertion',
    'shared/src/solana/describe.ts#describeInstruction',
  ],
  seeds: () => {
    const found = new Map<string, Uint8Array>();
    for (const { base64 } of policies.cases) {
      let message: Message;
      try {
        ({ message } = inspectTransaction(wireOf({ base64 })).transaction);
      } catch {
        continue;
      }
      for (const { programIndex, data } of message.instructions) {
        const program = (PROGRAMS as readonly string[]).indexOf(message.accountKeys[programIndex] ?? '');
        if (program >= 0 && data.length < 300)
          found.set(`${program}-${data[0]}-${data.length}`, concatBytes(Uint8Array.of(program), data));
      }
    }
    return Object.fromEntries(found);
  },
  dictionary: ['ff', '03', '0c', '26', '2d', '02000000', 'ffffffffffffffff', '0000000000000000'].map((hex) =>
    fromHex(hex),
  ),
  maxBytes: 1_300,
  codes: [],
  executions: 6_000,
  run(input) {
    const program = PROGRAMS[(input[0] ?? 0) % PROGRAMS.length] ?? SYSTEM_PROGRAM;
    const data = input.subarray(1);
    const described = describeInstruction(program, data);
    const batch = decodeBatch(data);
    if (batch !== undefined && data[0] === 255) {
      // Every inner instruction is a piece of the data, behind its two lengths.
      const length = batch.reduce((sum, entry) => sum + 2 + entry.data.length, 1);
      must(length === data.length, 'a batch that leaves bytes over');
    }
    return [
      described,
      batch,
      decodeSystem(data),
      decodeToken(TOKEN_PROGRAM, data),
      decodeToken(TOKEN_2022_PROGRAM, data),
      decodeAssociatedToken(data),
      decodeComputeBudget(data),
      decodeAssertion(data),
    ];
  },
};

/** Messages alone, as `qv tx` and the owner's envelopes meet them. */
export const messagesOfSolana: Target = {
  name: 'solana-messages',
  covers: ['shared/src/solana/message.ts#decodeMessage'],
  seeds: () =>
    Object.fromEntries(
      corpus.transactions
        .filter((_, index) => index % 9 === 0)
        .map((record) => [
          record.id.replaceAll(/[^A-Za-z0-9.-]/g, '-'),
          inspectTransaction(wireOf(record)).transaction.messageBytes,
        ]),
    ),
  maxBytes: LIMITS.transactionV1Bytes,
  codes: CODES,
  executions: 3_000,
  run(input) {
    const message = accept(decodeMessage(input));
    mustEqualBytes(encodeMessage(message), input, 'a message encodes to other bytes');
    mustEndThere(decodeMessage, input);
    return message;
  },
};
