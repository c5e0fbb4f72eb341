/**
 * The API tokens of those who read: {"tokens": [{"name", "role", "sha256", "wallets"?}]}, read again when the file
 * changes. In place of `sha256` an entry may have `certificateSha256`, of a client certificate (tls/config.ts). Of a token the file has SHA-256 alone: 32 random bytes need no slow hash, and whoever reads the file cannot
 * ask for anything with it.
 */
import { createHash, timingSafeEqual } from 'node:crypto';
import { type Address, address } from '@quantumvault/shared/brands.ts';
import { fromHex } from '@quantumvault/shared/bytes.ts';
import { JsonFields, type JsonValue, parseStrictJson } from '@quantumvault/shared/json.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { asConfigFault } from '../config.ts';
import type { Log } from '../log.ts';
import { readPrivateFile } from '../private-file.ts';

export const ROLES = ['backend', 'auditor', 'support'] as const;
export type Role = (typeof ROLES)[number];

/** `qvt_` and 32 bytes in base64url, so that scanners for leaked secrets find it. */
export const API_TOKEN = /^qvt_[A-Za-z0-9_-]{43}$/;
export const TOKEN_NAME = new RegExp(`^[A-Za-z0-9][A-Za-z0-9._@-]{0,${LIMITS.apiTokenNameCharacters - 1}}$`);

export interface TokenEntry {
  readonly name: string;
  readonly role: Role;
  /** Of the token's text. */
  readonly sha256?: Uint8Array;
  /** In its place: of the DER of a client certificate. */
  readonly certificateSha256?: Uint8Array;
  /** The only wallets it may see, ascending; absent: all. */
  readonly wallets?: readonly Address[];
}

/** Who asks. */
export type Reader = Pick<TokenEntry, 'name' | 'role' | 'wallets'>;

const FIELD = 'apiTokensFile';

export function tokenHash(token: string): Buffer {
  return createHash('sha256').update(token).digest();
}

/**
 * @param known stamp of a reading before: then undefined when nothing has changed
 * @throws QvError config_invalid with path apiTokensFile, or a path below it
 */
export function readTokens(
  path: string,
  known?: string,
): { readonly tokens: readonly TokenEntry[]; readonly stamp: string } | undefined {
  try {
    const { bytes, stamp } = readPrivateFile(path, FIELD, LIMITS.apiTokensFileBytes);
    return stamp === known ? undefined : { tokens: parseTokens(bytes), stamp };
  } catch (error) {
    throw asConfigFault(error, FIELD);
  }
}

function parseTokens(bytes: Uint8Array): readonly TokenEntry[] {
  // secret-rule: the file has hashes of tokens, and no token
  const fields = new JsonFields(parseStrictJson(bytes), FIELD);
  const listed = fields.list('tokens');
  fields.end();
  if (listed.length > LIMITS.apiTokens) throw fields.fault('tokens', `more than ${LIMITS.apiTokens}`);
  const tokens = listed.map((value, index) => parseToken(value, `${FIELD}.tokens[${index}]`));
  for (const [index, { name }] of tokens.entries())
    if (tokens.findIndex((other) => other.name === name) !== index)
      throw fields.fault(`tokens[${index}].name`, 'listed twice');
  return tokens;
}

function parseToken(value: JsonValue, path: string): TokenEntry {
  const fields = new JsonFields(value, path);
  const name = fields.text('name');
  if (!TOKEN_NAME.test(name)) throw fields.fault('name', `must match ${TOKEN_NAME.source}`);
  const role = ROLES.find((candidate) => candidate === fields.required('role'));
  if (role === undefined) throw fields.fault('role', `one of ${ROLES.join(', ')}`);
  const key = fields.optional('certificateSha256') === undefined ? 'sha256' : 'certificateSha256';
  const hash = fromHex(fields.text(key), fields.path(key));
  if (hash.length !== 32) throw fields.fault(key, 'not 32 bytes');
  const wallets = fields.optional('wallets') === undefined ? undefined : walletsOf(fields);
  fields.end();
  return { name, role, [key]: hash, ...(wallets && { wallets }) };
}

function walletsOf(fields: JsonFields): readonly Address[] {
  const listed = fields.list('wallets');
  // None at all is more likely a mistake than a token that sees nothing.
  if (listed.length === 0 || listed.length > LIMITS.apiTokenWallets)
    throw fields.fault('wallets', `1 to ${LIMITS.apiTokenWallets}`);
  const wallets = listed.map((value, index) => {
    if (typeof value !== 'string') throw fields.fault(`wallets[${index}]`, 'not a string');
    return address(value, fields.path(`wallets[${index}]`));
  });
  return [...new Set(wallets)].sort();
}

/** Looks at the file again every so often, as CredentialsFile does and for its reasons. A bad new file changes nothing. */
export class ApiTokens {
  readonly #path: string;
  readonly #log: Log;
  readonly #timer: NodeJS.Timeout;
  #tokens: readonly TokenEntry[] = [];
  #stamp: string | undefined;
  #complained = false;

  /** @throws QvError config_invalid when the first reading fails */
  constructor(path: string, log: Log, pollMilliseconds: number = LIMITS.apiTokensFilePollMilliseconds) {
    this.#path = path;
    this.#log = log;
    this.#read();
    this.#timer = setInterval(() => this.refresh(), pollMilliseconds).unref();
  }

  /** Compares with every token there is, whichever fits: how long it takes says nothing of them. */
  find(token: string): Reader | undefined {
    if (!API_TOKEN.test(token)) return undefined;
    return this.#find(tokenHash(token), 'sha256');
  }

  /** @param sha256 of the DER of a client certificate that a CA of `clientCaFile` vouches for */
  findCertificate(sha256: Uint8Array): Reader | undefined {
    return this.#find(sha256, 'certificateSha256');
  }

  #find(hash: Uint8Array, key: 'sha256' | 'certificateSha256'): Reader | undefined {
    let found: TokenEntry | undefined;
    for (const entry of this.#tokens) {
      const known = entry[key];
      if (known !== undefined && timingSafeEqual(known, hash)) found = entry;
    }
    return found;
  }

  refresh(): void {
    try {
      if (this.#read()) this.#log.info({ tokens: this.#tokens.length }, 'API tokens changed');
      this.#complained = false;
    } catch (error) {
      if (!this.#complained) this.#log.error({ reason: String(error) }, 'file of API tokens is not usable');
      this.#complained = true;
    }
  }

  /** Whether it has changed. */
  #read(): boolean {
    const read = readTokens(this.#path, this.#stamp);
    if (read === undefined) return false;
    this.#tokens = read.tokens;
    this.#stamp = read.stamp;
    return true;
  }

  close(): void {
    clearInterval(this.#timer);
    this.#tokens = [];
  }
}
