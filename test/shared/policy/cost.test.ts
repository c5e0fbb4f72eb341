/**
 * What one judgement may cost. Anybody who owns a wallet chooses his policy and his transaction; the enclave judges
 * both on the one thread that also serves the stop button. These cases took 9 s each before they were bounded; each
 * is run often enough that such a fault exceeds the test's time limit.
 */
import type { Address } from '@quantumvault/shared/brands.ts';
import { addressOf, timeMs } from '@quantumvault/shared/brands.ts';
import { utf8 } from '@quantumvault/shared/bytes.ts';
import { parseStrictJson } from '@quantumvault/shared/json.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { judge } from '@quantumvault/shared/policy/judge.ts';
import { parsePolicy } from '@quantumvault/shared/policy/policy.ts';
import type { Message } from '@quantumvault/shared/solana/message.ts';
import { expect, it } from 'vitest';
import { refusalOf } from '../../support/codes.ts';
import { party, policyDocument, TOKEN_PROGRAM } from '../../support/wallet-kit.ts';

const some = (): Address => addressOf(crypto.getRandomValues(new Uint8Array(32)));
const RUNS = 40;

it('a program call with many accounts, against many rules and tokens', () => {
  const [wallet, program, stranger] = [some(), some(), some()];
  const policy = parsePolicy({
    ...policyDocument({ wallet, owner: some(), requesters: [party().address], destinations: [] }),
    transaction: { versions: ['1'], lookupTables: {}, durableNonce: false, maxInstructions: 64 },
    tokens: Array.from({ length: LIMITS.policyTokens }, () => ({
      mint: some(),
      tokenProgram: TOKEN_PROGRAM,
      decimals: 0,
      maxPerTransaction: '0',
      destinations: [],
    })),
    programs: [
      {
        program,
        instructions: Array.from({ length: LIMITS.policyInstructionRules }, (_, index) => ({
          name: String(index),
          data: [{ offset: 0, equals: '00' }],
          accounts: [],
          minAccounts: 0,
          maxAccounts: 255,
        })),
      },
    ],
  });
  const message: Message = {
    version: '1',
    header: { requiredSignatures: 1, readonlySigned: 0, readonlyUnsigned: 0 },
    accountKeys: [wallet, program, stranger],
    lifetime: new Uint8Array(32).fill(1),
    instructions: Array.from({ length: 14 }, () => ({
      programIndex: 1,
      accountIndexes: [...Array<number>(253).fill(2), 0],
      data: Uint8Array.of(0),
    })),
    lookups: [],
    config: {},
  };
  for (let run = 0; run < RUNS; run++) {
    expect(judge(policy, message, timeMs(Date.now())).denied?.rule).toBe('program-wallet-account-exposed');
  }
}, 20_000);

it('JSON that is one string of escaped quotes, and never ends', () => {
  const body = utf8(`{"a":"${'\\"'.repeat(LIMITS.httpBodyBytes / 2)}`);
  for (let run = 0; run < RUNS; run++) expect(refusalOf(() => parseStrictJson(body))?.code).toBe('json_malformed');
}, 20_000);
