/** A mutator for CBOR: changes items, and prints them again with lengths that fit, or on purpose do not. */
import { bytewise, type Material, type Mutator, splice } from './mutate.ts';
import type { Random } from './random.ts';

interface Item {
  major: number;
  /** Value, or the simple value; of strings and containers it follows from the content. */
  value: bigint;
  bytes: Uint8Array;
  items: Item[];
  isIndefinite: boolean;
  /** Bytes of the head's argument, when it is not to be the shortest; -1 otherwise. */
  width: number;
  /** Added to the length or count that is written. */
  lie: bigint;
}

const MAX_ITEMS = 5_000;
const INTERESTING = [
  0n,
  1n,
  23n,
  24n,
  31n,
  32n,
  33n,
  47n,
  48n,
  64n,
  255n,
  256n,
  65535n,
  65536n,
  2n ** 32n - 1n,
  2n ** 32n,
  2n ** 53n,
  2n ** 64n - 1n,
] as const;

const item = (major: number, value = 0n): Item => ({
  major,
  value,
  bytes: new Uint8Array(),
  items: [],
  isIndefinite: false,
  width: -1,
  lie: 0n,
});

interface Read {
  readonly item: Item;
  readonly next: number;
}

/** Undefined for what is no CBOR; whether it is our profile of it does not matter. */
export function readCbor(bytes: Uint8Array): Item | undefined {
  const budget = { items: MAX_ITEMS };
  const found = readItem(bytes, 0, 0, budget);
  return found?.next === bytes.length ? found.item : undefined;
}

function readItem(bytes: Uint8Array, at: number, depth: number, budget: { items: number }): Read | undefined {
  const first = bytes[at];
  if (first === undefined || depth > 40 || --budget.items < 0) return undefined;
  const info = first & 31;
  const found = item(first >> 5);
  let next = at + 1;
  if (info < 24) found.value = BigInt(info);
  else if (info < 28) {
    const width = 1 << (info - 24);
    if (next + width > bytes.length) return undefined;
    for (const byte of bytes.subarray(next, next + width)) found.value = (found.value << 8n) | BigInt(byte);
    next += width;
  } else if (info === 31 && (found.major === 4 || found.major === 5)) found.isIndefinite = true;
  else return undefined;
  if (found.major === 2 || found.major === 3) {
    if (found.value > BigInt(bytes.length - next)) return undefined;
    const end = next + Number(found.value);
    found.bytes = bytes.slice(next, end);
    return { item: found, next: end };
  }
  const isContainer = found.major === 4 || found.major === 5 || found.major === 6;
  const count = found.major === 6 ? 1n : found.value * (found.major === 5 ? 2n : 1n);
  while (isContainer && (found.isIndefinite ? bytes[next] !== 0xff : BigInt(found.items.length) < count)) {
    const inner = readItem(bytes, next, depth + 1, budget);
    if (inner === undefined) return undefined;
    found.items.push(inner.item);
    next = inner.next;
  }
  return { item: found, next: found.isIndefinite ? next + 1 : next };
}

function writeItem(it: Item, out: Uint8Array[]): void {
  const { major, items, bytes, lie } = it;
  if (it.isIndefinite) {
    out.push(Uint8Array.of((major << 5) | 31));
    for (const inner of items) writeItem(inner, out);
    out.push(Uint8Array.of(0xff));
    return;
  }
  const length =
    major === 2 || major === 3
      ? bytes.length
      : major === 4
        ? items.length
        : major === 5
          ? items.length >> 1
          : undefined;
  out.push(head(major, BigInt.asUintN(64, (length === undefined ? it.value : BigInt(length)) + lie), it.width));
  if (major === 2 || major === 3) out.push(bytes);
  for (const inner of items) writeItem(inner, out);
}

function head(major: number, value: bigint, wanted: number): Uint8Array {
  const least = value < 24n ? 0 : value < 256n ? 1 : value < 65536n ? 2 : value < 2n ** 32n ? 4 : 8;
  const width = Math.max(least, wanted);
  if (width === 0) return Uint8Array.of((major << 5) | Number(value));
  const bytes = new Uint8Array(1 + width);
  bytes[0] = (major << 5) | (24 + Math.log2(width));
  for (let at = width; at > 0; at--) bytes[at] = Number((value >> BigInt(8 * (width - at))) & 0xffn);
  return bytes;
}

export function writeCbor(it: Item): Uint8Array {
  const out: Uint8Array[] = [];
  writeItem(it, out);
  return new Uint8Array(Buffer.concat(out));
}

function all(root: Item): Item[] {
  const found = [root];
  for (let at = 0; at < found.length; at++) found.push(...(found[at]?.items ?? []));
  return found;
}

function anyItem(random: Random): Item {
  const major = random.pick([0, 1, 2, 3, 4, 5, 6, 7] as const);
  const made = item(major, major === 7 ? BigInt(random.pick([20, 21, 22, 23, 0, 19])) : random.pick(INTERESTING));
  if (major === 2) made.bytes = random.bytes(random.pick([0, 1, 8, 16, 32, 33, 64]));
  if (major === 3)
    made.bytes = Uint8Array.from({ length: random.below(20) }, () => random.pick([65, 97, 45, 49, 0, 0xc3]));
  if (major === 6) made.items = [item(0, 1n)];
  return made;
}

/** Strings may hold CBOR, or whatever `inner` knows. */
export function cborMutator(inner: readonly Mutator[] = []): Mutator {
  const mutate: Mutator = (input, material) => {
    const root = readCbor(input);
    if (root === undefined) return undefined;
    change(root, material, [mutate, ...inner]);
    return writeCbor(root);
  };
  return mutate;
}

function change(root: Item, material: Material, inner: readonly Mutator[]): void {
  const { random, other } = material;
  const items = all(root);
  // The outermost more often than its share: what holds all else is one of many items.
  const it = random.once(4) ? root : (random.pick(items) ?? root);
  const replace = (by: Item): void => void Object.assign(it, by);
  const step = it.major === 5 ? 2 : 1;
  const place = random.below(Math.floor(it.items.length / step) + 1) * step;
  switch (random.below(14)) {
    case 0:
      replace(anyItem(random));
      return;
    case 1:
      it.value = random.once(2) ? random.pick(INTERESTING) : BigInt.asUintN(64, it.value + BigInt(random.below(5) - 2));
      return;
    case 2:
    case 3: {
      const strings = items.filter(({ major, bytes }) => (major === 2 || major === 3) && bytes.length > 0);
      const string = random.pick(strings) ?? it;
      string.bytes = random.pick(inner)?.(string.bytes, material) ?? bytewise(string.bytes, material) ?? string.bytes;
      return;
    }
    case 4:
      it.bytes = random.once(2)
        ? it.bytes.slice(0, random.below(it.bytes.length + 1))
        : splice(it.bytes, it.bytes.length, 0, random.bytes(1 + random.below(32)));
      return;
    case 5:
      it.items.splice(place, step);
      return;
    case 6:
      it.items.splice(place, 0, ...it.items.slice(0, step).map((copy) => structuredClone(copy)));
      return;
    case 7: {
      const donor = readCbor(other());
      const given = donor === undefined ? undefined : random.pick(all(donor));
      if (given !== undefined) replace(structuredClone(given));
      return;
    }
    case 8: {
      const moved = it.items.splice(place, step);
      it.items.splice(random.below(it.items.length / step + 1) * step, 0, ...moved);
      return;
    }
    case 9:
      it.width = random.pick([1, 2, 4, 8]);
      return;
    case 10:
      it.lie = BigInt(random.pick([-1, 1, 2, 255, 65536, 2 ** 31]));
      return;
    case 11:
      if (it.major === 4 || it.major === 5) it.isIndefinite = !it.isIndefinite;
      return;
    case 12: {
      // Wrapped, once or very often.
      for (let depth = random.once(4) ? 9 : 1; depth > 0; depth--) {
        const outer = item(random.pick([4, 6]), 1n);
        outer.items = [{ ...it }];
        replace(outer);
      }
      return;
    }
    default: {
      if (step === 2 && random.once(2)) {
        // In its place: a key that is one too many, not one that is out of order.
        const last = it.items.at(-2)?.value ?? -1n;
        it.items.push(item(0, last + 1n), anyItem(random));
        return;
      }
      const extra = step === 2 ? [item(0, BigInt(random.below(32))), anyItem(random)] : [anyItem(random)];
      it.items.splice(place, 0, ...extra);
    }
  }
}
