/**
 * How an installation of v2 encrypted: a strict JSON file, `qv/v2-parameters/v1`. README.md beside this explains it.
 *
 * ```jsonc
 * { "format": "qv/v2-parameters/v1",
 *   "serverSecret": { "encoding": "hex" },       // of the environment variable: hex, base64, or text (its bytes count)
 *   "salt": "…",                                 // the static salt, in hex
 *   "serverKey": { "method": "hkdf-sha256", "info": "…" }, // or scrypt with n, r, p; or none: the secret is the key
 *   "userKey": { "encoding": "raw" },            // as what a master key was encrypted: raw, hex, base64
 *   "botKeyKey": { "method": "hkdf-sha256", "info": "…", "withUserId": true }, // or none: the master key is the key
 *   "botKey": { "encoding": "base58", "bytes": 64 }, // raw, hex, base64, base58; 64 with the public key, 32 without
 *   "ciphertext": { "encoding": "base64", "order": ["iv", "ciphertext", "tag"], "separator": ":" } }
 * ```
 */
import { fromHex, utf8 } from '@quantumvault/shared/bytes.ts';
import { QvError } from '@quantumvault/shared/errors.ts';
import { requireV2Parameters, type V2Parameters } from '@quantumvault/shared/evidence/migration.ts';
import { JsonFields, parseStrictJson } from '@quantumvault/shared/json.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';

export const PARAMETERS_FORMAT = 'qv/v2-parameters/v1';

export const PARTS = ['iv', 'ciphertext', 'tag'] as const;
export type Part = (typeof PARTS)[number];
export const SECRET_ENCODINGS = ['hex', 'base64', 'text'] as const;
export type SecretEncoding = (typeof SECRET_ENCODINGS)[number];

export interface V2File {
  readonly secretEncoding: SecretEncoding;
  readonly parameters: V2Parameters;
  /** How parts of a ciphertext stand in a column; without a separator they are one text. */
  readonly ciphertext: {
    readonly encoding: 'hex' | 'base64';
    readonly order: readonly Part[];
    readonly separator: string | undefined;
  };
}

const SERVER_METHODS = ['none', 'hkdf-sha256', 'scrypt'] as const;
const BOT_METHODS = ['none', 'hkdf-sha256'] as const;
const KEY_ENCODINGS = ['raw', 'hex', 'base64'] as const;
const BOT_ENCODINGS = ['raw', 'hex', 'base64', 'base58'] as const;
const TEXT_ENCODINGS = ['hex', 'base64'] as const;
const SEPARATOR = /^[^0-9A-Za-z+/=\s]$/;
const COST_MAX = 2 ** 31;

/** @throws QvError json_malformed, field_malformed, hex_malformed, migration_parameters_unsupported naming what is not known */
export function parseV2Parameters(bytes: Uint8Array): V2File {
  const fields = new JsonFields(parseStrictJson(bytes));
  if (fields.text('format') !== PARAMETERS_FORMAT) throw fields.fault('format', `not ${PARAMETERS_FORMAT}`);
  const secret = inner(fields, 'serverSecret');
  const secretEncoding = known(secret, 'encoding', SECRET_ENCODINGS);
  secret.end();
  const salt = fromHex(fields.text('salt'), 'salt');
  if (salt.length > LIMITS.migrationSaltBytes)
    throw fields.fault('salt', `more than ${LIMITS.migrationSaltBytes} bytes`);
  const serverKey = readServerKey(inner(fields, 'serverKey'));
  const user = inner(fields, 'userKey');
  const userKey = known(user, 'encoding', KEY_ENCODINGS);
  user.end();
  const botKeyKey = readBotKeyKey(inner(fields, 'botKeyKey'));
  const bot = inner(fields, 'botKey');
  const botKey = { encoding: known(bot, 'encoding', BOT_ENCODINGS), bytes: bot.integer('bytes', 64) };
  bot.end();
  const ciphertext = readCiphertext(inner(fields, 'ciphertext'));
  fields.end();
  const parameters = { salt, serverKey, userKey, botKeyKey, botKey };
  requireV2Parameters(parameters);
  return { secretEncoding, parameters, ciphertext };
}

function readServerKey(fields: JsonFields): V2Parameters['serverKey'] {
  const method = known(fields, 'method', SERVER_METHODS);
  const cost = method === 'scrypt' && { n: number(fields, 'n'), r: number(fields, 'r'), p: number(fields, 'p') };
  const serverKey = { method, ...(method === 'hkdf-sha256' && { info: info(fields) }), ...(cost && { cost }) };
  fields.end();
  return serverKey;
}

function readBotKeyKey(fields: JsonFields): V2Parameters['botKeyKey'] {
  const method = known(fields, 'method', BOT_METHODS);
  if (method === 'none') {
    fields.end();
    return { method };
  }
  const withUserId = fields.optionalBoolean('withUserId');
  if (withUserId === undefined) throw fields.fault('withUserId', 'missing');
  const botKeyKey = { method, info: info(fields), withUserId };
  fields.end();
  return botKeyKey;
}

function readCiphertext(fields: JsonFields): V2File['ciphertext'] {
  const encoding = known(fields, 'encoding', TEXT_ENCODINGS);
  const order = fields.list('order').map((value) => PARTS.find((part) => part === value));
  if (order.length !== PARTS.length || PARTS.some((part) => !order.includes(part)))
    throw fields.fault('order', `not ${PARTS.join(', ')} in some order`);
  const separator = fields.optional('separator') === undefined ? undefined : fields.text('separator');
  if (separator !== undefined && !SEPARATOR.test(separator))
    throw fields.fault('separator', 'not one separating character');
  fields.end();
  return { encoding, order: order as readonly Part[], separator };
}

const inner = (fields: JsonFields, key: string): JsonFields => new JsonFields(fields.required(key), fields.path(key));
const number = (fields: JsonFields, key: string): number => fields.integer(key, COST_MAX);

function info(fields: JsonFields): Uint8Array {
  const bytes = utf8(fields.text('info'));
  if (bytes.length > LIMITS.migrationInfoBytes)
    throw fields.fault('info', `more than ${LIMITS.migrationInfoBytes} bytes`);
  return bytes;
}

/** @throws QvError migration_parameters_unsupported */
function known<T extends string>(fields: JsonFields, key: string, values: readonly T[]): T {
  const text = fields.text(key);
  const value = values.find((candidate) => candidate === text);
  if (value !== undefined) return value;
  throw new QvError('migration_parameters_unsupported', { path: fields.path(key), value: `not ${values.join(', ')}` });
}
