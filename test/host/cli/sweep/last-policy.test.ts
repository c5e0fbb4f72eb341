/** The last policy of a sweep, its statement and its transactions, without any appliance. */
import type { Found, TokenHolding } from '@quantumvault/host/cli/sweep/found.ts';
import {
  isWrittenOut,
  lastPolicy,
  nextRound,
  type Occasion,
  solCalls,
} from '@quantumvault/host/cli/sweep/last-policy.ts';
import { planOf } from '@quantumvault/host/cli/sweep/plan.ts';
import { transactionOf, wireOf } from '@quantumvault/host/cli/sweep/transactions.ts';
import { hash, timeMs } from '@quantumvault/shared/brands.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { judge } from '@quantumvault/shared/policy/judge.ts';
import { parsePolicy } from '@quantumvault/shared/policy/policy.ts';
import { NOTHING_SPENT } from '@quantumvault/shared/policy/state.ts';
import { PublicKey, SystemProgram, Transaction } from '@solana/web3.js';
import { describe, expect, it } from 'vitest';
import { ataOf, TOKEN, TOKEN_2022 } from '../../../support/solana-ledger.ts';
import { party } from '../../../support/wallet-kit.ts';

const [wallet, destination] = [party().address, party().address];
const blockhash = party().address;
const NOW = Date.parse('2026-11-23T12:00:00Z');

const occasion: Occasion = {
  deployment: 'd'.repeat(64),
  owner: party().address,
  requester: party().address,
  epoch: 4_294_967_295,
  previousHash: hash(new Uint8Array(32).fill(255)),
  priorityLamports: 999_999_999n,
  nowMs: NOW,
};

function holding(change: Partial<TokenHolding> = {}): TokenHolding {
  const mint = change.mint ?? party().address;
  return {
    account: party().address,
    program: TOKEN,
    mint,
    units: 2n ** 64n - 1n,
    decimals: 9,
    lamports: 2_039_280n,
    isNative: false,
    isFrozen: false,
    isClosable: true,
    extensions: [],
    mintExtensions: [],
    receiver: 'ready',
    ...change,
  };
}

const foundWith = (tokens: readonly TokenHolding[], lamports = 9_000_000_000_000_000n): Found => ({
  ...{ wallet, destination, lamports, destinationExists: true, tokens },
});
const planned = (found: Found, priorityLamports = occasion.priorityLamports) =>
  planOf(found, { priorityLamports, failed: new Map(), alone: new Set() });

describe('the statement', () => {
  it('has room for at least one token, with the longest of everything', () => {
    for (const program of [TOKEN, TOKEN_2022]) {
      const found = foundWith([holding({ program })]);
      const { tokens } = planned(found);
      expect(isWrittenOut(lastPolicy(found, tokens, found.lamports, occasion), occasion)).toBe(true);
    }
  });

  it('never shrinks: what does not fit waits for the next one, and the SOL goes with the last tokens', () => {
    const found = foundWith(Array.from({ length: 9 }, () => holding()));
    const plan = planned(found);
    let tokens = plan.tokens;
    let rounds = 0;
    for (;;) {
      const round = nextRound(found, { closings: [], tokens }, occasion);
      if (round === undefined) throw new Error('nothing to do');
      rounds++;
      expect(isWrittenOut(round.document, occasion)).toBe(true);
      tokens = tokens.filter((move) => !round.tokens.includes(move));
      expect(round.solLamports > 0n).toBe(tokens.length === 0);
      expect(round.document.sol.destinations).toEqual(tokens.length === 0 ? [destination] : []);
      if (tokens.length === 0) break;
    }
    expect(rounds).toBeGreaterThan(2);
    expect(rounds).toBeLessThanOrEqual(9);
  });
});

describe('the policy', () => {
  const fields = (found: Found, moves = planned(found, 0n), solLamports = 0n) =>
    lastPolicy(found, [...moves.closings, ...moves.tokens], solLamports, { ...occasion, priorityLamports: 0n });

  it('names one destination, one requester, exact amounts and half an hour, and has no windows', () => {
    const mint = party().address;
    const found = foundWith([
      holding({ mint, units: 5n }),
      holding({ mint, units: 7n, receiver: 'missing' }),
      holding({ units: 0n }),
    ]);
    const document = fields(found, undefined, 123n);
    expect(document).toMatchObject({
      requesters: [occasion.requester],
      validUntil: '2026-11-23T12:30:00Z',
      transaction: { versions: ['legacy'], maxInstructions: 3 },
      fees: { maxLamports: '5000' },
      sol: { maxPerTransaction: String(LIMITS.tokenAccountRentLamports), destinations: [destination] },
      tokens: [{ mint, decimals: 9, maxPerTransaction: '7', destinations: [destination] }],
      programs: [],
    });
    expect(JSON.stringify(document)).not.toMatch(/window|rate|signals/);
  });

  it('allows what is planned, also when every window is full since a lease, and nothing to anybody else', () => {
    const found = foundWith([
      holding({ receiver: 'missing' }),
      holding({ program: TOKEN_2022 }),
      holding({ units: 0n }),
    ]);
    const plan = planned(found, 0n);
    const policy = parsePolicy(fields(found, plan, found.lamports));
    const state = { ...NOTHING_SPENT, fullAt: timeMs(NOW) };
    const verdict = (calls: Parameters<typeof transactionOf>[1]) =>
      judge(policy, transactionOf(wallet, calls, blockhash).message, timeMs(NOW), { state });
    for (const { calls } of [...plan.closings, ...plan.tokens]) expect(verdict(calls).denied).toBeUndefined();
    expect(verdict(solCalls(found, found.lamports, 0n)).allow).toBe(true);
    expect(verdict(solCalls(found, found.lamports + 1n, 0n)).denied?.rule).toBe('sol.maxPerTransaction');
    const elsewhere = { ...found, destination: party().address };
    expect(verdict(solCalls(elsewhere, 1n, 0n)).denied?.rule).toBe('sol.destinations');
    for (const { calls } of planned(elsewhere, 0n).tokens)
      expect(verdict(calls).denied?.rule).toBe('token-destination-not-allowed');
    const more = planned(foundWith([holding({ ...found.tokens[1], program: TOKEN })]), 0n);
    expect(verdict(more.tokens[0]?.calls ?? []).allow).toBe(false);
  });
});

describe('a transaction', () => {
  it('is the one that web3.js makes', () => {
    const key = (text: string): PublicKey => new PublicKey(text);
    const transfer = new Transaction({ feePayer: key(wallet), recentBlockhash: blockhash }).add(
      SystemProgram.transfer({ fromPubkey: key(wallet), toPubkey: key(destination), lamports: 77n }),
    );
    const ours = transactionOf(wallet, solCalls(foundWith([]), 77n, 0n), blockhash);
    expect(Buffer.from(ours.messageBytes).equals(transfer.serializeMessage())).toBe(true);
    const [held] = [holding({ receiver: 'missing' })];
    const [move] = planned(foundWith([held]), 20_000n).tokens;
    const read = Transaction.from(wireOf(transactionOf(wallet, move?.calls ?? [], blockhash)));
    expect(read.feePayer?.toBase58()).toBe(wallet);
    expect(read.instructions.map(({ keys }) => keys.map(({ pubkey }) => pubkey.toBase58()))).toEqual([
      [],
      [],
      [wallet, ataOf(destination, held.mint), destination, held.mint, SystemProgram.programId.toBase58(), TOKEN],
      [held.account, held.mint, ataOf(destination, held.mint), wallet],
      [held.account, wallet, wallet],
    ]);
    expect(
      Buffer.from(read.serializeMessage()).equals(
        Buffer.from(transactionOf(wallet, move?.calls ?? [], blockhash).messageBytes),
      ),
    ).toBe(true);
  });

  it('closes empty accounts together, and alone where that failed', () => {
    const empties = Array.from({ length: 20 }, () => holding({ units: 0n }));
    const found = foundWith(empties);
    expect(planned(found).closings.map(({ holdings }) => holdings.length)).toEqual([8, 8, 4]);
    const alone = new Set(empties.slice(0, 2).map(({ account }) => account));
    const plan = planOf(found, { priorityLamports: 0n, failed: new Map(), alone });
    expect(plan.closings.map(({ holdings }) => holdings.length)).toEqual([1, 1, 8, 8, 2]);
  });
});
