/** Solana transactions and the data of instructions, held against kit and web3.js. */
import { type Address, addressOf, timeMs } from '@quantumvault/shared/brands.ts';
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
import { type Mutator, splice } from '../engine/mutate.ts';
import { accept, must, mustEqualBytes, type Target } from '../engine/target.ts';
import { mustEndThere } from './checks.ts';

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

/** One part of a message that decodes, replaced, and the whole written again with counts that fit. */
const changeMessage: Mutator = (wire, { random }) => {
  let message: Message;
  let signatures: readonly Uint8Array[];
  try {
    ({ message, signatures } = inspectTransaction(wire).transaction);
  } catch {
    return undefined;
  }
  const { header, accountKeys, instructions, lookups, config } = message;
  const index = random.below(instructions.length);
  const instruction = instructions[index];
  const withInstruction = (change: Partial<NonNullable<typeof instruction>>): Message => ({
    ...message,
    instructions: instructions.map((old, at) => (at === index ? { ...old, ...change } : old)),
  });
  const anyKey = (): Address => random.pick([SYSTEM_PROGRAM, TOKEN_PROGRAM, COMPUTE_BUDGET_PROGRAM, ...accountKeys]);
  const changed = ((): Message => {
    switch (random.below(10)) {
      case 0:
        return { ...message, header: { ...header, requiredSignatures: random.below(5) } };
      case 1:
        return {
          ...message,
          header: { ...header, readonlySigned: random.below(4), readonlyUnsigned: random.below(8) },
        };
      case 2:
        return { ...message, accountKeys: [...accountKeys, random.once(3) ? anyKey() : addressOf(random.bytes(32))] };
      case 3:
        return { ...message, accountKeys: accountKeys.map((key) => (random.once(4) ? anyKey() : key)) };
      case 4:
        return { ...message, instructions: [...instructions, ...instructions.slice(0, random.once(6) ? 64 : 1)] };
      case 5:
        return withInstruction({ programIndex: random.below(accountKeys.length + 2) });
      case 6:
        return withInstruction({
          accountIndexes: Array.from({ length: random.below(8) }, () => random.below(accountKeys.length + 2)),
        });
      case 7: {
        const data = instruction?.data ?? new Uint8Array();
        return withInstruction({
          data: random.once(2) ? random.bytes(random.below(140)) : concatBytes(data, Uint8Array.of(0)),
        });
      }
      case 8:
        return {
          ...message,
          lookups: [
            ...lookups,
            { table: anyKey(), writableIndexes: [random.below(256)], readonlyIndexes: random.once(2) ? [] : [0, 1] },
          ],
        };
      default:
        return {
          ...message,
          config: { ...config, heapBytes: 1024 * random.below(300), priorityFeeLamports: BigInt(random.u32()) },
        };
    }
  })();
  const count = changed.header.requiredSignatures;
  return encodeTransaction({
    signatures: Array.from({ length: count }, (_, at) => signatures[at] ?? new Uint8Array(64)),
    messageBytes: encodeMessage(changed),
  });
};

/** A length in a longer form: the same number in one byte more. */
const longerLength: Mutator = (wire, { random }) => {
  const at = random.below(wire.length);
  const byte = wire[at] ?? 0xff;
  return byte < 0x80 ? splice(wire, at, 1, Uint8Array.of(byte | 0x80, 0)) : undefined;
};

const AMOUNTS = [
  0n,
  1n,
  5_000n,
  1_000_000n,
  999_999_999n,
  1_000_000_001n,
  10n ** 12n,
  2n ** 63n,
  2n ** 64n - 1n,
] as const;

/** An amount in the data of an instruction. */
const changeAmount: Mutator = (wire, { random }) => {
  let transaction: ReturnType<typeof inspectTransaction>['transaction'];
  try {
    ({ transaction } = inspectTransaction(wire));
  } catch {
    return undefined;
  }
  const { message } = transaction;
  const chosen = random.pick(message.instructions.filter(({ data }) => data.length >= 9));
  if (chosen === undefined) return undefined;
  const data = Uint8Array.from(chosen.data);
  const at = random.pick([1, 4, random.below(data.length - 7)]);
  if (at + 8 > data.length) return undefined;
  new DataView(data.buffer).setBigUint64(at, random.once(4) ? BigInt(random.u32()) : random.pick(AMOUNTS), true);
  const instructions = message.instructions.map((instruction) =>
    instruction === chosen ? { ...instruction, data } : instruction,
  );
  return encodeTransaction({ ...transaction, messageBytes: encodeMessage({ ...message, instructions }) });
};

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
