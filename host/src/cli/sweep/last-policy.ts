/**
 * The last policy of a wallet: one destination, one requester whose key exists for the occasion, what was found, half an
 * hour, no programs. It has no windows and no rate on purpose: what was spent under earlier policies would count in
 * them, and after a lease they are full, so that they could keep the wallet from being emptied. What bounds it is that
 * everything goes to one address, and that nobody but this process has the key.
 */
import { type Address, type Hash, type TimeMs, timeMs } from '@quantumvault/shared/brands.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { judge } from '@quantumvault/shared/policy/judge.ts';
import { type Policy, parsePolicy, policyBytes, policyHash } from '@quantumvault/shared/policy/policy.ts';
import { renderPolicyStatement } from '@quantumvault/shared/policy/statement.ts';
import { formatTime } from '@quantumvault/shared/rfc3339.ts';
import type { Found } from './found.ts';
import { type Move, solToMove } from './plan.ts';
import { feeLamportsOf, priority, transactionOf, transferSol } from './transactions.ts';

export interface Occasion {
  readonly deployment: string;
  readonly owner: Address;
  readonly requester: Address;
  readonly epoch: number;
  readonly previousHash: Hash | undefined;
  readonly priorityLamports: bigint;
  readonly nowMs: number;
}

/** A clock that is ahead, the owner's or the enclave's, is no reason to deny. */
const EARLIER_MILLISECONDS = 10 * 60_000;
/** Full-sized transactions that surely fit one batch. */
const MOVES_PER_STAGE = Math.floor(LIMITS.batchTransactionBytes / LIMITS.transactionBytes);
/** Any but zero: a trial is signed by nobody. */
const TRIAL_BLOCKHASH = '11111111111111111111111111111112' as Address;

/** The document, for the moves of one round; `solLamports` is what may go to the destination besides, 0n for nothing. */
export function lastPolicy(found: Found, moves: readonly Move[], solLamports: bigint, occasion: Occasion) {
  const { wallet, destination } = found;
  const { owner, requester, epoch, priorityLamports, nowMs } = occasion;
  const rents = moves.map(({ rentLamports }) => rentLamports);
  const most = (amounts: readonly bigint[]): bigint => [0n, ...amounts].sort((a, b) => (a < b ? -1 : 1)).at(-1) ?? 0n;
  const held = moves.filter(({ what }) => what === 'token').flatMap(({ holdings }) => holdings);
  const mints = [...new Set(held.map(({ mint }) => mint))];
  const instructions = [1 + priority(priorityLamports, 1).length, ...moves.map(({ calls }) => calls.length)];
  return {
    version: 1,
    wallet,
    owner,
    epoch,
    validFrom: formatTime(timeMs(nowMs - EARLIER_MILLISECONDS)),
    validUntil: formatTime(timeMs(nowMs + LIMITS.cliSweepPolicySeconds * 1000)),
    requesters: [requester],
    transaction: {
      versions: ['legacy'],
      lookupTables: {},
      durableNonce: false,
      maxInstructions: Math.max(...instructions),
    },
    fees: { maxLamports: feeLamportsOf(priorityLamports).toString() },
    sol: {
      maxPerTransaction: most([solLamports, ...rents]).toString(),
      destinations: solLamports > 0n ? [destination] : [],
    },
    tokens: mints.map((mint) => {
      const of = held.filter((holding) => holding.mint === mint);
      return {
        mint,
        tokenProgram: of[0]?.program,
        decimals: of[0]?.decimals,
        maxPerTransaction: most(of.map(({ units }) => units)).toString(),
        destinations: [destination],
      };
    }),
    programs: [],
  };
}

/** Every destination and amount stands in what the owner reads; nothing has shrunk to a hash. */
export function isWrittenOut(document: unknown, { deployment, previousHash, nowMs }: Occasion): boolean {
  const policy = parsePolicy(document);
  const hash = policyHash(policyBytes(policy));
  const enableBeforeMs = timeMs(nowMs);
  const text = renderPolicyStatement({ policy, policyHash: hash, deployment, previousHash, enableBeforeMs });
  return policy.tokens.every(({ mint }) => text.includes(`\nToken ${mint}`)) && !text.includes(', SHA-256 ');
}

/** The rule by which the enclave would deny it; undefined when it would not. Asked before the owner is. */
export function denialOf(found: Found, move: Move, occasion: Occasion): string | undefined {
  const policy = parsePolicy(lastPolicy(found, [move], 0n, occasion));
  return deniedRule(policy, found.wallet, move, timeMs(occasion.nowMs));
}

function deniedRule(policy: Policy, wallet: Address, { calls }: Move, now: TimeMs): string | undefined {
  return judge(policy, transactionOf(wallet, calls, TRIAL_BLOCKHASH).message, now).denied?.rule;
}

export interface Round {
  readonly closings: readonly Move[];
  readonly tokens: readonly Move[];
  /** What may go to the destination in the end; 0n where tokens remain for another round. */
  readonly solLamports: bigint;
  readonly document: ReturnType<typeof lastPolicy>;
}

/**
 * As much as the owner can read in one statement and the wallet can pay for; the SOL goes with the last tokens.
 * @returns undefined when there is nothing to do
 */
export function nextRound(
  found: Found,
  plan: { readonly closings: readonly Move[]; readonly tokens: readonly Move[] },
  occasion: Occasion,
): Round | undefined {
  const fee = feeLamportsOf(occasion.priorityLamports);
  const affordable = Number(found.lamports / fee);
  const closings = plan.closings.slice(0, Math.min(affordable, MOVES_PER_STAGE));
  // Closed before tokens go: what that brings back pays for them.
  let payable = found.lamports - fee * BigInt(closings.length) + returned(closings);
  const tokens: Move[] = [];
  for (const move of plan.tokens) {
    payable -= fee + move.rentLamports;
    const document = lastPolicy(found, [...closings, ...tokens, move], 0n, occasion);
    // What a transaction leaves in the wallet is nothing, or enough for an account.
    const isPayable = payable >= 0n && payable + move.returnedLamports >= BigInt(LIMITS.walletRentLamports);
    if (!isPayable || tokens.length === MOVES_PER_STAGE || !isWrittenOut(document, occasion)) break;
    tokens.push(move);
  }
  const moves = [...closings, ...tokens];
  const isAll = moves.length === plan.closings.length + plan.tokens.length;
  // All that can be there by then, whichever of the other transactions fail.
  const most = { ...found, lamports: found.lamports + returned(moves) };
  const solLamports = isAll ? solToMove(most, occasion.priorityLamports).amount : 0n;
  if (moves.length === 0 && solLamports === 0n) return undefined;
  const document = lastPolicy(found, moves, solLamports, occasion);
  if (solLamports > 0n && tokens.length > 0 && !isWrittenOut(document, occasion))
    return { closings, tokens, solLamports: 0n, document: lastPolicy(found, moves, 0n, occasion) };
  return { closings, tokens, solLamports, document };
}

const returned = (moves: readonly Move[]): bigint =>
  moves.reduce((sum, { returnedLamports }) => sum + returnedLamports, 0n);

export const solCalls = (found: Pick<Found, 'wallet' | 'destination'>, amount: bigint, priorityLamports: bigint) => [
  ...priority(priorityLamports, 1),
  transferSol(found.wallet, found.destination, amount),
];
