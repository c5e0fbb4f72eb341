/**
 * The logins of support staff, from a file that the host reads again when it changes: {"logins": [{"name", "secret"}]}
 * with TOTP secrets in base32. Secrets are wiped when they are replaced; the JSON text they came from is V8's, which
 * nobody can wipe. What they are good for is freezing one wallet or requester at a time.
 */
import type { TimeMs } from '@quantumvault/shared/brands.ts';
import { JsonFields, type JsonValue, parseStrictJson } from '@quantumvault/shared/json.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import type { Secret } from '@quantumvault/shared/secret.ts';
import { asConfigFault } from '../config.ts';
import type { Log } from '../log.ts';
import { readPrivateFile } from '../private-file.ts';
import { drawSecret, matchingStep, secretOf } from './totp.ts';

/** Nothing that a log line or a reason could be forged with. */
export const LOGIN_NAME = new RegExp(`^[A-Za-z0-9][A-Za-z0-9._@-]{0,${LIMITS.supportLoginCharacters - 1}}$`);

const FIELD = 'operatorsFile';

export type Logins = ReadonlyMap<string, Secret>;

/**
 * @param known stamp of a reading before: then undefined when nothing has changed, and no secret is parsed again
 * @throws QvError config_invalid with path operatorsFile, or a path below it
 */
export function readOperators(
  path: string,
  known?: string,
): { readonly logins: Logins; readonly stamp: string } | undefined {
  try {
    const { bytes, stamp } = readPrivateFile(path, FIELD, LIMITS.operatorsFileBytes);
    try {
      return stamp === known ? undefined : { logins: parseLogins(bytes), stamp };
    } finally {
      bytes.fill(0);
    }
  } catch (error) {
    throw asConfigFault(error, FIELD);
  }
}

function parseLogins(bytes: Uint8Array): Logins {
  // secret-rule: JSON makes strings of it, which V8 keeps until it likes
  const fields = new JsonFields(parseStrictJson(bytes), FIELD);
  const listed = fields.list('logins');
  fields.end();
  if (listed.length > LIMITS.supportLogins) throw fields.fault('logins', `more than ${LIMITS.supportLogins}`);
  const logins = new Map<string, Secret>();
  try {
    for (const [index, value] of listed.entries()) addLogin(logins, value, `${FIELD}.logins[${index}]`);
  } catch (error) {
    wipeAll(logins);
    throw error;
  }
  return logins;
}

function addLogin(logins: Map<string, Secret>, value: JsonValue, path: string): void {
  const fields = new JsonFields(value, path);
  const name = fields.text('name');
  const text = fields.text('secret');
  fields.end();
  // Faults name the field and never quote it.
  if (!LOGIN_NAME.test(name)) throw fields.fault('name', `must match ${LOGIN_NAME.source}`);
  if (logins.has(name)) throw fields.fault('name', 'listed twice');
  const secret = secretOf(text);
  if (secret === undefined) {
    const { totpSecretMinBytes: min, totpSecretMaxBytes: max } = LIMITS;
    throw fields.fault('secret', `not base32 of ${min} to ${max} bytes`);
  }
  logins.set(name, secret);
}

function wipeAll(logins: Logins): void {
  for (const secret of logins.values()) secret.wipe();
}

export interface OperatorsOptions {
  readonly pollMilliseconds?: number;
  /** Default matchingStep. */
  readonly match?: typeof matchingStep;
}

/** Looks at the file again every so often, as CredentialsFile does and for its reasons. A bad new file changes nothing. */
export class OperatorsFile {
  readonly #path: string;
  readonly #log: Log;
  readonly #timer: NodeJS.Timeout;
  readonly #match: typeof matchingStep;
  /** In the place of a login that does not exist. */
  readonly #decoy = drawSecret();
  #logins: Logins = new Map();
  #stamp: string | undefined;
  #complained = false;

  /** @throws QvError config_invalid when the first reading fails */
  constructor(path: string, log: Log, options: OperatorsOptions = {}) {
    this.#path = path;
    this.#log = log;
    this.#match = options.match ?? matchingStep;
    this.#read();
    const poll = options.pollMilliseconds ?? LIMITS.operatorsFilePollMilliseconds;
    this.#timer = setInterval(() => this.refresh(), poll).unref();
  }

  /** The time step of the login's code; a login that does not exist costs the same work, and has none. */
  stepOf(login: string, code: string, at: TimeMs): number | undefined {
    const secret = this.#logins.get(login);
    const step = this.#match(secret ?? this.#decoy, code, at);
    return secret === undefined ? undefined : step;
  }

  refresh(): void {
    try {
      if (this.#read()) this.#log.info({ logins: this.#logins.size }, 'logins of support staff changed');
      this.#complained = false;
    } catch (error) {
      if (!this.#complained) this.#log.error({ reason: String(error) }, 'operators file is not usable');
      this.#complained = true;
    }
  }

  /** Whether it has changed. */
  #read(): boolean {
    const read = readOperators(this.#path, this.#stamp);
    if (read === undefined) return false;
    wipeAll(this.#logins);
    this.#logins = read.logins;
    this.#stamp = read.stamp;
    return true;
  }

  close(): void {
    clearInterval(this.#timer);
    wipeAll(this.#logins);
    this.#logins = new Map();
  }
}
