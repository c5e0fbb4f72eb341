/** The scope of a freeze as somebody outside writes it, and whom it is asked about. */
import type { Address } from '@quantumvault/shared/brands.ts';
import { QvError } from '@quantumvault/shared/errors.ts';
import { isFreezeScope } from '@quantumvault/shared/evidence/freeze-scope.ts';

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
