/** Mutators that know nothing of a format: bits, bytes, lengths, pieces. */
import type { Random } from './random.ts';

export interface Material {
  readonly random: Random;
  /** Another input of the corpus. */
  readonly other: () => Uint8Array;
  readonly dictionary: readonly Uint8Array[];
}

/** Another input made of this one, which it leaves as it is. Undefined: it has nothing to say about such bytes. */
export type Mutator = (input: Uint8Array, material: Material) => Uint8Array | undefined;

const BYTES = [
  0x00, 0x01, 0x17, 0x18, 0x20, 0x30, 0x3f, 0x40, 0x7f, 0x80, 0x81, 0x82, 0x9f, 0xbf, 0xc0, 0xf6, 0xff,
] as const;
const NUMBERS = [
  0n,
  1n,
  2n,
  15n,
  16n,
  23n,
  24n,
  31n,
  32n,
  33n,
  63n,
  64n,
  65n,
  127n,
  128n,
  255n,
  256n,
  257n,
  1023n,
  1024n,
  1025n,
  1232n,
  4096n,
  0x7fffn,
  0x8000n,
  0xffffn,
  0x1_0000n,
  0x1_0001n,
  0x7fff_ffffn,
  0x8000_0000n,
  0xffff_fffen,
  0xffff_ffffn,
  0x1_0000_0000n,
  2n ** 53n - 1n,
  2n ** 53n,
  2n ** 63n - 1n,
  2n ** 63n,
  2n ** 64n - 1n,
] as const;

export function splice(input: Uint8Array, at: number, removed: number, inserted: Uint8Array): Uint8Array {
  const result = new Uint8Array(input.length - removed + inserted.length);
  result.set(input.subarray(0, at));
  result.set(inserted, at);
  result.set(input.subarray(at + removed), at + inserted.length);
  return result;
}

function changed(input: Uint8Array, change: (copy: Uint8Array) => void): Uint8Array {
  const copy = Uint8Array.from(input);
  change(copy);
  return copy;
}

const flipBit: Mutator = (input, { random }) =>
  changed(input, (copy) => {
    const at = random.below(copy.length);
    copy[at] = (copy[at] ?? 0) ^ (1 << random.below(8));
  });

const setByte: Mutator = (input, { random }) =>
  changed(input, (copy) => {
    copy[random.below(copy.length)] = random.once(2) ? random.pick(BYTES) : random.below(256);
  });

const addToByte: Mutator = (input, { random }) =>
  changed(input, (copy) => {
    const at = random.below(copy.length);
    copy[at] = (copy[at] ?? 0) + (random.once(2) ? 1 : -1) * (1 + random.below(8));
  });

/** Something that may be a length or a count: of any width and order, near what it was, what is left, or a limit. */
const tamperNumber: Mutator = (input, { random }) => {
  const width = random.pick([1, 2, 4, 8] as const);
  if (input.length < width) return undefined;
  return changed(input, (copy) => {
    const at = random.below(copy.length - width + 1);
    const isLittle = random.once(3);
    const places = Array.from({ length: width }, (_, index) => at + (isLittle ? width - 1 - index : index));
    const old = places.reduce((value, place) => (value << 8n) | BigInt(copy[place] ?? 0), 0n);
    const near = BigInt(random.below(5) - 2);
    const base = random.pick([old, BigInt(copy.length - at - width), BigInt(copy.length), random.pick(NUMBERS)]);
    let value = BigInt.asUintN(width * 8, (base ?? 0n) + near);
    for (const place of places.reverse()) {
      copy[place] = Number(value & 0xffn);
      value >>= 8n;
    }
  });
};

const insertBytes: Mutator = (input, { random }) => {
  const length = 1 + random.below(random.once(8) ? 300 : 6);
  const inserted = random.once(2) ? random.bytes(length) : new Uint8Array(length).fill(random.pick(BYTES));
  return splice(input, random.below(input.length + 1), 0, inserted);
};

const deleteBytes: Mutator = (input, { random }) => {
  const at = random.below(input.length);
  return splice(input, at, 1 + random.below(Math.min(input.length - at, random.once(4) ? 200 : 8)), new Uint8Array());
};

const truncate: Mutator = (input, { random }) => input.slice(0, random.below(input.length));

const duplicate: Mutator = (input, { random }) => {
  const at = random.below(input.length);
  const piece = input.slice(at, at + 1 + random.below(random.once(4) ? 400 : 40));
  return splice(input, random.once(2) ? at : random.below(input.length + 1), 0, piece);
};

const swapPieces: Mutator = (input, { random }) => {
  const [a = 0, b = 0, c = 0] = [0, 1, 2].map(() => random.below(input.length + 1)).sort((x, y) => x - y);
  const parts = [input.subarray(0, a), input.subarray(b, c), input.subarray(a, b), input.subarray(c)];
  return new Uint8Array(Buffer.concat(parts));
};

const useDictionary: Mutator = (input, { random, dictionary }) => {
  const word = random.pick(dictionary);
  if (word === undefined) return undefined;
  const at = random.below(input.length + 1);
  return splice(input, at, random.once(2) ? 0 : Math.min(word.length, input.length - at), word);
};

/** The beginning of one, the end of another. */
const cross: Mutator = (input, { random, other }) => {
  const end = other();
  const head = input.subarray(0, random.below(input.length + 1));
  return new Uint8Array(Buffer.concat([head, end.subarray(random.below(end.length + 1))]));
};

const overwrite: Mutator = (input, { random, other }) => {
  const from = other();
  const length = 1 + random.below(Math.min(64, Math.max(1, from.length)));
  const start = random.below(Math.max(1, from.length - length + 1));
  const at = random.below(input.length + 1);
  return splice(input, at, Math.min(length, input.length - at), from.slice(start, start + length));
};

const BYTEWISE: readonly [Mutator, ...Mutator[]] = [
  flipBit,
  setByte,
  addToByte,
  tamperNumber,
  insertBytes,
  deleteBytes,
  truncate,
  duplicate,
  swapPieces,
  useDictionary,
  cross,
  overwrite,
];

export const bytewise: Mutator = (input, material) => {
  if (input.length === 0) return material.random.bytes(1 + material.random.below(8));
  return material.random.pick(BYTEWISE)(input, material);
};

/** One to five steps, most often one or two; those that know the format two times of three. */
export function mutated(
  input: Uint8Array,
  mutators: readonly Mutator[],
  material: Material,
  maxBytes: number,
): Uint8Array {
  const { random } = material;
  let result = input;
  for (let steps = 1 + random.below(random.once(4) ? 5 : 2); steps > 0; steps--) {
    const knowing = random.once(3) ? undefined : random.pick(mutators);
    result = knowing?.(result, material) ?? bytewise(result, material) ?? result;
    if (result.length > maxBytes) result = result.slice(0, maxBytes);
  }
  return result;
}
