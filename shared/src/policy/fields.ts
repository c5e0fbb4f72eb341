/** Readers for the fields of an untrusted document: each returns a typed value or names the path at fault. */
import { type Address, address, type TimeMs } from '../brands.ts';
import { QvError } from '../errors.ts';
import { LIMITS } from '../limits.ts';
import { parseTime } from '../rfc3339.ts';

const AMOUNT = /^(?:0|[1-9][0-9]{0,19})$/;
const U64_MAX = (1n << 64n) - 1n;

export function invalid(path: string, why: string): QvError {
  return new QvError('policy_invalid', { path, value: why });
}

export const at = (path: string, key: string | number): string =>
  typeof key === 'number' ? `${path}[${key}]` : path === '' ? key : `${path}.${key}`;

/** An object with exactly these fields. */
export function record(
  value: unknown,
  path: string,
  required: readonly string[],
  optional: readonly string[] = [],
): Readonly<Record<string, unknown>> {
  if (typeof value !== 'object' || value === null || Array.isArray(value) || value instanceof Uint8Array)
    throw invalid(path, 'must be an object');
  for (const key of Object.keys(value))
    if (!required.includes(key) && !optional.includes(key)) throw invalid(at(path, key), 'unknown field');
  for (const key of required) if (!Object.hasOwn(value, key)) throw invalid(at(path, key), 'missing');
  return value as Readonly<Record<string, unknown>>;
}

export function list<T>(
  value: unknown,
  path: string,
  item: (value: unknown, path: string) => T,
  least = 0,
  most = Number.MAX_SAFE_INTEGER,
): readonly T[] {
  if (!Array.isArray(value)) throw invalid(path, 'must be a list');
  if (value.length < least || value.length > most) throw invalid(path, `must have ${least} to ${most} entries`);
  return value.map((entry, index) => item(entry, at(path, index)));
}

/** A list in which no two entries have the same key. */
export function uniqueList<T>(
  value: unknown,
  path: string,
  item: (value: unknown, path: string) => T,
  key: (entry: T) => string | number,
  least?: number,
  most?: number,
): readonly T[] {
  const entries = list(value, path, item, least, most);
  const seen = new Set<string | number>();
  for (const [index, entry] of entries.entries()) {
    if (seen.has(key(entry))) throw invalid(at(path, index), 'appears twice');
    seen.add(key(entry));
  }
  return entries;
}

export function text(value: unknown, path: string): string {
  if (typeof value !== 'string') throw invalid(path, 'must be a string');
  return value;
}

export function flag(value: unknown, path: string): boolean {
  if (typeof value !== 'boolean') throw invalid(path, 'must be true or false');
  return value;
}

export function oneOf<T extends string>(value: unknown, path: string, choices: readonly T[]): T {
  const choice = choices.find((candidate) => candidate === value);
  if (choice === undefined) throw invalid(path, `must be one of ${choices.join(', ')}`);
  return choice;
}

export function integer(value: unknown, path: string, least: number, most: number): number {
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || Object.is(value, -0))
    throw invalid(path, 'must be an integer');
  if (value < least || value > most) throw invalid(path, `must be ${least} to ${most}`);
  return value;
}

/** Base units as a decimal string below 2^64, without sign, spaces or leading zeros. */
export function amount(value: unknown, path: string): bigint {
  if (typeof value !== 'string' || !AMOUNT.test(value) || BigInt(value) > U64_MAX)
    throw invalid(path, 'must be a decimal string below 2^64');
  return BigInt(value);
}

export function addressField(value: unknown, path: string): Address {
  try {
    return address(text(value, path));
  } catch {
    throw invalid(path, 'must be a base58 address');
  }
}

export const addresses = (
  value: unknown,
  path: string,
  least = 0,
  most: number = LIMITS.policyAddresses,
): readonly Address[] => uniqueList(value, path, addressField, (entry) => entry, least, most);

export function time(value: unknown, path: string): TimeMs {
  const parsed = parseTime(text(value, path));
  if (parsed === undefined) throw invalid(path, 'must be a time like 2026-11-22T12:00:00Z');
  return parsed;
}
