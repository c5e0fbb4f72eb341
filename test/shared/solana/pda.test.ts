/** Program-derived addresses against web3.js. */
import { addressOf } from '@quantumvault/shared/brands.ts';
import { associatedTokenAccount, findProgramAddress, isOnCurve } from '@quantumvault/shared/solana/pda.ts';
import { ASSOCIATED_TOKEN_PROGRAM, TOKEN_2022_PROGRAM, TOKEN_PROGRAM } from '@quantumvault/shared/solana/programs.ts';
import { PublicKey } from '@solana/web3.js';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { anyAddress } from './generated.ts';

const anyKey = fc.uint8Array({ minLength: 32, maxLength: 32 });

describe('isOnCurve', () => {
  it('is what web3.js says', () => {
    fc.assert(
      fc.property(anyKey, (key) => isOnCurve(key) === PublicKey.isOnCurve(key)),
      { numRuns: 100 },
    );
  });

  it('takes y = 1 and y = -1, whose x is 0', () => {
    const one = new Uint8Array(32);
    one[0] = 1;
    const minusOne = new Uint8Array(32).fill(0xff);
    minusOne[0] = 0xec;
    minusOne[31] = 0x7f;
    expect([isOnCurve(one), isOnCurve(minusOne)]).toEqual([true, true]);
  });
});

describe('derived addresses', () => {
  it('are those of web3.js', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 32 }), { maxLength: 4 }), anyAddress, (seeds, program) => {
        const [expected] = PublicKey.findProgramAddressSync(seeds, new PublicKey(program));
        expect(findProgramAddress(seeds, program)).toBe(expected.toBase58());
      }),
      { numRuns: 50 },
    );
  });

  it('of token accounts differ by owner, mint and program, and are remembered', () => {
    const [owner, mint] = [addressOf(new Uint8Array(32).fill(1)), addressOf(new Uint8Array(32).fill(2))];
    const accounts = [
      associatedTokenAccount(owner, mint, TOKEN_PROGRAM),
      associatedTokenAccount(owner, mint, TOKEN_2022_PROGRAM),
      associatedTokenAccount(mint, owner, TOKEN_PROGRAM),
    ];
    expect(new Set(accounts).size).toBe(3);
    expect(associatedTokenAccount(owner, mint, TOKEN_PROGRAM)).toBe(accounts[0]);
    const seeds = [owner, TOKEN_PROGRAM, mint].map((key) => new PublicKey(key).toBytes());
    const [expected] = PublicKey.findProgramAddressSync(seeds, new PublicKey(ASSOCIATED_TOKEN_PROGRAM));
    expect(accounts[0]).toBe(expected.toBase58());
  });
});
