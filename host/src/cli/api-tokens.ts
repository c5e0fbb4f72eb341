/** The file of API tokens from its administrator's side: a token more, and everything else as it was. */
import { randomBytes } from 'node:crypto';
import type { Address } from '@quantumvault/shared/brands.ts';
import { toHex } from '@quantumvault/shared/bytes.ts';
import { QvError } from '@quantumvault/shared/errors.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { type Role, readTokens, type TokenEntry, tokenHash } from '../reads/tokens-file.ts';
import { writeAtomically } from './atomic-file.ts';
import { exclusively } from './operators.ts';

export { ROLES, TOKEN_NAME } from '../reads/tokens-file.ts';

const OWNER_ONLY = 0o600;

export interface NewToken {
  readonly name: string;
  readonly role: Role;
  readonly wallets: readonly Address[];
}

/**
 * The token, which is nowhere else from then on.
 * @throws QvError already_initialised; config_invalid when the file is there and not usable; output_unwritable;
 *   store_conflict when somebody else is at it
 */
export function addApiToken(path: string, { name, role, wallets }: NewToken): Promise<string> {
  return exclusively(path, async () => {
    const tokens = existing(path);
    if (tokens.some((token) => token.name === name)) throw new QvError('already_initialised', { path: name });
    if (tokens.length >= LIMITS.apiTokens) throw new QvError('config_invalid', { path, value: 'too many tokens' });
    const token = `qvt_${randomBytes(32).toString('base64url')}`;
    const sha256 = tokenHash(token);
    const entry: TokenEntry = { name, role, sha256, ...(wallets.length > 0 && { wallets }) };
    await writeAtomically(path, textOf([...tokens, entry]), OWNER_ONLY);
    return token;
  });
}

function existing(path: string): readonly TokenEntry[] {
  try {
    return readTokens(path)?.tokens ?? [];
  } catch (error) {
    const { cause } = error as { cause?: NodeJS.ErrnoException };
    if (cause?.code === 'ENOENT') return [];
    throw error;
  }
}

function textOf(tokens: readonly TokenEntry[]): string {
  const listed = tokens.map(({ sha256, certificateSha256, ...rest }) => ({
    ...rest,
    ...(sha256 && { sha256: toHex(sha256) }),
    ...(certificateSha256 && { certificateSha256: toHex(certificateSha256) }),
  }));
  return `${JSON.stringify({ tokens: listed }, undefined, 2)}\n`;
}
