/** The operators file from its administrator's side: a login more, and everything else as it was. */
import { QvError } from '@quantumvault/shared/errors.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { type Logins, readOperators } from '../remote-freeze/operators-file.ts';
import { drawSecret, otpauthUri, wipe } from '../remote-freeze/totp.ts';
import { AtomicFile } from './atomic-file.ts';

export { LOGIN_NAME } from '../remote-freeze/operators-file.ts';

const OWNER_ONLY = 0o600;

/**
 * The URI for the authenticator application.
 * @throws QvError already_initialised; config_invalid when the file is there and not usable; output_unwritable;
 *   store_conflict when somebody else changed it meanwhile
 */
export async function addOperator(path: string, login: string): Promise<string> {
  const before = existing(path);
  const logins = before?.logins ?? new Map();
  const secret = drawSecret();
  try {
    if (logins.has(login)) throw new QvError('already_initialised', { path: login });
    if (logins.size >= LIMITS.supportLogins) throw new QvError('config_invalid', { path, value: 'too many logins' });
    await replace(path, textOf(new Map([...logins, [login, secret]])), before?.stamp);
    return otpauthUri(secret, login);
  } finally {
    for (const known of [...logins.values(), secret]) wipe(known);
  }
}

function existing(path: string): ReturnType<typeof readOperators> {
  try {
    return readOperators(path);
  } catch (error) {
    const { cause } = error as { cause?: NodeJS.ErrnoException };
    if (cause?.code === 'ENOENT') return undefined;
    throw error;
  }
}

function textOf(logins: Logins): string {
  const listed = [...logins].map(([name, secret]) => ({ name, secret: secret.base32 }));
  return `${JSON.stringify({ logins: listed }, undefined, 2)}\n`;
}

/** Two calls at once must not lose one of the logins without a word: the file is looked at once more at the end. */
async function replace(path: string, text: string, stamp: string | undefined): Promise<void> {
  const file = await AtomicFile.create(path, OWNER_ONLY);
  try {
    await file.write(text);
    if (existing(path)?.stamp !== stamp) throw new QvError('store_conflict', { path });
    await file.commit();
  } finally {
    await file.discard();
  }
}
