/** The members of one request body of AWS JSON 1.1: typed reads, and AWS's names for what is wrong with them. */
import { fromBase64 } from '@quantumvault/shared/bytes.ts';
import { JsonFields, type JsonObject, type JsonValue, parseStrictJson } from '@quantumvault/shared/json.ts';
import { KmsError, validation } from './errors.ts';

export class Parameters {
  readonly #object: JsonObject;

  constructor(object: JsonObject) {
    this.#object = object;
  }

  static parse(body: Uint8Array): Parameters {
    try {
      const value = parseStrictJson(body);
      new JsonFields(value);
      return new Parameters(value as JsonObject);
    } catch (error) {
      throw new KmsError('SerializationException', 'the body is not a JSON object', { cause: error });
    }
  }

  /** AWS takes null for absent. */
  #member(key: string): JsonValue | undefined {
    return Object.hasOwn(this.#object, key) ? (this.#object[key] ?? undefined) : undefined;
  }

  has(key: string): boolean {
    return this.#member(key) !== undefined;
  }

  optionalText(key: string): string | undefined {
    const value = this.#member(key);
    if (value !== undefined && typeof value !== 'string') throw new KmsError('SerializationException', key);
    return value;
  }

  text(key: string): string {
    return required(key, this.optionalText(key));
  }

  /** One of `allowed`, or `fallback` when absent. */
  choice<T extends string>(key: string, allowed: readonly T[], fallback: T): T {
    const value = this.optionalText(key) ?? fallback;
    const known = allowed.find((candidate) => candidate === value);
    if (known === undefined) {
      throw validation(
        `Value '${value}' at '${memberName(key)}' failed to satisfy constraint: ` +
          `Member must satisfy enum value set: [${allowed.join(', ')}]`,
      );
    }
    return known;
  }

  /** A list of at least one, each of `allowed`. */
  texts<T extends string>(key: string, allowed: readonly T[]): readonly T[] {
    const values = required(key, this.#member(key));
    if (!Array.isArray(values)) throw new KmsError('SerializationException', key);
    const items = (values as readonly JsonValue[]).map((value) => new Parameters({ [key]: value }));
    if (items.length === 0) throw validation(`Value at '${memberName(key)}' failed to satisfy constraint`);
    return items.map((item) => item.choice(key, allowed, '' as T));
  }

  optionalInteger(key: string, least: number, most: number): number | undefined {
    const value = this.#member(key);
    if (value === undefined) return undefined;
    if (typeof value !== 'number' || !Number.isInteger(value)) throw new KmsError('SerializationException', key);
    if (value < least || value > most) {
      throw validation(
        `Value '${value}' at '${memberName(key)}' failed to satisfy constraint: ` +
          `Member must have value between ${least} and ${most}`,
      );
    }
    return value;
  }

  flag(key: string): boolean {
    const value = this.#member(key) ?? false;
    if (typeof value !== 'boolean') throw new KmsError('SerializationException', key);
    return value;
  }

  bytes(key: string, least: number, most: number): Uint8Array {
    const bytes = decodeBase64(key, this.text(key));
    if (bytes.length < least || bytes.length > most) {
      throw validation(
        `Value at '${memberName(key)}' failed to satisfy constraint: ` +
          `Member must have length between ${least} and ${most}`,
      );
    }
    return bytes;
  }

  optionalStructure(key: string): Parameters | undefined {
    const value = this.#member(key);
    if (value === undefined) return undefined;
    if (typeof value !== 'object' || Array.isArray(value)) throw new KmsError('SerializationException', key);
    return new Parameters(value as JsonObject);
  }

  /** A map of text to text, such as an encryption context. */
  textMap(key: string): ReadonlyMap<string, string> {
    const structure = this.optionalStructure(key);
    if (structure === undefined) return new Map();
    return new Map(Object.keys(structure.#object).map((name) => [name, structure.text(name)]));
  }
}

function decodeBase64(key: string, text: string): Uint8Array {
  try {
    return fromBase64(text);
  } catch (error) {
    throw new KmsError('SerializationException', key, { cause: error });
  }
}

function required<T>(key: string, value: T | undefined): T {
  if (value === undefined) {
    throw validation(`Value null at '${memberName(key)}' failed to satisfy constraint: Member must not be null`);
  }
  return value;
}

/** AWS's messages spell members with a small first letter. */
function memberName(key: string): string {
  return key.charAt(0).toLowerCase() + key.slice(1);
}
