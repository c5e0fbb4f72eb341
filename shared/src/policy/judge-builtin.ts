/** ComputeBudget, System and Memo instructions. Each function denies, or returns what the instruction does. */
import { decodeComputeBudget } from '../solana/compute-budget.ts';
import { decodeSystem } from '../solana/system.ts';
import type { Call } from './call.ts';
import type { Policy } from './policy.ts';
import type { Tally } from './tally.ts';
import { wrappedSolAccount } from './wallet-accounts.ts';

/**
 * The runtime refuses a repeated request; so do we, also in version 1, where all of them are ignored. What they cost
 * is counted with the fee.
 */
export function judgeComputeBudget(call: Call, requested: Set<string>, tally: Tally): string {
  const decoded = decodeComputeBudget(call.data);
  if (typeof decoded === 'string') return tally.deny(decoded, `${call.label} ComputeBudget`);
  if (call.accounts.length > 0) tally.deny('unexpected-accounts', `${call.label} ComputeBudget`);
  if (requested.has(decoded.kind)) tally.deny('duplicate-compute-budget', `${call.label} ${decoded.kind}`);
  requested.add(decoded.kind);
  return `ComputeBudget ${decoded.kind}`;
}

/** Only Transfer from the wallet; accounts: source, destination. */
export function judgeSystem(policy: Policy, call: Call, tally: Tally): string {
  const decoded = decodeSystem(call.data);
  if (typeof decoded === 'string') return tally.deny(decoded, `${call.label} System`);
  tally.spendLamports(decoded.lamports);
  if (decoded.kind === 'denied') return tally.deny(decoded.rule, `${call.label} System ${decoded.lamports}`);
  const [from, to] = call.accounts;
  if (from === undefined || to === undefined || call.accounts.length !== 2)
    return tally.deny('unexpected-accounts', `${call.label} System Transfer`);
  const summary = `System Transfer ${decoded.lamports} to ${to}`;
  if (from !== policy.wallet) tally.deny('authority-not-wallet', `${call.label} ${from}`);
  // Wrapping counts as SOL out, and needs wrapped SOL in `tokens` rather than a destination.
  const allowed = policy.sol.destinations.includes(to) || to === wrappedSolAccount(policy);
  if (!allowed) tally.deny('sol.destinations', `${call.label} ${summary}`);
  return summary;
}

/** A memo is UTF-8 text; it may name the wallet as its signer and nobody else. */
export function judgeMemo(policy: Policy, call: Call, tally: Tally): string {
  if (call.accounts.some((account) => account !== policy.wallet))
    tally.deny('memo-other-account', `${call.label} Memo`);
  if (!isUtf8(call.data)) tally.deny('non-canonical-data', `${call.label} Memo`);
  return 'Memo';
}

function isUtf8(bytes: Uint8Array): boolean {
  try {
    new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
    return true;
  } catch {
    return false;
  }
}
