/**
 * The instance role's credentials for the enclave's kms-agent: what a source of them is, and the one that reads a file
 * which something outside refreshes. They open nothing without an attestation, but they do let their holder call KMS,
 * so they are kept from other users.
 */

import type { TimeMs } from '@quantumvault/shared/brands.ts';
import { utf8 } from '@quantumvault/shared/bytes.ts';
import { codeOf, type ErrorCode } from '@quantumvault/shared/errors.ts';
import { JsonFields, parseStrictJson } from '@quantumvault/shared/json.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import type { CredentialBytes } from '@quantumvault/shared/protocol/message-parts.ts';
import { parseTime } from '@quantumvault/shared/rfc3339.ts';
import { asConfigFault } from './config.ts';
import type { Log } from './log.ts';
import { type PrivateFile, readPrivateFile } from './private-file.ts';

/** `version` changes with each new content; replaced bytes are wiped. */
export interface Credentials {
  readonly version: number;
  readonly body: CredentialBytes;
}

export interface CredentialsSource {
  /** Undefined until there are some. They may have expired: who judges that is KMS. */
  readonly current: Credentials | undefined;
  /** Why the last look for newer ones failed; undefined when it did not. */
  readonly fault: ErrorCode | undefined;
  close(): void;
}

export type CredentialsState = 'valid' | 'expired' | 'missing';

/** `now`: the enclave's trusted time where there is one, since the host's clock may be wrong. */
export function stateOfCredentials({ current }: Pick<CredentialsSource, 'current'>, now: TimeMs): CredentialsState {
  if (current === undefined) return 'missing';
  const { expiresAt } = current.body;
  return expiresAt === undefined || expiresAt > now ? 'valid' : 'expired';
}

/** For the owner of bytes that nobody gets any more. What was handed to the enclave was copied on the way. */
export function wipeCredentials({ accessKeyId, secretAccessKey, sessionToken }: CredentialBytes): void {
  for (const bytes of [accessKeyId, secretAccessKey, sessionToken]) bytes?.fill(0);
}

/** As the messages to the enclave have it. */
export const CREDENTIAL_CHARACTERS = { accessKeyId: 128, secretAccessKey: 256, sessionToken: 8192 } as const;

/** One part of them as bytes. @throws QvError naming the field, never quoting it */
export function credentialPart(fields: JsonFields, key: string, max: number): Uint8Array {
  const value = fields.text(key);
  if (value.length === 0 || value.length > max || !/^[\x21-\x7e]+$/.test(value))
    throw fields.fault(key, 'not such text');
  return utf8(value);
}

/**
 * @param user whose file it may be, besides root's; whoever runs this unless given
 * @throws QvError config_invalid with path credentialsFile
 */
export function readCredentials(
  path: string,
  user?: number,
): { readonly body: CredentialBytes; readonly stamp: string } {
  return withFile(path, ({ bytes, stamp }) => ({ body: parseCredentials(bytes), stamp }), user);
}

/** The bytes are wiped when `use` is done with them. */
function withFile<T>(path: string, use: (file: PrivateFile) => T, user?: number): T {
  try {
    const file = readPrivateFile(path, 'credentialsFile', LIMITS.credentialsBytes, user);
    try {
      return use(file);
    } finally {
      file.bytes.fill(0);
    }
  } catch (error) {
    throw asConfigFault(error, 'credentialsFile');
  }
}

function parseCredentials(bytes: Uint8Array): CredentialBytes {
  // secret-rule: JSON makes strings of it, which V8 keeps until it likes
  const fields = new JsonFields(parseStrictJson(bytes), 'credentialsFile');
  const body: CredentialBytes = {
    accessKeyId: credentialPart(fields, 'accessKeyId', CREDENTIAL_CHARACTERS.accessKeyId),
    secretAccessKey: credentialPart(fields, 'secretAccessKey', CREDENTIAL_CHARACTERS.secretAccessKey),
    ...(fields.optional('sessionToken') === undefined
      ? {}
      : { sessionToken: credentialPart(fields, 'sessionToken', CREDENTIAL_CHARACTERS.sessionToken) }),
    ...(fields.optional('expiresAt') === undefined ? {} : { expiresAt: expiry(fields) }),
  };
  fields.end();
  return body;
}

function expiry(fields: JsonFields) {
  const time = parseTime(fields.text('expiresAt'));
  if (time === undefined) throw fields.fault('expiresAt', 'not RFC 3339 in UTC with whole seconds');
  return time;
}

/**
 * Looks at the file again every LIMITS.credentialsPollMilliseconds: renames over the path, which file watchers lose,
 * are how such files are replaced. A bad new file is logged and the last good one stays.
 */
export class CredentialsFile implements CredentialsSource {
  readonly #path: string;
  readonly #log: Log;
  readonly #timer: NodeJS.Timeout;
  #current: Credentials;
  #stamp: string;
  #fault: ErrorCode | undefined;

  /** @throws QvError config_invalid when the first reading fails */
  constructor(path: string, log: Log, pollMilliseconds: number = LIMITS.credentialsPollMilliseconds) {
    this.#path = path;
    this.#log = log;
    const { body, stamp } = readCredentials(path);
    this.#current = { version: 1, body };
    this.#stamp = stamp;
    this.#timer = setInterval(() => this.refresh(), pollMilliseconds).unref();
  }

  get current(): Credentials {
    return this.#current;
  }

  get fault(): ErrorCode | undefined {
    return this.#fault;
  }

  refresh(): void {
    try {
      // Of a file that has not changed nothing is parsed: that would leave strings behind, once a poll.
      const read = withFile(this.#path, ({ bytes, stamp }) =>
        stamp === this.#stamp ? undefined : { body: parseCredentials(bytes), stamp },
      );
      this.#fault = undefined;
      if (read === undefined) return;
      this.#stamp = read.stamp;
      wipeCredentials(this.#current.body);
      this.#current = { version: this.#current.version + 1, body: read.body };
      this.#log.info({ version: this.#current.version }, 'credentials changed');
    } catch (error) {
      if (this.#fault === undefined) this.#log.error({ reason: String(error) }, 'credentials file is not usable');
      this.#fault = codeOf(error);
    }
  }

  close(): void {
    clearInterval(this.#timer);
  }
}
