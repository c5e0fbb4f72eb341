/**
 * The instance role's credentials for the enclave's kms-agent, from a file that something outside refreshes. They
 * open nothing without an attestation, but they do let their holder call KMS, so they are kept from other users.
 */
import { utf8 } from '@quantumvault/shared/bytes.ts';
import { JsonFields, parseStrictJson } from '@quantumvault/shared/json.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import type { CredentialBytes } from '@quantumvault/shared/protocol/messages.ts';
import { parseTime } from '@quantumvault/shared/rfc3339.ts';
import { asConfigFault } from './config.ts';
import type { Log } from './log.ts';
import { type PrivateFile, readPrivateFile } from './private-file.ts';

/** One reading of the file. `version` changes with each new content. */
export interface Credentials {
  readonly version: number;
  readonly body: CredentialBytes;
}

/** @throws QvError config_invalid with path credentialsFile */
export function readCredentials(path: string): { readonly body: CredentialBytes; readonly stamp: string } {
  return withFile(path, ({ bytes, stamp }) => ({ body: parseCredentials(bytes), stamp }));
}

/** The bytes are wiped when `use` is done with them. */
function withFile<T>(path: string, use: (file: PrivateFile) => T): T {
  try {
    const file = readPrivateFile(path, 'credentialsFile', LIMITS.credentialsBytes);
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
  const fields = new JsonFields(parseStrictJson(bytes), 'credentialsFile');
  const body: CredentialBytes = {
    accessKeyId: part(fields, 'accessKeyId', 128),
    secretAccessKey: part(fields, 'secretAccessKey', 256),
    ...(fields.optional('sessionToken') === undefined ? {} : { sessionToken: part(fields, 'sessionToken', 8192) }),
    ...(fields.optional('expiresAt') === undefined ? {} : { expiresAt: expiry(fields) }),
  };
  fields.end();
  return body;
}

function part(fields: JsonFields, key: string, max: number): Uint8Array {
  const value = fields.text(key);
  // The fault names the field and never quotes it.
  if (value.length === 0 || value.length > max || !/^[\x21-\x7e]+$/.test(value))
    throw fields.fault(key, 'not such text');
  return utf8(value);
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
export class CredentialsFile {
  readonly #path: string;
  readonly #log: Log;
  readonly #timer: NodeJS.Timeout;
  #current: Credentials;
  #stamp: string;
  #complained = false;

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

  refresh(): void {
    try {
      // Of a file that has not changed nothing is parsed: that would leave strings behind, once a poll.
      const read = withFile(this.#path, ({ bytes, stamp }) =>
        stamp === this.#stamp ? undefined : { body: parseCredentials(bytes), stamp },
      );
      this.#complained = false;
      if (read === undefined) return;
      this.#stamp = read.stamp;
      this.#current = { version: this.#current.version + 1, body: read.body };
      this.#log.info({ version: this.#current.version }, 'credentials changed');
    } catch (error) {
      if (!this.#complained) this.#log.error({ reason: String(error) }, 'credentials file is not usable');
      this.#complained = true;
    }
  }

  close(): void {
    clearInterval(this.#timer);
  }
}
