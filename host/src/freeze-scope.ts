/** What a freeze stops, as text: `fleet`, `wallet:<address>` or `requester:<key>`. */
import { type Address, address } from '@quantumvault/shared/brands.ts';
import { QvError } from '@quantumvault/shared/errors.ts';
import { FREEZE_SCOPE } from '@quantumvault/shared/evidence/leaf.ts';
import { requesterScope, walletScope } from '@quantumvault/shared/evidence/succession.ts';

export const FLEET = 'fleet';

/** What somebody asks for. Without a requester, what stops the wallet whoever asks. */
export interface Subject {
  readonly wallet: Address;
  readonly requester?: Address;
}

/**
 * A misspelt address would make a freeze that holds everywhere and stops nothing.
 * @throws QvError field_malformed
 */
export function parseFreezeScope(text: string, path = 'scope'): string {
  if (isFreezeScope(text)) return text;
  throw new QvError('field_malformed', { path, value: 'neither fleet nor wallet:<address> nor requester:<key>' });
}

export function isFreezeScope(text: string): boolean {
  if (!FREEZE_SCOPE.test(text)) return false;
  try {
    if (text !== FLEET) address(text.slice(text.indexOf(':') + 1));
    return true;
  } catch {
    return false;
  }
}

/** The scopes that stop it, the widest first. */
export function scopesOf(subject: Subject | undefined): readonly string[] {
  if (subject === undefined) return [FLEET];
  const { wallet, requester } = subject;
  return [FLEET, walletScope(wallet), ...(requester === undefined ? [] : [requesterScope(requester)])];
}
