/** The accounts of the wallet that a policy knows: itself, and its token account for each mint in `tokens`. */
import type { Address } from '../brands.ts';
import { associatedTokenAccount } from '../solana/pda.ts';
import { TOKEN_PROGRAM, WRAPPED_SOL_MINT } from '../solana/programs.ts';
import type { Policy, TokenRule } from './policy.ts';

export function tokenRule(policy: Policy, mint: Address): TokenRule | undefined {
  return policy.tokens.find((rule) => rule.mint === mint);
}

export function walletTokenAccount(policy: Policy, rule: TokenRule): Address {
  return associatedTokenAccount(policy.wallet, rule.mint, rule.tokenProgram);
}

/** Undefined where the policy does not list wrapped SOL: wrapping is then not allowed at all. */
export function wrappedSolAccount(policy: Policy): Address | undefined {
  const rule = tokenRule(policy, WRAPPED_SOL_MINT);
  return rule?.tokenProgram === TOKEN_PROGRAM ? walletTokenAccount(policy, rule) : undefined;
}

/** Of each policy, computed once: policies are frozen. */
const known = new WeakMap<Policy, ReadonlySet<Address>>();

export function walletAccounts(policy: Policy): ReadonlySet<Address> {
  const before = known.get(policy);
  if (before !== undefined) return before;
  const accounts = new Set([policy.wallet, ...policy.tokens.map((rule) => walletTokenAccount(policy, rule))]);
  known.set(policy, accounts);
  return accounts;
}
