/** Policy documents: JSON and canonical bytes, the statement that owners sign, and the judge on what was read. */
import { readdirSync, readFileSync } from 'node:fs';
import { timeMs } from '@quantumvault/shared/brands.ts';
import { fromBase64, fromHex, utf8 } from '@quantumvault/shared/bytes.ts';
import { parseStrictJson } from '@quantumvault/shared/json.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { budgetsOf } from '@quantumvault/shared/policy/budgets.ts';
import { policyFaults } from '@quantumvault/shared/policy/faults.ts';
import { judge } from '@quantumvault/shared/policy/judge.ts';
import { isSignedByOwner, ownerMessages } from '@quantumvault/shared/policy/owner-signature.ts';
import {
  type Policy,
  parsePolicy,
  policyBytes,
  policyFromBytes,
  policyHash,
  policyJson,
} from '@quantumvault/shared/policy/policy.ts';
import { NOTHING_SPENT } from '@quantumvault/shared/policy/state.ts';
import { renderCreationStatement, renderPolicyStatement } from '@quantumvault/shared/policy/statement.ts';
import { policyWarnings } from '@quantumvault/shared/policy/warnings.ts';
import { decodeMessage } from '@quantumvault/shared/solana/message.ts';
import { decodeTransaction } from '@quantumvault/shared/solana/transaction.ts';
import { corpus, fullPolicy, simplePolicy } from '../../shared/policy/cases.ts';
import { cborMutator } from '../engine/cbor-tree.ts';
import { jsonMutator } from '../engine/json-tree.ts';
import { accept, must, mustEqualBytes, type Target, Violation } from '../engine/target.ts';
import { isRefused } from './checks.ts';
import * as sample from './samples.ts';

const NOW = timeMs(Date.UTC(2026, 10, 22, 12));
const transactions = corpus.cases
  .filter(({ expect }) => expect === 'allow')
  .slice(0, 3)
  .map(({ base64 }) => decodeTransaction(fromBase64(base64)).message);
const TEMPLATES = new URL('../../../host/templates/policies/', import.meta.url);

function documents(): Record<string, unknown> {
  const templates = readdirSync(TEMPLATES)
    .filter((file) => file.endsWith('.json'))
    .slice(0, 4)
    .map((file) => {
      const text = readFileSync(new URL(file, TEMPLATES), 'utf8');
      const filled = text
        .replaceAll(/"<(?:VALID_FROM|VALID_UNTIL)>"/g, (found) =>
          found.includes('FROM') ? '"2026-01-01T00:00:00Z"' : '"2027-01-01T00:00:00Z"',
        )
        .replaceAll(/"<MIN[A-Z_]*UNITS?[A-Z_]*>"/g, '"4.9"')
        .replaceAll(/"<(?:MAX|MIN)[A-Z0-9_]*>"/g, '"1000000"');
      let count = 10;
      return [
        file.replace('.json', ''),
        JSON.parse(filled.replaceAll(/"<[A-Z0-9_]+>"/g, () => JSON.stringify(sample.key(++count)))),
      ] as const;
    });
  const ofCorpus = Object.entries(corpus.policies).slice(0, 6);
  return { simple: simplePolicy(), full: fullPolicy(), ...Object.fromEntries([...templates, ...ofCorpus]) };
}

/** What has to hold for every policy that was read. */
function check(policy: Policy): void {
  const bytes = policyBytes(policy);
  must(bytes.length <= LIMITS.policyBytes, 'more bytes than the limit');
  mustEqualBytes(policyBytes(policyFromBytes(bytes)), bytes, 'other bytes when read again');
  mustEqualBytes(policyBytes(parsePolicy(policyJson(policy))), bytes, 'other bytes when printed');
  const statement = attempt(() =>
    renderPolicyStatement({
      policy,
      policyHash: policyHash(bytes),
      deployment: 'test',
      previousHash: undefined,
      enableBeforeMs: NOW,
    }),
  );
  must(
    statement === undefined || (/^[\x20-\x7e\n]+$/.test(statement) && statement.length <= 1_000),
    'a statement that wallets do not show',
  );
  policyWarnings(policy);
  for (const message of transactions) {
    const verdict = judge(policy, message, NOW, { state: NOTHING_SPENT });
    const denied = verdict.rules.filter(({ outcome }) => outcome === 'deny');
    must(
      verdict.allow === (denied.length === 0) && verdict.allow === (verdict.denied === undefined),
      'allowed and denied',
    );
    if (!verdict.allow) continue;
    must(message.accountKeys[0] === policy.wallet && message.header.requiredSignatures === 1, 'another wallet signs');
    must(NOW >= policy.validFrom && NOW < policy.validUntil, 'allowed outside of its time');
    must(
      verdict.lamportsOut <= policy.sol.maxPerTransaction && verdict.feeLamports <= policy.fees.maxLamports,
      'beyond a limit',
    );
    for (const [mint, amount] of verdict.tokens) {
      const rule = policy.tokens.find((token) => token.mint === mint);
      must(rule !== undefined && amount <= rule.maxPerTransaction, 'beyond a limit of tokens');
    }
  }
  must(budgetsOf(policy, NOTHING_SPENT, NOW).length <= LIMITS.policyBudgets, 'more budgets than a reply holds');
}

/** Undefined where it is too long: that is said, and nothing is enabled. */
function attempt(render: () => string): string | undefined {
  try {
    return render();
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'statement_too_long') return undefined;
    throw error;
  }
}

const CODES = ['policy_invalid', 'policy_unsupported', 'policy_too_large'] as const;

export const policyDocuments: Target = {
  name: 'policy-json',
  covers: [
    'shared/src/policy/parse.ts#parsePolicy',
    'shared/src/policy/program-rules.ts#parsePrograms',
    'shared/src/policy/program-rules.ts#parseName',
    'shared/src/policy/faults.ts#policyFaults',
  ],
  seeds: () =>
    Object.fromEntries(Object.entries(documents()).map(([name, value]) => [name, utf8(JSON.stringify(value))])),
  mutators: [jsonMutator()],
  dictionary: [
    '"hostVerified":true',
    '"bracketedBy"',
    '"spends"',
    '"receives"',
    '"minPerSpent":"0.5"',
    '"window":{"seconds":1,"max":"1"}',
    '"type":"u64"',
    '"is":"wallet"',
    '"1"',
    '"legacy"',
  ].map(utf8),
  maxBytes: 16 * 1024,
  codes: [...CODES, 'json_malformed'],
  executions: 1_200,
  growth: 200,
  run(input) {
    const document = parseStrictJson(input);
    // It parses the document again for each of its parts.
    const isFaulty = input.length % 4 === 0 ? policyFaults(document).length > 0 : undefined;
    let policy: Policy;
    try {
      policy = parsePolicy(document);
    } catch (error) {
      must(isFaulty !== false, 'a policy without faults is refused');
      throw error;
    }
    must(isFaulty !== true, 'a policy with faults is accepted');
    check(policy);
    return policy;
  },
};

export const policyCanonical: Target = {
  name: 'policy-bytes',
  covers: ['shared/src/policy/canonical.ts#policyFromBytes'],
  seeds: () =>
    Object.fromEntries(
      Object.entries(documents()).flatMap(([name, value]) => {
        try {
          return [[name, policyBytes(parsePolicy(value))] as const];
        } catch {
          return [];
        }
      }),
    ),
  mutators: [cborMutator()],
  dictionary: ['6c71762f706f6c6963792f7631', 'f5', 'f4', '80', 'a0'].map((hex) => fromHex(hex)),
  maxBytes: LIMITS.policyBytes + 64,
  codes: [...CODES, 'cbor_malformed'],
  executions: 1_200,
  growth: 200,
  run(input) {
    const policy = accept(policyFromBytes(input));
    mustEqualBytes(policyBytes(policy), input, 'other bytes than it was read from');
    return policy;
  },
};

function statements(): readonly string[] {
  const policy = parsePolicy(simplePolicy());
  return [
    renderCreationStatement({
      deployment: 'test',
      owner: sample.owner,
      nonce: sample.filled(16, 1),
      requesters: [sample.requester],
      createBeforeMs: sample.time,
    }),
    renderPolicyStatement({
      policy,
      policyHash: policyHash(policyBytes(policy)),
      deployment: 'test',
      previousHash: undefined,
      enableBeforeMs: sample.time,
    }),
  ];
}

const [STATEMENT = ''] = statements();

/** The bytes that a wallet signed, for the first statement: of all bytes four are accepted, and none is a transaction. */
export const ownerEnvelopes: Target = {
  name: 'owner-envelopes',
  covers: ['shared/src/policy/owner-signature.ts#isSignedByOwner'],
  seeds: () =>
    Object.fromEntries(
      statements().flatMap((text, statement) =>
        ownerMessages(text, sample.owner).map((bytes, form) => [`${statement}-${form}`, bytes] as const),
      ),
    ),
  dictionary: ['ff736f6c616e61206f6666636861696e', '00', '01', '0001', '0101'].map((hex) => fromHex(hex)),
  maxBytes: 2_048,
  codes: [],
  executions: 1_500,
  run(input) {
    const isSigned = isSignedByOwner(
      sample.signature,
      STATEMENT,
      sample.owner,
      (_, message) => Buffer.compare(message, input) === 0,
    );
    const forms = ownerMessages(STATEMENT, sample.owner);
    must(isSigned === forms.some((form) => Buffer.compare(form, input) === 0), 'other bytes are signed');
    if (isSigned && !isRefused(decodeMessage, input)) throw new Violation('a statement is a transaction');
    return isSigned;
  },
};
