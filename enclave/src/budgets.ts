/** What a wallet's windows and rates have left, out of the state in memory: no key is needed, and nothing changes. */
import { equalBytes } from '@quantumvault/shared/bytes.ts';
import { QvError } from '@quantumvault/shared/errors.ts';
import { budgetsOf } from '@quantumvault/shared/policy/budgets.ts';
import { policyFromBytes, policyHash } from '@quantumvault/shared/policy/policy.ts';
import type { ReplyOf, RequestOf } from '@quantumvault/shared/protocol/messages.ts';
import type { Context } from './context.ts';

const U64_MAX = (1n << 64n) - 1n;

/**
 * The policy is the host's copy, and counts only as the one that the state names: its hash is enough.
 * @throws QvError wallet_held_elsewhere, policy_not_current, policy_*, time_untrusted
 */
export function budgets({ holdings, time }: Context, request: RequestOf<'budgets'>): ReplyOf<'budgets'> {
  const held = holdings.get(request.wallet);
  if (held === undefined) throw new QvError('wallet_held_elsewhere', { path: 'wallet' });
  const { policyHash: current, spent } = held.state;
  // Before it is parsed: only what an owner enabled costs that work.
  if (current === undefined || !equalBytes(current, policyHash(request.policy)))
    throw new QvError('policy_not_current', { path: 'policy' });
  const now = time.now();
  const u64 = (value: bigint): bigint => (value > U64_MAX ? U64_MAX : value);
  const windows = budgetsOf(policyFromBytes(request.policy), spent, now);
  return { time: now, budgets: windows.map((budget) => ({ ...budget, spent: u64(budget.spent) })) };
}
