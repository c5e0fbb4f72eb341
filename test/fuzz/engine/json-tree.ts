/** A mutator for JSON: values, members and their order, and what the same text may be spelled as. */
import { bytewise, type Material, type Mutator } from './mutate.ts';
import type { Random } from './random.ts';

type Node =
  | { kind: 'raw'; text: string }
  | { kind: 'string'; value: string; quoted?: string }
  | { kind: 'list'; items: Node[] }
  | { kind: 'object'; members: [key: string, value: Node][] };

const RAW = [
  'null',
  'true',
  'false',
  '0',
  '-0',
  '1',
  '-1',
  '1.5',
  '1e3',
  '1E400',
  '4294967295',
  '4294967296',
  '9007199254740991',
  '9007199254740993',
  '1e-7',
  '""',
  '[]',
  '{}',
] as const;
const BROKEN = [
  '',
  'undefined',
  'NaN',
  '01',
  '+1',
  '1.',
  '.5',
  "'a'",
  '"\\x41"',
  '"a',
  '"\\ud800"',
  '"\\u0000"',
  '{"a":1,"a":2}',
  '{"__proto__":{"polluted":1}}',
  '[1,]',
  '{"a":1,}',
  '/**/1',
  '\ufeff1',
] as const;
const TEXTS = [
  '',
  ' ',
  '0',
  '00',
  '01',
  '-1',
  '+1',
  '1.0',
  '1e3',
  '0x10',
  '18446744073709551615',
  '18446744073709551616',
  '__proto__',
  'constructor',
  'toString',
  'fleet',
  '2026-02-30T00:00:00Z',
  '1969-12-31T23:59:59Z',
  '2026-11-22T24:00:00Z',
  '9999-12-31T23:59:59Z',
  '11111111111111111111111111111111',
  '\u0000',
  '\n',
  'é',
  '\u2028',
  '\ud83d\ude00',
  '*',
  '=',
  '====',
  'AA==',
  'AB==',
  'A'.repeat(300),
] as const;
const KEYS = [
  '__proto__',
  'constructor',
  'prototype',
  'toString',
  'hasOwnProperty',
  '',
  ' ',
  'a',
  'version',
  'purpose',
  'key',
] as const;

function read(value: unknown): Node {
  if (typeof value === 'string') return { kind: 'string', value };
  if (Array.isArray(value)) return { kind: 'list', items: value.map(read) };
  if (typeof value === 'object' && value !== null)
    return { kind: 'object', members: Object.entries(value).map(([key, inner]) => [key, read(inner)]) };
  return { kind: 'raw', text: JSON.stringify(value) };
}

function write(node: Node): string {
  switch (node.kind) {
    case 'raw':
      return node.text;
    case 'string':
      return node.quoted ?? JSON.stringify(node.value);
    case 'list':
      return `[${node.items.map(write).join(',')}]`;
    case 'object':
      return `{${node.members.map(([key, value]) => `${JSON.stringify(key)}:${write(value)}`).join(',')}}`;
  }
}

function all(root: Node): Node[] {
  const found = [root];
  for (let at = 0; at < found.length; at++) {
    const node = found[at];
    if (node?.kind === 'list') found.push(...node.items);
    if (node?.kind === 'object') found.push(...node.members.map(([, value]) => value));
  }
  return found;
}

const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** @param inner for strings that are base64: mutators of the bytes in them */
export function jsonMutator(inner: readonly Mutator[] = []): Mutator {
  return (input, material) => {
    let value: unknown;
    try {
      value = JSON.parse(decoder.decode(input));
    } catch {
      return undefined;
    }
    const root = read(value);
    change(root, material, inner);
    const text = write(root);
    return new TextEncoder().encode(material.random.once(12) ? respelled(text, material.random) : text);
  };
}

/** The same JSON in other characters, mostly. */
function respelled(text: string, random: Random): string {
  const at = random.below(text.length + 1);
  switch (random.below(4)) {
    case 0:
      return text.replaceAll(
        random.pick([',', ':', '{', '}', '[', ']']),
        (mark) => `${random.pick([' ', '\n', '\t', '\r', '\u00a0', '\f'])}${mark}`,
      );
    case 1:
      return text.replace(/[a-z]/, (letter) => `\\u00${letter.charCodeAt(0).toString(16)}`);
    case 2:
      return text.slice(0, at) + random.pick(BROKEN) + text.slice(at);
    default:
      return random.pick(['\ufeff', ' ', '\u0000', '[', '"']) + text;
  }
}

function change(root: Node, material: Material, inner: readonly Mutator[]): void {
  const { random, other } = material;
  const nodes = all(root);
  const node = random.pick(nodes) ?? root;
  const replace = (by: Node): void => {
    for (const key of Object.keys(node)) Reflect.deleteProperty(node, key);
    Object.assign(node, by);
  };
  switch (random.below(12)) {
    case 0:
      replace({ kind: 'raw', text: random.once(4) ? random.pick(BROKEN) : random.pick(RAW) });
      return;
    case 1:
      replace({ kind: 'string', value: random.pick(TEXTS) });
      return;
    case 2:
    case 3:
    case 4: {
      const text = random.pick(nodes.filter((each) => each.kind === 'string' || each.kind === 'raw'));
      if (text?.kind === 'string') text.value = changedText(text.value, material, inner);
      if (text?.kind === 'raw' && /^-?\d+$/.test(text.text))
        text.text = String(BigInt(text.text) + BigInt(random.below(5) - 2));
      return;
    }
    case 5:
      if (node.kind === 'list') node.items.splice(random.below(node.items.length), 1);
      if (node.kind === 'object') node.members.splice(random.below(node.members.length), 1);
      return;
    case 6:
      repeat(node, random);
      return;
    case 7:
      if (node.kind === 'object') node.members.push([random.pick(KEYS), { kind: 'raw', text: random.pick(RAW) }]);
      if (node.kind === 'list') node.items.push({ kind: 'raw', text: random.pick(RAW) });
      return;
    case 8:
      if (node.kind === 'object') {
        const member = node.members[random.below(node.members.length)];
        const keys = nodes.flatMap((each) => (each.kind === 'object' ? each.members.map(([key]) => key) : []));
        if (member !== undefined) member[0] = random.once(2) ? random.pick(KEYS) : (random.pick(keys) ?? '');
      }
      return;
    case 9: {
      let given: Node | undefined;
      try {
        given = random.pick(all(read(JSON.parse(decoder.decode(other())))));
      } catch {}
      if (given !== undefined) replace(structuredClone(given));
      return;
    }
    case 10: {
      if (node.kind === 'object' && random.once(2)) {
        node.members.reverse();
        return;
      }
      if (node.kind === 'list' && random.once(2)) {
        node.items.reverse();
        return;
      }
      const given = random.pick(nodes);
      if (given !== undefined) replace(structuredClone(given));
      return;
    }
    default:
      for (let depth = random.once(4) ? 17 : 1; depth > 0; depth--) {
        const copy = { ...node } as Node;
        replace(random.once(2) ? { kind: 'list', items: [copy] } : { kind: 'object', members: [['a', copy]] });
      }
  }
}

/** Of a list something more often, up to beyond its limit; of an object a member twice. */
function repeat(node: Node, random: Random): void {
  if (node.kind === 'list' && node.items.length > 0) {
    const copies = random.once(6) ? 300 : random.once(3) ? 17 : 1;
    const copy = node.items[random.below(node.items.length)];
    if (copy !== undefined) node.items.push(...Array.from({ length: copies }, () => structuredClone(copy)));
  }
  if (node.kind === 'object' && node.members.length > 0) {
    const member = node.members[random.below(node.members.length)];
    if (member !== undefined) node.members.push(structuredClone(member));
  }
}

/** What is written in base64, hex or decimals is changed in what it stands for. */
function changedText(text: string, material: Material, inner: readonly Mutator[]): string {
  const { random } = material;
  if (/^\d{1,24}$/.test(text) && random.once(2)) return String(BigInt(text) + BigInt(random.below(5) - 2));
  const encoding = /^(?:[0-9a-f]{2}){4,}$/.test(text)
    ? 'hex'
    : /^[A-Za-z0-9+/]{8,}={0,2}$/.test(text)
      ? 'base64'
      : undefined;
  if (encoding !== undefined && !random.once(4)) {
    const bytes = new Uint8Array(Buffer.from(text, encoding));
    const made = random.pick(inner)?.(bytes, material) ?? bytewise(bytes, material) ?? bytes;
    return Buffer.from(made).toString(encoding);
  }
  const made = bytewise(new TextEncoder().encode(text), material) ?? new Uint8Array();
  return Buffer.from(made).toString(random.once(8) ? 'latin1' : 'utf8');
}
