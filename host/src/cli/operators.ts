/** The operators file from its administrator's side: a login more, and everything else as it was. */
import { closeSync, openSync, unlinkSync } from 'node:fs';
import { QvError } from '@quantumvault/shared/errors.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { type Logins, readOperators } from '../remote-freeze/operators-file.ts';
import { base32Of, drawSecret, otpauthUri } from '../remote-freeze/totp.ts';
import { writeAtomically } from './atomic-file.ts';

export { LOGIN_NAME } from '../remote-freeze/operators-file.ts';

const OWNER_ONLY = 0o600;

/**
 * The URI for the authenticator application.
 * @throws QvError already_initialised; config_invalid when the file is there and not usable; output_unwritable;
 *   store_conflict when somebody else is at it
 */
export function addOperator(path: string, login: string): Promise<string> {
  return exclusively(path, async () => {
    const logins = existing(path) ?? new Map();
    const secret = drawSecret();
    try {
      if (logins.has(login)) throw new QvError('already_initialised', { path: login });
      if (logins.size >= LIMITS.supportLogins) throw new QvError('config_invalid', { path, value: 'too many logins' });
      await writeAtomically(path, textOf(new Map([...logins, [login, secret]])), OWNER_ONLY);
      return otpauthUri(secret, login);
    } finally {
      for (const known of [...logins.values(), secret]) known.wipe();
    }
  });
}

/** Of two calls at once one is refused: the later one to write would drop the login of the other without a word. */
export async function exclusively<T>(path: string, work: () => Promise<T>): Promise<T> {
  const lock = `${path}.lock`;
  try {
    closeSync(openSync(lock, 'wx', OWNER_ONLY));
  } catch (error) {
    const { code = 'unwritable' } = error as NodeJS.ErrnoException;
    if (code === 'EEXIST') throw new QvError('store_conflict', { path: lock, value: 'in use, or left behind' });
    throw new QvError('output_unwritable', { path: lock, value: code }, { cause: error });
  }
  try {
    return await work();
  } finally {
    unlinkSync(lock);
  }
}

function existing(path: string): Logins | undefined {
  try {
    return readOperators(path)?.logins;
  } catch (error) {
    const { cause } = error as { cause?: NodeJS.ErrnoException };
    if (cause?.code === 'ENOENT') return undefined;
    throw error;
  }
}

function textOf(logins: Logins): string {
  const listed = [...logins].map(([name, secret]) => ({ name, secret: base32Of(secret) }));
  return `${JSON.stringify({ logins: listed }, undefined, 2)}\n`;
}
