/** What a sweep moves of what was found, what it leaves where it is, and why. Pure. */
import type { Address } from '@quantumvault/shared/brands.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { TOKEN_2022_PROGRAM } from '@quantumvault/shared/solana/programs.ts';
import type { Found, TokenHolding } from './found.ts';
import { type Call, closeAccount, createReceiver, feeLamportsOf, priority, transferTokens } from './transactions.ts';

/** Why something stays, as reports say it. */
export const REASONS = {
  'not-chosen': 'It is not among --mint.',
  'account-frozen': 'The mint’s freeze authority has frozen the wallet’s token account.',
  'receiver-frozen': 'The destination’s token account is frozen.',
  'receiver-foreign': 'The destination’s token account belongs to somebody else by now.',
  'receiver-missing':
    'Token-2022: the destination has no token account of this mint, and no policy lets one be made. Make it there first.',
  'no-mint': 'Its mint does not exist any more.',
  extension:
    'Token-2022: an extension, whose number the value says, by which a transfer may cost a fee, need more or fail.',
  'close-authority': 'Somebody else has the right to close this token account.',
  'sol-missing': 'The wallet has too little SOL for the fee, or for the rent of the destination’s token account.',
  denied: 'No policy allows the transaction; the value is the rule.',
  failed: 'The transaction was refused or failed on chain; the value is what the endpoint said.',
  expired: 'No transaction was confirmed in time; nobody knows why.',
  'below-fee': 'It is less than the fee of moving it.',
  'below-rent': 'The destination has no account yet, and a new one has to hold more than that.',
  kept: 'It is to pay for what else is left: call again, send the wallet some more SOL, or pick tokens with --mint.',
  'next-call': 'There is more than one call moves: call again.',
} as const;
export type Reason = keyof typeof REASONS;

export interface Left {
  /** Lamports of the wallet, lamports of the rent of a token account, or base units of a mint. */
  readonly what: 'sol' | 'rent' | 'token';
  readonly amount: bigint;
  readonly reason: Reason;
  readonly mint?: Address;
  readonly account?: Address;
  readonly value?: string;
}

/** One transaction. */
export interface Move {
  readonly what: 'token' | 'accounts';
  /** One for a token. */
  readonly holdings: readonly TokenHolding[];
  readonly calls: readonly Call[];
  /** Of the destination's token account, as the judge counts it: whether it is there already or not. */
  readonly rentLamports: bigint;
  /** What closing brings back to the wallet. */
  readonly returnedLamports: bigint;
}

export interface PlanOptions {
  /** Only these; all of them when absent. */
  readonly mints?: readonly Address[];
  readonly priorityLamports: bigint;
  /** Token accounts that are closed one by one, after closing them with others failed. */
  readonly alone: ReadonlySet<Address>;
  /** By token account: what was tried and did not work. */
  readonly failed: ReadonlyMap<Address, { readonly reason: Reason; readonly value?: string }>;
}

export interface Plan {
  readonly closings: readonly Move[];
  readonly tokens: readonly Move[];
  readonly left: readonly Left[];
}

/**
 * Extensions of a mint with which TransferChecked is what it is in SPL Token: close authority, default state, interest,
 * permanent delegate, metadata and groups with their pointers, scaled amounts. With others it costs a fee, takes further
 * accounts, or is forbidden.
 */
const SAFE_MINT_EXTENSIONS = [3, 6, 10, 12, 18, 19, 20, 21, 22, 23, 25];
/** Of an account: immutable owner, memo required (of what comes in), CPI guard. */
const SAFE_ACCOUNT_EXTENSIONS = [7, 8, 11];
const CLOSINGS_PER_TRANSACTION = 8;

export function planOf(found: Found, options: PlanOptions): Plan {
  const left: Left[] = [];
  const empties: TokenHolding[] = [];
  const tokens: Move[] = [];
  for (const held of found.tokens) {
    const why = options.failed.get(held.account) ?? reasonToLeave(held, options.mints);
    if (why !== undefined) left.push(leftOf(held, why));
    // What is wrapped comes back as SOL.
    else if (held.units === 0n || held.isNative) empties.push(held);
    else tokens.push(tokenMove(found, held, options.priorityLamports));
  }
  const closings = grouped(empties, options.alone).map((held) => closingMove(found, held, options.priorityLamports));
  // First those that cost the fee alone.
  return { closings, tokens: tokens.sort((a, b) => Number(a.rentLamports - b.rentLamports)), left };
}

function grouped(empties: readonly TokenHolding[], alone: ReadonlySet<Address>): readonly TokenHolding[][] {
  const groups = empties.filter(({ account }) => alone.has(account)).map((held) => [held]);
  const others = empties.filter(({ account }) => !alone.has(account));
  for (let start = 0; start < others.length; start += CLOSINGS_PER_TRANSACTION)
    groups.push(others.slice(start, start + CLOSINGS_PER_TRANSACTION));
  return groups;
}

export function leftOf(held: TokenHolding, why: { readonly reason: Reason; readonly value?: string }): Left {
  const { mint, account, units, lamports } = held;
  return units === 0n
    ? { what: 'rent', amount: lamports, mint, account, ...why }
    : { what: 'token', amount: units, mint, account, ...why };
}

function reasonToLeave(
  held: TokenHolding,
  mints: readonly Address[] | undefined,
): { readonly reason: Reason; readonly value?: string } | undefined {
  if (mints !== undefined && held.units > 0n && !held.isNative && !mints.includes(held.mint))
    return { reason: 'not-chosen' };
  if (held.isFrozen) return { reason: 'account-frozen' };
  const own = held.extensions.find((extension) => !SAFE_ACCOUNT_EXTENSIONS.includes(extension));
  const foreign = held.mintExtensions.find((extension) => !SAFE_MINT_EXTENSIONS.includes(extension));
  if (own !== undefined) return { reason: 'extension', value: `account ${own}` };
  if (held.units === 0n || held.isNative) return held.isClosable ? undefined : { reason: 'close-authority' };
  if (foreign !== undefined) return { reason: 'extension', value: `mint ${foreign}` };
  switch (held.receiver) {
    case 'ready':
      return undefined;
    case 'missing':
      return held.program === TOKEN_2022_PROGRAM ? { reason: 'receiver-missing' } : undefined;
    case 'frozen':
      return { reason: 'receiver-frozen' };
    case 'foreign':
      return { reason: 'receiver-foreign' };
    case 'extension':
      return { reason: 'extension', value: 'destination' };
    case 'no-mint':
      return { reason: 'no-mint' };
  }
}

function tokenMove({ wallet, destination }: Found, held: TokenHolding, priorityLamports: bigint): Move {
  const isNew = held.receiver === 'missing';
  const calls = [
    ...(isNew ? [createReceiver(wallet, destination, held)] : []),
    transferTokens(wallet, destination, held),
    ...(held.isClosable ? [closeAccount(wallet, held)] : []),
  ];
  return {
    what: 'token',
    holdings: [held],
    calls: [...priority(priorityLamports, calls.length), ...calls],
    rentLamports: isNew ? BigInt(LIMITS.tokenAccountRentLamports) : 0n,
    returnedLamports: held.isClosable ? held.lamports : 0n,
  };
}

function closingMove({ wallet }: Found, holdings: readonly TokenHolding[], priorityLamports: bigint): Move {
  const calls = holdings.map((held) => closeAccount(wallet, held));
  return {
    what: 'accounts',
    holdings,
    calls: [...priority(priorityLamports, calls.length), ...calls],
    rentLamports: 0n,
    returnedLamports: holdings.reduce((sum, { lamports }) => sum + lamports, 0n),
  };
}

/** What of the SOL goes when nothing else does any more: all but the fee, or the reason why nothing. */
export function solToMove(
  { lamports, destinationExists }: Pick<Found, 'lamports' | 'destinationExists'>,
  priorityLamports: bigint,
): { readonly amount: bigint; readonly reason?: Reason } {
  const amount = lamports - feeLamportsOf(priorityLamports);
  if (amount <= 0n) return { amount: 0n, reason: 'below-fee' };
  if (!destinationExists && amount < BigInt(LIMITS.walletRentLamports)) return { amount: 0n, reason: 'below-rent' };
  return { amount };
}

/**
 * What is left when nothing more is done.
 * @param waiting what could move and did not
 * @param sol why the SOL stays, where that is known
 */
export function leftBehind(
  found: Pick<Found, 'lamports' | 'destinationExists'>,
  left: readonly Left[],
  waiting: readonly Move[],
  priorityLamports: bigint,
  sol?: { readonly reason: Reason; readonly value?: string },
): readonly Left[] {
  const movable = waiting.flatMap(({ holdings, rentLamports }) => {
    const least = feeLamportsOf(priorityLamports) + rentLamports + BigInt(LIMITS.walletRentLamports);
    return holdings.map((held) => leftOf(held, { reason: found.lamports >= least ? 'next-call' : 'sol-missing' }));
  });
  const isKept = movable.some(({ reason }) => reason === 'sol-missing');
  const { reason = isKept ? 'kept' : 'next-call' } = solToMove(found, priorityLamports);
  const stays: readonly Left[] =
    found.lamports === 0n ? [] : [{ what: 'sol', amount: found.lamports, ...(sol ?? { reason }) }];
  return [...stays, ...left, ...movable];
}
