/** What a freeze stops, as text: `fleet`, `wallet:<address>` or `requester:<key>`. */
import { type Address, address } from '../brands.ts';

export const FREEZE_SCOPE = /^(?:fleet|(?:wallet|requester):[1-9A-HJ-NP-Za-km-z]{32,44})$/;

export const FLEET = 'fleet';
export const walletScope = (wallet: Address): string => `wallet:${wallet}`;
export const requesterScope = (requester: Address): string => `requester:${requester}`;

/** A scope that names no key would hold everywhere and stop nobody. */
export function isFreezeScope(text: string): boolean {
  if (!FREEZE_SCOPE.test(text)) return false;
  try {
    if (text !== FLEET) address(text.slice(text.indexOf(':') + 1));
    return true;
  } catch {
    return false;
  }
}

/** These travel with their wallets alone, and end by their owners; all others end by operators. */
export const isOfWallet = (scope: string): boolean => scope.startsWith('wallet:');

/** Whether a freeze goes where this wallet goes: every requester's does, because policies change. */
export const touches = (scope: string, wallet: Address): boolean => !isOfWallet(scope) || scope === walletScope(wallet);

/** The scopes that stop it, the widest first. Without a requester, those that stop the wallet whoever asks. */
export function scopesOf(subject: { readonly wallet: Address; readonly requester?: Address } | undefined): string[] {
  if (subject === undefined) return [FLEET];
  const { wallet, requester } = subject;
  return [FLEET, walletScope(wallet), ...(requester === undefined ? [] : [requesterScope(requester)])];
}
