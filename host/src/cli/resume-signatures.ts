/** Signatures that end a freeze and were made elsewhere. */
import { address } from '@quantumvault/shared/brands.ts';
import { fromBase64 } from '@quantumvault/shared/bytes.ts';
import { QvError } from '@quantumvault/shared/errors.ts';

export interface SignedByText {
  readonly key: string;
  readonly signature: string;
}

/** `<base58 key>:<base64 signature>` @throws QvError usage_invalid, base58_malformed, base64_malformed */
export function parseSigned(text: string): SignedByText {
  const [key, signature, ...more] = text.split(':');
  if (key === undefined || signature === undefined || more.length > 0)
    throw new QvError('usage_invalid', { value: '--signed is <base58 key>:<base64 signature>' });
  address(key, '--signed');
  if (fromBase64(signature, '--signed').length !== 64)
    throw new QvError('usage_invalid', { value: '--signed holds a signature of 64 bytes' });
  return { key, signature };
}
