/**
 * Alerts of TradingView: a body that somebody typed, sent as application/json when it is JSON and as text/plain when it
 * is not, without a signature, a time or an id. What proves it is a secret inside the body; what is kept is the body
 * without it.
 */
import { createHash, timingSafeEqual } from 'node:crypto';
import type { TimeMs } from '@quantumvault/shared/brands.ts';
import { toHex, utf8 } from '@quantumvault/shared/bytes.ts';
import { QvError } from '@quantumvault/shared/errors.ts';
import { REQUEST_ID } from '@quantumvault/shared/evidence/leaf.ts';
import { type JsonObject, type JsonValue, parseStrictJson } from '@quantumvault/shared/json.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import type { Secret } from '@quantumvault/shared/secret.ts';
import { sha256 } from '@quantumvault/shared/sha256.ts';
import type { TradingViewSource } from './config.ts';

export interface Alert {
  /** Without the secret. */
  readonly content: Uint8Array;
  /** Of the body's own member; undefined where none is configured. */
  readonly id: string | undefined;
}

/**
 * An alert with one of the secrets in it. In JSON it is the text of one member of the object; in plain text it is the
 * first line.
 * @param secrets SHA-256 of each
 * @throws QvError webhook_secret_invalid, json_malformed, field_malformed, body_too_large
 */
export function readAlert(
  source: Pick<TradingViewSource, 'secretField' | 'idField'>,
  secrets: readonly Secret[],
  body: Uint8Array,
  isJson: boolean,
): Alert {
  return isJson ? readJson(source, secrets, body) : readText(source, secrets, body);
}

function readJson(
  { secretField, idField }: Pick<TradingViewSource, 'secretField' | 'idField'>,
  secrets: readonly Secret[],
  body: Uint8Array,
): Alert {
  const value = parseStrictJson(body);
  const object = isObject(value) ? value : {};
  const given = Object.hasOwn(object, secretField) ? object[secretField] : undefined;
  // What is no text is compared, too: there is one way through here, and one answer.
  requireSecret(secrets, utf8(typeof given === 'string' ? given : ''));
  const rest = Object.fromEntries(Object.entries(object).filter(([key]) => key !== secretField));
  const content = utf8(JSON.stringify(rest));
  // Numbers may be longer as they are printed.
  if (content.length > LIMITS.signalBodyBytes) throw new QvError('body_too_large');
  return { content, id: idField === undefined ? undefined : idOf(object, idField) };
}

function isObject(value: JsonValue): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function readText(
  { idField }: Pick<TradingViewSource, 'idField'>,
  secrets: readonly Secret[],
  body: Uint8Array,
): Alert {
  const newline = body.indexOf(0x0a);
  const end = newline === -1 ? body.length : newline;
  requireSecret(secrets, body.subarray(0, body[end - 1] === 0x0d ? end - 1 : end));
  if (idField !== undefined)
    throw new QvError('field_malformed', { path: idField, value: 'plain text has no members' });
  return { content: body.slice(Math.min(end + 1, body.length)), id: undefined };
}

/** All are compared, whichever is right, and as hashes: neither length nor place of a difference shows in the time. */
function requireSecret(secrets: readonly Secret[], given: Uint8Array): void {
  const hash = createHash('sha256').update(given).digest();
  let isRight = false;
  for (const secret of secrets) if (secret.use((known) => timingSafeEqual(hash, known))) isRight = true;
  if (!isRight) throw new QvError('webhook_secret_invalid');
}

/** What an id cannot hold (TradingView's `{{ticker}}` and `{{timenow}}` have colons) becomes `_`. */
function idOf(object: JsonObject, path: string): string {
  const given = Object.hasOwn(object, path) ? object[path] : undefined;
  const text = typeof given === 'number' && Number.isSafeInteger(given) ? String(given) : given;
  const id = typeof text === 'string' ? text.replaceAll(/[^A-Za-z0-9_-]/g, '_') : '';
  if (!REQUEST_ID.test(id)) throw new QvError('field_malformed', { path, value: 'not a text of 1 to 64 characters' });
  return id;
}

/** For an alert without an id: the same body later is another signal, so the time is in it. */
export function derivedId(content: Uint8Array, receivedAt: TimeMs): string {
  return `${toHex(sha256(content).subarray(0, 16))}-${receivedAt}`;
}
