/**
 * The secrets of one webhook source: one per line, read as bytes, never as text, and wiped when they are replaced. The
 * file is read again when it changes, so that a secret is replaced by adding the new one, changing the sender, and
 * removing the old one.
 */
import { createHash } from 'node:crypto';
import { QvError } from '@quantumvault/shared/errors.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { Secret } from '@quantumvault/shared/secret.ts';
import { asConfigFault } from '../config.ts';
import type { Log } from '../log.ts';
import { readPrivateFile } from '../private-file.ts';

/** The bytes to keep of one line, undefined when it is none of the form. */
export type ReadLine = (line: Uint8Array) => Secret | undefined;

const PREFIX = Buffer.from('whsec_');
const [NEWLINE, RETURN, SPACE, HASH] = [0x0a, 0x0d, 0x20, 0x23];

/** `whsec_<base64>`: the key of an HMAC, 24 to 64 bytes. */
export const readSharedSecret: ReadLine = (line) => {
  if (!PREFIX.equals(line.subarray(0, PREFIX.length))) return undefined;
  const secret = decodeBase64(line.subarray(PREFIX.length));
  const { webhookSecretMinBytes: min, webhookSecretMaxBytes: max } = LIMITS;
  if (secret !== undefined && secret.length >= min && secret.length <= max) return secret;
  secret?.wipe();
  return undefined;
};

/** A secret that is typed into an alert: of it the SHA-256, which is what is compared. */
export const readTextSecret: ReadLine = (line) => {
  const { webhookTextSecretMinCharacters: min, webhookTextSecretMaxCharacters: max } = LIMITS;
  if (line.length < min || line.length > max || !line.every((byte) => byte > SPACE && byte < 0x7f)) return undefined;
  return Secret.take(createHash('sha256').update(line).digest());
};

/** Canonical base64 with padding (RFC 4648 section 4), from bytes to bytes: a string of a secret could not be wiped. */
function decodeBase64(text: Uint8Array): Secret | undefined {
  const { length } = text;
  if (length === 0 || length % 4 !== 0) return undefined;
  const padding = text[length - 1] !== 0x3d ? 0 : text[length - 2] !== 0x3d ? 1 : 2;
  const secret = new Secret(new ArrayBuffer((length / 4) * 3 - padding));
  if (secret.use((into) => decodeSextets(text.subarray(0, length - padding), into))) return secret;
  secret.wipe();
  return undefined;
}

/** False when it is not the form that an encoder prints. */
function decodeSextets(text: Uint8Array, into: Uint8Array): boolean {
  let bits = 0;
  let count = 0;
  let at = 0;
  let isCanonical = true;
  for (const character of text) {
    const value = sextet(character);
    if (value === undefined) isCanonical = false;
    bits = ((bits << 6) | (value ?? 0)) & 0xfff;
    count += 6;
    if (count < 8) continue;
    count -= 8;
    into[at++] = (bits >> count) & 0xff;
  }
  // Bits behind the last byte: two or four of them, all zero.
  return isCanonical && (bits & ((1 << count) - 1)) === 0;
}

function sextet(character: number): number | undefined {
  if (character >= 0x41 && character <= 0x5a) return character - 0x41;
  if (character >= 0x61 && character <= 0x7a) return character - 0x61 + 26;
  if (character >= 0x30 && character <= 0x39) return character - 0x30 + 52;
  if (character === 0x2b) return 62;
  return character === 0x2f ? 63 : undefined;
}

/** Empty lines and those that begin with `#` are none. @throws QvError config_invalid, never quoting a line */
function readLines(bytes: Uint8Array, field: string, readLine: ReadLine): readonly Secret[] {
  const secrets: Secret[] = [];
  const fault = (value: string): QvError => {
    wipeAll(secrets);
    return new QvError('config_invalid', { path: field, value });
  };
  let number = 0;
  for (let start = 0; start < bytes.length; ) {
    number++;
    // secret-rule: where lines end is no secret
    const newline = bytes.indexOf(NEWLINE, start);
    let end = newline === -1 ? bytes.length : newline;
    const next = end + 1;
    // secret-rule: nor how they end
    if (end > start && bytes[end - 1] === RETURN) end--;
    const line = bytes.subarray(start, end);
    start = next;
    // secret-rule: nor which are comments
    if (line.length === 0 || line[0] === HASH) continue;
    const secret = readLine(line);
    if (secret === undefined) throw fault(`line ${number} is no secret of this kind`);
    secrets.push(secret);
    if (secrets.length > LIMITS.webhookSecrets) throw fault(`more than ${LIMITS.webhookSecrets} secrets`);
  }
  // A source that nobody can use is a mistake in the file.
  if (secrets.length === 0) throw fault('no secret');
  return secrets;
}

function wipeAll(secrets: readonly Secret[]): void {
  for (const secret of secrets) secret.wipe();
}

export interface SecretsFileOptions {
  /** Path in the configuration that names the file, for faults. */
  readonly field: string;
  readonly readLine: ReadLine;
  readonly log: Log;
  readonly pollMilliseconds?: number;
}

/** Looks at the file again every so often, as CredentialsFile does and for its reasons. A bad new file changes nothing. */
export class SecretsFile {
  readonly #path: string;
  readonly #options: SecretsFileOptions;
  readonly #timer: NodeJS.Timeout;
  #secrets: readonly Secret[] = [];
  #stamp: string | undefined;
  #complained = false;

  /** @throws QvError config_invalid when the first reading fails */
  constructor(path: string, options: SecretsFileOptions) {
    this.#path = path;
    this.#options = options;
    this.#read();
    const poll = options.pollMilliseconds ?? LIMITS.webhookSecretsPollMilliseconds;
    this.#timer = setInterval(() => this.refresh(), poll).unref();
  }

  /** To be used at once: they are wiped when the file changes. */
  get current(): readonly Secret[] {
    return this.#secrets;
  }

  refresh(): void {
    const { log, field } = this.#options;
    try {
      if (this.#read()) log.info({ field, secrets: this.#secrets.length }, 'secrets of a webhook source changed');
      this.#complained = false;
    } catch (error) {
      if (!this.#complained) log.error({ field, reason: String(error) }, 'secrets of a webhook source are not usable');
      this.#complained = true;
    }
  }

  /** Whether it has changed. */
  #read(): boolean {
    const { field, readLine } = this.#options;
    try {
      const { bytes, stamp } = readPrivateFile(this.#path, field, LIMITS.webhookSecretsFileBytes);
      try {
        if (stamp === this.#stamp) return false;
        const secrets = readLines(bytes, field, readLine);
        wipeAll(this.#secrets);
        this.#secrets = secrets;
        this.#stamp = stamp;
        return true;
      } finally {
        bytes.fill(0);
      }
    } catch (error) {
      throw asConfigFault(error, field);
    }
  }

  close(): void {
    clearInterval(this.#timer);
    wipeAll(this.#secrets);
    this.#secrets = [];
  }
}
