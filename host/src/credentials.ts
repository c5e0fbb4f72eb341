/**
 * The instance role's credentials for the enclave's kms-agent, from a file that something outside refreshes. They
 * open nothing without an attestation, but they do let their holder call KMS, so they are kept from other users.
 */
import { closeSync, constants, fstatSync, openSync, readFileSync } from 'node:fs';
import { utf8 } from '@quantumvault/shared/bytes.ts';
import { QvError } from '@quantumvault/shared/errors.ts';
import { JsonFields, parseStrictJson } from '@quantumvault/shared/json.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import type { CredentialBytes } from '@quantumvault/shared/protocol/messages.ts';
import { parseTime } from '@quantumvault/shared/rfc3339.ts';
import { asConfigFault } from './config.ts';
import type { Log } from './log.ts';

const OTHERS = 0o007;

/** One reading of the file. `version` changes with each new content. */
export interface Credentials {
  readonly version: number;
  readonly body: CredentialBytes;
}

/** @throws QvError config_invalid with path credentialsFile */
export function readCredentials(path: string): { body: CredentialBytes; stamp: string } {
  try {
    // Mode and content come from one open file, so that a swap between two looks cannot matter.
    // Not waiting, because opening a named pipe would stop the whole host until somebody writes to it. Links are
    // followed: directories of secrets are replaced by swapping one, and what counts is the file that was opened.
    const file = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
    try {
      const facts = fstatSync(file, { bigint: true });
      if (!facts.isFile()) throw fault('not a regular file');
      if (![0, process.geteuid?.()].includes(Number(facts.uid))) throw fault('owned by another user');
      if ((Number(facts.mode) & OTHERS) !== 0) throw fault('other users may read or write it');
      if (facts.size > BigInt(LIMITS.credentialsBytes)) throw fault('too large');
      return { body: parseCredentials(readFileSync(file)), stamp: stampOf(facts) };
    } finally {
      closeSync(file);
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

const fault = (value: string): QvError => new QvError('config_invalid', { path: 'credentialsFile', value });

const stampOf = (facts: { ino: bigint; size: bigint; mtimeNs: bigint; ctimeNs: bigint }): string =>
  `${facts.ino}:${facts.size}:${facts.mtimeNs}:${facts.ctimeNs}`;

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
      const { body, stamp } = readCredentials(this.#path);
      this.#complained = false;
      if (stamp === this.#stamp) return;
      this.#stamp = stamp;
      this.#current = { version: this.#current.version + 1, body };
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
