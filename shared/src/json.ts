/**
 * Strict JSON (RFC 8259) for bodies that somebody signed: duplicate keys, lone surrogates, a byte-order mark, deep
 * nesting and `__proto__` are refused, so that no two parsers read two things from the same bytes (design 6).
 *
 * Syntax is JSON.parse's business; this file adds what JSON.parse tolerates.
 */
import { QvError } from './errors.ts';
import { LIMITS } from './limits.ts';

export type JsonValue = null | boolean | number | string | readonly JsonValue[] | JsonObject;
export interface JsonObject {
  readonly [key: string]: JsonValue;
}

const malformed = (why: string): QvError => new QvError('json_malformed', { value: why });

/** @throws QvError json_malformed */
export function parseStrictJson(bytes: Uint8Array): JsonValue {
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw malformed('not UTF-8');
  }
  const written = survey(text);
  let value: JsonValue;
  try {
    value = JSON.parse(text) as JsonValue;
  } catch {
    throw malformed('syntax');
  }
  // Every key written in the text must appear in the value: a duplicate or a `__proto__` makes fewer.
  if (countKeys(value) !== written.colons) throw malformed('duplicate key');
  return value;
}

/**
 * One pass over the text: the depth of its brackets is bounded before anything parses it, and its colons outside of
 * strings are counted. In valid JSON a colon stands behind each key and nowhere else.
 */
function survey(text: string): { readonly colons: number } {
  let depth = 0;
  let colons = 0;
  let inString = false;
  for (let at = 0; at < text.length; at++) {
    const character = text[at];
    if (character === '"') inString = !inString;
    else if (inString) {
      // The escaped character, a quote perhaps, belongs to the string.
      if (character === '\\') at++;
    } else if (character === '{' || character === '[') {
      if (++depth > LIMITS.jsonDepth) throw malformed('too deep');
    } else if (character === '}' || character === ']') depth--;
    else if (character === ':') colons++;
  }
  return { colons };
}

function countKeys(value: JsonValue): number {
  if (typeof value === 'string') {
    if (!value.isWellFormed()) throw malformed('lone surrogate');
    return 0;
  }
  if (value === null || typeof value !== 'object') return 0;
  if (Array.isArray(value)) return value.reduce((sum: number, inner: JsonValue) => sum + countKeys(inner), 0);
  let sum = 0;
  for (const [key, inner] of Object.entries(value)) {
    if (key === '__proto__' || !key.isWellFormed()) throw malformed('forbidden key');
    sum += 1 + countKeys(inner);
  }
  return sum;
}

/** Reads the fields of an object one by one and refuses what is left over. */
export class JsonFields {
  readonly #object: JsonObject;
  readonly #seen = new Set<string>();
  readonly #path: string;

  /** @throws QvError field_malformed when `value` is not an object */
  constructor(value: JsonValue | undefined, path = '') {
    if (value === undefined || value === null || typeof value !== 'object' || Array.isArray(value)) {
      throw new QvError('field_malformed', { path: path === '' ? '(body)' : path, value: 'not an object' });
    }
    this.#object = value as JsonObject;
    this.#path = path;
  }

  path(key: string): string {
    return this.#path === '' ? key : `${this.#path}.${key}`;
  }

  optional(key: string): JsonValue | undefined {
    this.#seen.add(key);
    return Object.hasOwn(this.#object, key) ? this.#object[key] : undefined;
  }

  required(key: string): JsonValue {
    const value = this.optional(key);
    if (value === undefined) throw this.fault(key, 'missing');
    return value;
  }

  text(key: string): string {
    const value = this.required(key);
    if (typeof value !== 'string') throw this.fault(key, 'not a string');
    return value;
  }

  optionalBoolean(key: string): boolean | undefined {
    const value = this.optional(key);
    if (value !== undefined && typeof value !== 'boolean') throw this.fault(key, 'not a boolean');
    return value;
  }

  list(key: string): readonly JsonValue[] {
    const value = this.required(key);
    if (!Array.isArray(value)) throw this.fault(key, 'not a list');
    return value as readonly JsonValue[];
  }

  /** An unsigned integer up to `max`. */
  integer(key: string, max: number): number {
    const value = this.required(key);
    if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 0 || value > max) {
      throw this.fault(key, 'not an integer in range');
    }
    return value;
  }

  fault(key: string, why: string): QvError {
    return new QvError('field_malformed', { path: this.path(key), value: why });
  }

  /** For objects that are maps: what stands there, whatever it is. */
  keys(): readonly string[] {
    return Object.keys(this.#object);
  }

  /** Call last. @throws QvError field_malformed naming the first unknown key */
  end(): void {
    for (const key of Object.keys(this.#object)) if (!this.#seen.has(key)) throw this.fault(key, 'unknown field');
  }
}
