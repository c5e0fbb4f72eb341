/**
 * What a wallet has spent, for windows and rates: pure functions over an immutable list, so that the enclave can keep
 * it in its sealed state and `qv` can replay it. Spends are recorded before signing and are final from then on.
 *
 * Windows slide and are closed at both ends: a spend counts until strictly more than the window's seconds have
 * passed. Sums are exact up to LIMITS.spendEntries entries; beyond, the two neighbours that lie closest in time become
 * one at the later time, which can only make a window fuller than it is; likewise where the keeper's room ends first.
 */
import { type Address, type TimeMs, timeMs } from '../brands.ts';
import { toHex, utf8 } from '../bytes.ts';
import { LIMITS } from '../limits.ts';
import { sha256 } from '../sha256.ts';
import type { Policy, Window } from './policy.ts';
import type { Tally } from './tally.ts';

export interface Spend {
  readonly at: TimeMs;
  /** Signatures in this entry: 1, or more after merging. */
  readonly count: number;
  readonly lamportsOut: bigint;
  readonly feeLamports: bigint;
  readonly tokens: ReadonlyMap<Address, bigint>;
}

export interface SignalUse {
  /** signalKey of its source and id. */
  readonly key: string;
  readonly at: TimeMs;
  readonly uses: number;
}

export interface SpendState {
  /** In order of time. */
  readonly spends: readonly Spend[];
  /** The newest signals, at most LIMITS.signalUses. */
  readonly signals: readonly SignalUse[];
  /** No older signal counts any more, unless it stands in `signals`: those forgotten were no newer than this. */
  readonly signalFloor: TimeMs;
  /** From then on, for its length, every window and rate counts as full: what was spent before is not known. */
  readonly fullAt?: TimeMs;
}

export const NOTHING_SPENT: SpendState = { spends: [], signals: [], signalFloor: timeMs(0) };

/** A signal as it was verified. Who verified it is the enclave's to say, never the caller's. */
export interface Signal {
  readonly source: string;
  readonly id: string;
  readonly at: TimeMs;
  readonly verifiedBy: 'enclave' | 'host';
}

/** What one signature reserves: the amounts of its verdict. */
export interface Reservation {
  readonly lamportsOut: bigint;
  readonly feeLamports: bigint;
  readonly tokens: ReadonlyMap<Address, bigint>;
  readonly signal?: Signal;
}

export const MINUTE_SECONDS = 60;
export const DAY_SECONDS = 86_400;

/**
 * The state after one more signature at `now`. Time that steps back counts as the latest time seen.
 * @param fits says whether whoever keeps the state has room for that many spends
 */
export function reserve(
  state: SpendState,
  reservation: Reservation,
  now: TimeMs,
  fits: (spends: readonly Spend[]) => boolean = () => true,
): SpendState {
  const { lamportsOut, feeLamports, tokens, signal } = reservation;
  const at = timeMs(Math.max(now, state.spends.at(-1)?.at ?? 0));
  const kept = state.spends.filter((spend) => isWithin(spend.at, LIMITS.policyWindowSeconds, at));
  const all = [...kept, { at, count: 1, lamportsOut, feeLamports, tokens: new Map(tokens) }];
  const spends = merged(all, fits);
  return { ...state, spends, ...(signal !== undefined && used(state, signal)) };
}

/** Sixteen bytes in hex: 256 of them fit where names and ids would not. Ids hold no space, so no two pairs share one. */
export function signalKey(source: string, id: string): string {
  return toHex(sha256(utf8(`${id} ${source}`)).subarray(0, 16));
}

/** One more use. Where there is no room the oldest is forgotten, and with it everything that is no newer. */
function used({ signals, signalFloor }: SpendState, { source, id, at }: Signal): Omit<SpendState, 'spends'> {
  const key = signalKey(source, id);
  const before = signals.find((use) => use.key === key);
  const latest = timeMs(Math.max(at, before?.at ?? 0));
  const all = [...signals.filter((use) => use !== before), { key, at: latest, uses: (before?.uses ?? 0) + 1 }];
  if (all.length <= LIMITS.signalUses) return { signals: all, signalFloor };
  const oldest = all.reduce((first, use) => (use.at < first.at ? use : first));
  return { signals: all.filter((use) => use !== oldest), signalFloor: timeMs(Math.max(signalFloor, oldest.at)) };
}

function merged(spends: readonly Spend[], fits: (spends: readonly Spend[]) => boolean): readonly Spend[] {
  if (spends.length <= LIMITS.spendEntries && fits(spends)) return spends;
  let closest = 0;
  let least = Number.POSITIVE_INFINITY;
  for (const [index, spend] of spends.entries()) {
    const next = spends[index + 1];
    if (next !== undefined && next.at - spend.at < least) {
      least = next.at - spend.at;
      closest = index;
    }
  }
  const [first, second] = [spends[closest], spends[closest + 1]];
  if (first === undefined || second === undefined) return spends;
  const tokens = new Map(first.tokens);
  for (const [mint, units] of second.tokens) tokens.set(mint, (tokens.get(mint) ?? 0n) + units);
  const both: Spend = {
    at: second.at,
    count: first.count + second.count,
    lamportsOut: first.lamportsOut + second.lamportsOut,
    feeLamports: first.feeLamports + second.feeLamports,
    tokens,
  };
  return merged([...spends.slice(0, closest), both, ...spends.slice(closest + 2)], fits);
}

export const isWithin = (at: TimeMs, seconds: number, now: TimeMs): boolean => now - at <= seconds * 1000;

export const isFull = ({ fullAt }: SpendState, seconds: number, now: TimeMs): boolean =>
  fullAt !== undefined && isWithin(fullAt, seconds, now);

/** Windows and rates, with this transaction included. Without a state nothing that needs one is allowed. */
export function judgeWindows(
  policy: Policy,
  state: SpendState | undefined,
  now: TimeMs,
  feeLamports: bigint,
  tally: Tally,
): void {
  const { rate } = policy;
  const window = (rule: string, limit: Window | undefined, amount: bigint, of: (spend: Spend) => bigint): void => {
    if (limit === undefined) return;
    if (state === undefined) return void tally.deny(rule, 'no state');
    if (isFull(state, limit.seconds, now)) return void tally.deny(rule, 'full since a lease');
    const recent = state.spends.filter((spend) => isWithin(spend.at, limit.seconds, now));
    const sum = recent.reduce((total, spend) => total + of(spend), amount);
    tally.check(rule, sum <= limit.max, sum.toString());
  };
  const within = (rule: string, most: number, seconds: number): void => {
    if (state === undefined) return void tally.deny(rule, 'no state');
    if (isFull(state, seconds, now)) return void tally.deny(rule, 'full since a lease');
    const recent = state.spends.filter((spend) => isWithin(spend.at, seconds, now));
    const count = recent.reduce((total, spend) => total + spend.count, 1);
    tally.check(rule, count <= most, String(count));
  };
  window('fees.window', policy.fees.window, feeLamports, (spend) => spend.feeLamports);
  window('sol.window', policy.sol.window, tally.lamportsOut, (spend) => spend.lamportsOut);
  for (const [index, rule] of policy.tokens.entries()) {
    const of = (spend: Spend): bigint => spend.tokens.get(rule.mint) ?? 0n;
    window(`tokens[${index}].window`, rule.window, tally.tokens.get(rule.mint) ?? 0n, of);
  }
  if (rate === undefined) return;
  within('rate.perMinute', rate.perMinute, MINUTE_SECONDS);
  within('rate.perDay', rate.perDay, DAY_SECONDS);
}

/** A signal triggers, never authorises: it can only be missing, unknown, unverified, too old or used up. */
export function judgeSignal(
  policy: Policy,
  state: SpendState | undefined,
  signal: Signal | undefined,
  now: TimeMs,
  tally: Tally,
): void {
  const rules = policy.signals;
  if (rules === undefined) {
    if (signal !== undefined) tally.deny('signals', signal.source);
    return;
  }
  if (signal === undefined) {
    tally.check('signals.required', !rules.required, 'none');
    return;
  }
  const source = rules.sources.find((candidate) => candidate.name === signal.source);
  if (source === undefined) return void tally.deny('signals.sources', signal.source);
  const verified = 'hostVerified' in source || signal.verifiedBy === 'enclave';
  tally.check('signals.sources', verified, `${signal.source} ${signal.verifiedBy}`);
  const age = now - signal.at;
  const fresh = age >= -LIMITS.requestMaxFutureSeconds * 1000 && age <= rules.maxAgeSeconds * 1000;
  tally.check('signals.maxAgeSeconds', fresh, String(Math.floor(age / 1000)));
  if (state === undefined) return void tally.deny('signals.signaturesPerSignal', 'no state');
  const key = signalKey(signal.source, signal.id);
  const use = state.signals.find((candidate) => candidate.key === key);
  if (use === undefined && signal.at <= state.signalFloor)
    return void tally.deny('signals.remembered', String(Math.floor(age / 1000)));
  // One that could still be fresh must not be forgotten to make room: a copy of it might count again.
  const oldest = Math.min(...state.signals.map(({ at }) => at));
  if (use === undefined && state.signals.length >= LIMITS.signalUses && now - oldest <= rules.maxAgeSeconds * 1000)
    return void tally.deny('signals.room', String(state.signals.length));
  const uses = (use?.uses ?? 0) + 1;
  tally.check('signals.signaturesPerSignal', uses <= rules.signaturesPerSignal, String(uses));
}
