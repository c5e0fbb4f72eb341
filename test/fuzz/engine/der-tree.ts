/** A mutator for DER and BER: changes elements, and prints them again with lengths that fit, or on purpose do not. */
import { bytewise, type Material, type Mutator } from './mutate.ts';

interface Element {
  tag: number;
  /** Of a primitive one; of a BIT STRING with an element inside, the byte before it. */
  bytes: Uint8Array;
  children: Element[] | undefined;
  isIndefinite: boolean;
  /** 0: as short as it can be; else at least so many bytes of length. */
  width: number;
  lie: number;
}

const CONSTRUCTED = 0x20;

function readAll(bytes: Uint8Array, depth: number, budget: { left: number }): Element[] | undefined {
  const found: Element[] = [];
  for (let rest = bytes; rest.length > 0; ) {
    const read = readOne(rest, depth, budget);
    if (read === undefined) return undefined;
    found.push(read.element);
    rest = read.rest;
  }
  return found;
}

function readOne(
  bytes: Uint8Array,
  depth: number,
  budget: { left: number },
): { element: Element; rest: Uint8Array } | undefined {
  const [tag, first] = bytes;
  if (tag === undefined || first === undefined || depth > 24 || --budget.left < 0) return undefined;
  const element: Element = {
    tag,
    bytes: new Uint8Array(),
    children: undefined,
    isIndefinite: first === 0x80,
    width: 0,
    lie: 0,
  };
  if (element.isIndefinite) {
    element.children = [];
    let rest = bytes.subarray(2);
    while (!(rest[0] === 0 && rest[1] === 0)) {
      const inner = readOne(rest, depth + 1, budget);
      if (inner === undefined) return undefined;
      element.children.push(inner.element);
      rest = inner.rest;
    }
    return { element, rest: rest.subarray(2) };
  }
  const size = first > 0x80 ? first - 0x80 : 0;
  let length = size === 0 ? first : 0;
  if (size > 3) return undefined;
  for (const byte of bytes.subarray(2, 2 + size)) length = length * 256 + byte;
  const start = 2 + size;
  if (start + length > bytes.length) return undefined;
  const body = bytes.subarray(start, start + length);
  const skipped = tag === 0x03 ? 1 : 0;
  // A string may hold elements, as extensions and keys do.
  const mayHold = (tag & CONSTRUCTED) !== 0 || ((tag === 0x03 || tag === 0x04) && body.length > skipped + 2);
  const children = mayHold ? readAll(body.subarray(skipped), depth + 1, budget) : undefined;
  element.children = children;
  element.bytes = children === undefined ? body.slice() : body.slice(0, skipped);
  return { element, rest: bytes.subarray(start + length) };
}

function write({ tag, bytes, children, isIndefinite, width, lie }: Element): Uint8Array {
  const body = Buffer.concat([bytes, ...(children ?? []).map(write)]);
  if (isIndefinite) return new Uint8Array(Buffer.concat([Uint8Array.of(tag, 0x80), body, Uint8Array.of(0, 0)]));
  const length = Math.max(0, body.length + lie);
  const least = length < 0x80 ? 0 : length < 0x100 ? 1 : length < 0x10000 ? 2 : 3;
  const size = Math.max(least, width);
  const digits = Array.from({ length: size }, (_, at) => (length / 256 ** (size - 1 - at)) & 0xff);
  return new Uint8Array(
    Buffer.concat([Uint8Array.from(size === 0 ? [tag, length] : [tag, 0x80 | size, ...digits]), body]),
  );
}

function all(roots: readonly Element[]): Element[] {
  const found = [...roots];
  for (let at = 0; at < found.length; at++) found.push(...(found[at]?.children ?? []));
  return found;
}

export const derMutator: Mutator = (input, material) => {
  const roots = readAll(input, 0, { left: 2_000 });
  if (roots === undefined || roots.length === 0) return undefined;
  change(roots, material);
  return new Uint8Array(Buffer.concat(roots.map(write)));
};

function change(roots: Element[], material: Material): void {
  const { random, other } = material;
  const elements = all(roots);
  const element = random.pick(elements);
  if (element === undefined) return;
  const list = element.children ?? roots;
  const place = random.below(list.length + 1);
  switch (random.below(11)) {
    case 0:
      element.tag = random.pick([
        0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x0c, 0x13, 0x16, 0x17, 0x18, 0x1f, 0x30, 0x31, 0x80, 0x82, 0xa0, 0xa3,
        0x24, 0x3f,
      ]);
      return;
    case 1:
    case 2: {
      const leaf = random.pick(elements.filter(({ children, bytes }) => children === undefined && bytes.length > 0));
      if (leaf !== undefined) leaf.bytes = bytewise(leaf.bytes, material) ?? leaf.bytes;
      return;
    }
    case 3:
      element.bytes = random.bytes(random.pick([0, 1, 2, 16, 31, 32, 33, 48, 127, 128, 256]));
      return;
    case 4:
      list.splice(place, 1);
      return;
    case 5: {
      const copy = list[random.below(list.length)];
      if (copy !== undefined) list.splice(place, 0, structuredClone(copy));
      return;
    }
    case 6: {
      const donor = random.pick(all(readAll(other(), 0, { left: 2_000 }) ?? []));
      if (donor !== undefined) Object.assign(element, structuredClone(donor));
      return;
    }
    case 7:
      list.splice(place, 0, ...list.splice(random.below(list.length), 1));
      return;
    case 8:
      element.width = random.pick([1, 2, 3]);
      return;
    case 9:
      element.lie = random.pick([-1, 1, 2, 127, 128, 65535]);
      return;
    default:
      if (random.once(2)) element.isIndefinite = !element.isIndefinite;
      else
        for (let depth = random.once(3) ? 13 : 1; depth > 0; depth--) {
          const inner = { ...element };
          Object.assign(element, {
            tag: 0x30,
            bytes: new Uint8Array(),
            children: [inner],
            isIndefinite: random.once(8),
          });
        }
  }
}
