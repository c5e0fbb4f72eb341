/**
 * Field by field coding of our messages: a struct is a CBOR map with small integer keys, each key one field.
 * Decoding is strict: unknown keys, missing fields and wrong forms are `message_malformed` with the path.
 */
import { fromBase58 } from '../base58.ts';
import { type Address, addressBytes, addressOf, type BootId, bootIdOf, type TimeMs, timeMs } from '../brands.ts';
import { u64Bytes, u64FromBytes } from '../bytes.ts';
import { type CborMap, type CborValue, decodeCbor, encodeCbor } from '../cbor.ts';
import { QvError } from '../errors.ts';

export interface Codec<T> {
  toCbor(value: T): CborValue;
  fromCbor(value: CborValue, path: string): T;
}

export interface Field<T> {
  readonly key: number;
  readonly codec: Codec<T>;
  readonly optional: boolean;
}

const malformed = (path: string, why: string): QvError => new QvError('message_malformed', { path, value: why });

/** A codec that checks what it writes as it checks what it reads: a defect shows where it was made. */
function checked<T>(fromCbor: Codec<T>['fromCbor']): Codec<T> {
  return {
    toCbor(value) {
      fromCbor(value as CborValue, 'written');
      return value as CborValue;
    },
    fromCbor,
  };
}

/** A required field under this map key. */
export function field<T>(key: number, codec: Codec<T>): Field<T> & { readonly optional: false } {
  return { key, codec, optional: false };
}

/** A field that may be absent; null never stands for absence. */
export function maybe<T>(key: number, codec: Codec<T>): Field<T | undefined> & { readonly optional: true } {
  return { key, codec: codec as Codec<T | undefined>, optional: true };
}

export const u32: Codec<number> = checked((value, path) => {
  if (typeof value !== 'number') throw malformed(path, 'not an unsigned integer');
  return value;
});

export const bool: Codec<boolean> = checked((value, path) => {
  if (typeof value !== 'boolean') throw malformed(path, 'not a boolean');
  return value;
});

/** For a fact that is absent where it does not hold, so that there is one way to say so. */
export const yes: Codec<true> = checked((value, path) => {
  if (value !== true) throw malformed(path, 'not true');
  return value;
});

/** Between `min` and `max` bytes. */
export function bytes(min: number, max: number): Codec<Uint8Array> {
  return checked((value, path) => {
    if (!(value instanceof Uint8Array)) throw malformed(path, 'not a byte string');
    if (value.length < min || value.length > max) throw malformed(path, `length ${value.length}`);
    return value;
  });
}

/** Exactly `length` bytes, with their brand. */
export function fixed<T extends Uint8Array>(length: number): Codec<T> {
  return bytes(length, length) as Codec<T>;
}

/** Text of at most `max` characters that matches `pattern` as a whole. */
export function text<T extends string>(max: number, pattern: RegExp): Codec<T> {
  return checked((value, path) => {
    if (typeof value !== 'string' || value.length > max || !pattern.test(value)) throw malformed(path, 'not such text');
    return value as T;
  });
}

export function oneOf<T extends string>(...values: readonly T[]): Codec<T> {
  return checked((value, path) => {
    const found = values.find((candidate) => candidate === value);
    if (found === undefined) throw malformed(path, 'not one of the values');
    return found;
  });
}

/** u64 as 8 big-endian bytes. */
export const u64: Codec<bigint> = {
  toCbor: u64Bytes,
  fromCbor: (value, path) => u64FromBytes(fixed(8).fromCbor(value, path)),
};

/** Milliseconds since 1970 as 8 big-endian bytes. */
export const time: Codec<TimeMs> = {
  toCbor: (value) => u64Bytes(BigInt(value)),
  fromCbor(value, path) {
    const milliseconds = u64.fromCbor(value, path);
    if (milliseconds > BigInt(Number.MAX_SAFE_INTEGER)) throw malformed(path, 'time out of range');
    return timeMs(Number(milliseconds));
  },
};

/** 32 bytes on the wire, base58 in our hands. */
export const publicKey: Codec<Address> = {
  toCbor: addressBytes,
  fromCbor: (value, path) => addressOf(fixed(32).fromCbor(value, path)),
};

export const bootId: Codec<BootId> = {
  toCbor: (value) => fromBase58(value, 32),
  fromCbor: (value, path) => bootIdOf(fixed(32).fromCbor(value, path)),
};

export function list<T>(codec: Codec<T>, min: number, max: number): Codec<readonly T[]> {
  return {
    toCbor(values) {
      if (values.length < min || values.length > max) throw malformed('written', `${values.length} items`);
      return values.map((value) => codec.toCbor(value));
    },
    fromCbor(value, path) {
      if (!Array.isArray(value) || value.length < min || value.length > max) throw malformed(path, 'not such a list');
      return (value as readonly CborValue[]).map((item, index) => codec.fromCbor(item, `${path}[${index}]`));
    },
  };
}

type Fields = Readonly<Record<string, Field<unknown>>>;
type Required<F extends Fields> = { [K in keyof F as F[K]['optional'] extends true ? never : K]: Value<F[K]> };
type Optional<F extends Fields> = { [K in keyof F as F[K]['optional'] extends true ? K : never]?: Value<F[K]> };
type Value<F> = F extends Field<infer T> ? T : never;
export type StructOf<F extends Fields> = Readonly<Required<F> & Optional<F>>;
export type Infer<C> = C extends Codec<infer T> ? T : never;

/** A map with the integer keys of `fields` and no others. */
export function struct<const F extends Fields>(fields: F): Codec<StructOf<F>> {
  const entries = Object.entries(fields);
  const keys = new Set(entries.map(([, { key }]) => key));
  if (keys.size !== entries.length) throw new Error('two fields share a key');
  return {
    toCbor(value) {
      const map = new Map<number, CborValue>();
      for (const [name, { key, codec }] of entries) {
        const inner = (value as Readonly<Record<string, unknown>>)[name];
        if (inner !== undefined) map.set(key, codec.toCbor(inner));
      }
      return map;
    },
    fromCbor(value, path) {
      if (!(value instanceof Map)) throw malformed(path, 'not a map');
      const map = value as CborMap;
      for (const key of map.keys()) if (typeof key !== 'number' || !keys.has(key)) throw malformed(path, `key ${key}`);
      const result: Record<string, unknown> = {};
      for (const [name, { key, codec, optional }] of entries) {
        const inner = map.get(key);
        if (inner === undefined) {
          if (!optional) throw malformed(`${path}.${name}`, 'missing');
        } else {
          result[name] = codec.fromCbor(inner, `${path}.${name}`);
        }
      }
      return result as StructOf<F>;
    },
  };
}

/** A struct that is signed, MACed or derived from: key 0 holds its purpose and version (design 5). */
export function purposeStruct<const F extends Fields>(purpose: string, fields: F): Codec<StructOf<F>> {
  if (Object.values(fields).some(({ key }) => key === 0)) throw new Error('key 0 is the purpose');
  const inner = struct({ ...fields, purpose: field(0, oneOf(purpose)) });
  return {
    toCbor: (value) => inner.toCbor({ ...value, purpose } as never),
    fromCbor(value, path) {
      const { purpose: _, ...rest } = inner.fromCbor(value, path) as Record<string, unknown>;
      return rest as StructOf<F>;
    },
  };
}

export function encodeAs<T>(codec: Codec<T>, value: T): Uint8Array {
  return encodeCbor(codec.toCbor(value));
}

/** @throws QvError cbor_malformed, message_malformed */
export function decodeAs<T>(codec: Codec<T>, encoded: Uint8Array, path: string): T {
  return codec.fromCbor(decodeCbor(encoded), path);
}
