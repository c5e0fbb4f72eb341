/** Instruction decoders on real transactions: what web3.js reads, and nothing known that is read as unknown. */
import { decodeAssociatedToken } from '@quantumvault/shared/solana/associated-token.ts';
import { decodeComputeBudget } from '@quantumvault/shared/solana/compute-budget.ts';
import {
  ASSOCIATED_TOKEN_PROGRAM,
  COMPUTE_BUDGET_PROGRAM,
  SYSTEM_PROGRAM,
  TOKEN_2022_PROGRAM,
  TOKEN_PROGRAM,
} from '@quantumvault/shared/solana/programs.ts';
import { decodeSystem } from '@quantumvault/shared/solana/system.ts';
import { decodeBatch, decodeToken } from '@quantumvault/shared/solana/token.ts';
import { inspectTransaction } from '@quantumvault/shared/solana/transaction.ts';
import { ComputeBudgetInstruction, PublicKey, SystemInstruction, TransactionInstruction } from '@solana/web3.js';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { corpus, wireOf } from './vectors.ts';

interface Seen {
  readonly program: string;
  readonly data: Uint8Array;
  readonly web3: TransactionInstruction;
}

const seen: readonly Seen[] = corpus.transactions.flatMap((record) => {
  const { message } = inspectTransaction(wireOf(record)).transaction;
  return message.instructions.map(({ programIndex, accountIndexes, data }) => {
    const program = message.accountKeys[programIndex] ?? '';
    const keys = accountIndexes.map((index) => ({
      pubkey: new PublicKey(message.accountKeys[index] ?? SYSTEM_PROGRAM),
      isSigner: false,
      isWritable: false,
    }));
    const web3 = new TransactionInstruction({ programId: new PublicKey(program), keys, data: Buffer.from(data) });
    return { program, data, web3 };
  });
});
const of = (program: string): readonly Seen[] => seen.filter((one) => one.program === program);

describe('System', () => {
  it('is what web3.js reads', () => {
    expect(of(SYSTEM_PROGRAM).length).toBeGreaterThan(50);
    for (const { data, web3 } of of(SYSTEM_PROGRAM)) {
      const type = SystemInstruction.decodeInstructionType(web3);
      const decoded = decodeSystem(data);
      if (typeof decoded === 'string') throw new Error(`${type} is ${decoded}`);
      expect(decoded.kind === 'transfer').toBe(type === 'Transfer');
      if (type === 'Transfer') expect(decoded.lamports).toBe(SystemInstruction.decodeTransfer(web3).lamports);
      if (type === 'Create')
        expect(decoded.lamports).toBe(BigInt(SystemInstruction.decodeCreateAccount(web3).lamports));
      if (type === 'CreateWithSeed')
        expect(decoded.lamports).toBe(BigInt(SystemInstruction.decodeCreateWithSeed(web3).lamports));
    }
  });
});

describe('ComputeBudget', () => {
  it('is what web3.js reads', () => {
    expect(of(COMPUTE_BUDGET_PROGRAM).length).toBeGreaterThan(50);
    for (const { data, web3 } of of(COMPUTE_BUDGET_PROGRAM)) {
      const decoded = decodeComputeBudget(data);
      // web3.js does not know tag 4; tag 0 is deprecated.
      if (data[0] === 0) expect(decoded).toBe('unknown-instruction');
      else if (data[0] === 4) expect(decoded).toMatchObject({ kind: 'loaded' });
      else if (typeof decoded === 'string') throw new Error(decoded);
      else if (decoded.kind === 'price')
        expect(BigInt(ComputeBudgetInstruction.decodeSetComputeUnitPrice(web3).microLamports)).toBe(
          decoded.microLamports,
        );
      else if (decoded.kind === 'units')
        expect(ComputeBudgetInstruction.decodeSetComputeUnitLimit(web3).units).toBe(decoded.units);
      else if (decoded.kind === 'heap')
        expect(ComputeBudgetInstruction.decodeRequestHeapFrame(web3).bytes).toBe(decoded.bytes);
    }
  });
});

describe('Token and Associated Token', () => {
  it('name everything that real transactions hold, except mints and initialisation', () => {
    const unknown = new Set<string>();
    for (const program of [TOKEN_PROGRAM, TOKEN_2022_PROGRAM])
      for (const { data } of of(program))
        if (typeof decodeToken(program, data) === 'string') unknown.add(`token ${data[0]}`);
    for (const { data } of of(ASSOCIATED_TOKEN_PROGRAM))
      if (decodeAssociatedToken(data).includes('-')) unknown.add(`associated token ${data[0]}`);
    expect([...unknown].sort()).toMatchInlineSnapshot(`
      [
        "token 0",
        "token 1",
        "token 14",
        "token 7",
      ]
    `);
  });

  it('expand every Batch', () => {
    const batches = of(TOKEN_PROGRAM).filter(({ data }) => data[0] === 255);
    expect(batches.length).toBeGreaterThan(0);
    for (const { data, web3 } of batches) {
      const entries = decodeBatch(data) ?? [];
      expect(entries.length).toBeGreaterThan(0);
      expect(entries.reduce((sum, entry) => sum + entry.accountCount, 0)).toBe(web3.keys.length);
    }
  });

  it('take arbitrary data', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(TOKEN_PROGRAM, TOKEN_2022_PROGRAM),
        fc.uint8Array({ maxLength: 80 }),
        (program, data) => {
          decodeToken(program, data);
          decodeAssociatedToken(data);
          const entries = decodeBatch(data) ?? [];
          expect(entries.reduce((sum, entry) => sum + 2 + entry.data.length, 1) <= Math.max(1, data.length)).toBe(true);
        },
      ),
    );
  });
});
