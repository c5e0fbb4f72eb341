/**
 * Token and Associated Token instructions. Tokens leave only by TransferChecked, which names the mint, to the derived
 * account of an allowed owner; a Batch is judged as the instructions it holds.
 */
import { LIMITS } from '../limits.ts';
import { decodeAssociatedToken } from '../solana/associated-token.ts';
import { associatedTokenAccount } from '../solana/pda.ts';
import { SYSTEM_PROGRAM, TOKEN_2022_PROGRAM, TOKEN_PROGRAM } from '../solana/programs.ts';
import { decodeBatch, decodeToken, type TokenInstruction } from '../solana/token.ts';
import type { Call } from './call.ts';
import type { Policy } from './policy.ts';
import type { Tally } from './tally.ts';
import { tokenRule, wrappedSolAccount } from './wallet-accounts.ts';

type Of<Kind extends TokenInstruction['kind']> = Extract<TokenInstruction, { readonly kind: Kind }>;

/** Denies, or returns what the instruction does, for people. */
export function judgeToken(policy: Policy, call: Call, tally: Tally): string {
  const decoded = decodeToken(call.program, call.data);
  if (typeof decoded === 'string') return tally.deny(decoded, `${call.label} Token`);
  switch (decoded.kind) {
    case 'transferChecked':
      return judgeTransfer(policy, call, decoded, tally);
    case 'closeAccount':
      return judgeClose(policy, call, tally);
    case 'syncNative':
      return judgeSync(policy, call, tally);
    case 'batch':
      return judgeBatch(policy, call, tally);
    case 'denied':
      return judgeDenied(call, decoded, tally);
  }
}

/** Accounts: source, mint, destination, authority; more of them would be multisig signers or a transfer hook's. */
function judgeTransfer(policy: Policy, call: Call, { units, decimals }: Of<'transferChecked'>, tally: Tally): string {
  const [source, mint, destination, authority] = call.accounts;
  if (source === undefined || mint === undefined || destination === undefined || authority === undefined)
    return tally.deny('missing-accounts', `${call.label} TransferChecked ${call.accounts.length}`);
  tally.spendTokens(mint, units);
  if (call.accounts.length > 4)
    return tally.deny('unexpected-accounts', `${call.label} TransferChecked ${call.accounts.length}`);
  const summary = `Token TransferChecked ${units} of ${mint} to ${destination}`;
  if (authority !== policy.wallet) tally.deny('authority-not-wallet', `${call.label} ${authority}`);
  const rule = tokenRule(policy, mint);
  if (rule === undefined) return tally.deny('mint-not-allowed', `${call.label} ${mint}`);
  if (rule.tokenProgram !== call.program) return tally.deny('wrong-token-program', `${call.label} ${call.program}`);
  if (rule.decimals !== decimals) tally.deny('wrong-decimals', `${call.label} ${decimals}`);
  const allowed = rule.destinations.some((owner) => associatedTokenAccount(owner, mint, call.program) === destination);
  if (!allowed) tally.deny('token-destination-not-allowed', `${call.label} ${destination}`);
  return summary;
}

/** Accounts: account, destination of its lamports, owner. */
function judgeClose(policy: Policy, call: Call, tally: Tally): string {
  const [account, destination, owner] = call.accounts;
  if (account === undefined || destination === undefined || owner === undefined)
    return tally.deny('missing-accounts', `${call.label} CloseAccount ${call.accounts.length}`);
  if (destination !== policy.wallet) tally.deny('close-account-to-stranger', `${call.label} ${destination}`);
  if (owner !== policy.wallet) tally.deny('authority-not-wallet', `${call.label} ${owner}`);
  if (call.accounts.length > 3) tally.deny('unexpected-accounts', `${call.label} CloseAccount ${call.accounts.length}`);
  if (call.data.length !== 1) tally.deny('non-canonical-data', `${call.label} CloseAccount`);
  return `Token CloseAccount ${account} to the wallet`;
}

/** Only the wallet's own wrapped-SOL account, and only where the policy lists wrapped SOL. */
function judgeSync(policy: Policy, call: Call, tally: Tally): string {
  const own = wrappedSolAccount(policy);
  if (call.accounts.length !== 1) return tally.deny('unexpected-accounts', `${call.label} SyncNative`);
  if (own === undefined || call.program !== TOKEN_PROGRAM || call.accounts[0] !== own)
    return tally.deny('sync-native-not-own', `${call.label} ${call.accounts[0] ?? ''}`);
  return 'Token SyncNative';
}

/** Inner instructions take the Batch's accounts in order; p-token tolerates leftovers, we do not. */
function judgeBatch(policy: Policy, call: Call, tally: Tally): string {
  const entries = decodeBatch(call.data);
  if (entries === undefined) return tally.deny('malformed-batch', call.label);
  const summaries: string[] = [];
  let used = 0;
  for (const [index, { accountCount, data }] of entries.entries()) {
    const label = `${call.label}.${index}`;
    const accounts = call.accounts.slice(used, used + accountCount);
    if (accounts.length < accountCount) return tally.deny('malformed-batch', `${label} accounts`);
    used += accountCount;
    const nested = decodeToken(call.program, data);
    if (typeof nested !== 'string' && nested.kind === 'batch') return tally.deny('nested-batch', label);
    summaries.push(judgeToken(policy, { label, program: call.program, accounts, data }, tally));
  }
  if (used !== call.accounts.length) return tally.deny('malformed-batch', `${call.label} leftover accounts`);
  return `Token Batch of ${entries.length}: ${summaries.join('; ')}`;
}

/** The amount still counts, so that a dry run shows it: lamports for UnwrapLamports, else units of the mint named. */
function judgeDenied(call: Call, { rule, amount }: Of<'denied'>, tally: Tally): string {
  if (rule === 'unwrap-lamports') tally.spendLamports(amount);
  const mint = call.accounts[1];
  if (rule === 'burn' && mint !== undefined) tally.spendTokens(mint, amount);
  return tally.deny(rule, `${call.label} Token ${amount}`);
}

/**
 * Creating an associated token account costs its rent, also where it exists already: the judge cannot know. Accounts:
 * payer, account, owner, mint, System, token program. Rent under Token-2022 depends on the mint's extensions, which
 * the judge does not know either, so those are denied.
 */
export function judgeAssociatedToken(policy: Policy, call: Call, tally: Tally): string {
  const decoded = decodeAssociatedToken(call.data);
  if (decoded === 'unknown-instruction' || decoded === 'non-canonical-data')
    return tally.deny(decoded, `${call.label} AssociatedToken`);
  if (decoded === 'recoverNested') return tally.deny('recover-nested', call.label);
  tally.spendLamports(BigInt(LIMITS.tokenAccountRentLamports));
  const [payer, account, owner, mint, system, tokenProgram] = call.accounts;
  if (owner === undefined || mint === undefined || tokenProgram === undefined)
    return tally.deny('missing-accounts', `${call.label} AssociatedToken ${call.accounts.length}`);
  if (call.accounts.length > 6)
    return tally.deny('unexpected-accounts', `${call.label} AssociatedToken ${call.accounts.length}`);
  if (payer !== policy.wallet) tally.deny('authority-not-wallet', `${call.label} ${payer ?? ''}`);
  if (system !== SYSTEM_PROGRAM) tally.deny('unexpected-accounts', `${call.label} ${system ?? ''}`);
  const rule = tokenRule(policy, mint);
  if (rule === undefined) return tally.deny('mint-not-allowed', `${call.label} ${mint}`);
  if (rule.tokenProgram !== tokenProgram) return tally.deny('wrong-token-program', `${call.label} ${tokenProgram}`);
  if (tokenProgram === TOKEN_2022_PROGRAM) tally.deny('token-2022-rent-unknown', `${call.label} ${mint}`);
  if (owner !== policy.wallet && !rule.destinations.includes(owner))
    tally.deny('token-destination-not-allowed', `${call.label} ${owner}`);
  if (account !== associatedTokenAccount(owner, mint, tokenProgram))
    tally.deny('wrong-ata', `${call.label} ${account ?? ''}`);
  return `AssociatedToken ${decoded} of ${mint} for ${owner}`;
}
