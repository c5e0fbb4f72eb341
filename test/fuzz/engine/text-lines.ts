/** A mutator for text in lines and words: notes, headers, keys, files that people write. */
import { bytewise, type Mutator } from './mutate.ts';

const WORDS = [
  '',
  ' ',
  '  ',
  '\t',
  '\n',
  '\n\n',
  '\r\n',
  '\u0000',
  '\u00a0',
  '\ufeff',
  '\u2014 ',
  '+',
  ',',
  '.',
  ':',
  '=',
  '-',
  '0',
  '00',
  '01',
  '-1',
  '1e3',
  '9223372036854775807',
  '9223372036854775808',
  '18446744073709551616',
  '1.0',
  '0x1',
  'é',
  '\u{1f600}',
  '\u2028',
  'v1,',
  'v1a,',
  '%00',
  '::',
  '/',
  '../',
  '#',
] as const;

export const textMutator: Mutator = (input, material) => {
  const { random, other } = material;
  const text = Buffer.from(input).toString('latin1');
  const parts = random.once(2) ? text.split('\n') : text.split(/(?<=[^A-Za-z0-9])|(?=[^A-Za-z0-9])/);
  const separator = parts.length > 1 && text.split('\n').length === parts.length ? '\n' : '';
  const at = random.below(parts.length);
  const part = parts[at] ?? '';
  switch (random.below(9)) {
    case 0:
      parts.splice(at, 1);
      break;
    case 1:
      parts.splice(random.below(parts.length + 1), 0, part);
      break;
    case 2:
      parts.splice(random.below(parts.length), 0, ...parts.splice(at, 1));
      break;
    case 3:
      parts[at] = Buffer.from(random.pick(WORDS)).toString('latin1');
      break;
    case 4:
      parts.splice(at, 0, Buffer.from(random.pick(WORDS)).toString('latin1'));
      break;
    case 5:
      parts[at] = /^\d{1,30}$/.test(part) ? String(BigInt(part) + BigInt(random.below(5) - 2)) : part.toUpperCase();
      break;
    case 6:
      parts[at] = Buffer.from(bytewise(Buffer.from(part, 'latin1'), material) ?? []).toString('latin1');
      break;
    case 7: {
      const lines = Buffer.from(other()).toString('latin1').split('\n');
      parts.splice(at, random.below(2), random.pick(lines) ?? '');
      break;
    }
    default: {
      if (!/^[A-Za-z0-9+/]{8,}={0,2}$/.test(part)) return undefined;
      const bytes = new Uint8Array(Buffer.from(part, 'base64'));
      parts[at] = Buffer.from(bytewise(bytes, material) ?? bytes).toString('base64');
    }
  }
  return new Uint8Array(Buffer.from(parts.join(separator), 'latin1'));
};
