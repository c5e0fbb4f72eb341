/** What several targets assert. */
import { concatBytes } from '@quantumvault/shared/bytes.ts';
import { must } from '../engine/target.ts';

/** Bytes in place of which nothing longer or shorter is read: no byte more, none less. */
export function mustEndThere(decode: (bytes: Uint8Array) => unknown, input: Uint8Array): void {
  must(isRefused(decode, concatBytes(input, Uint8Array.of(0))), 'a trailing zero is accepted');
  must(isRefused(decode, input.subarray(0, input.length - 1)), 'it is accepted without its last byte');
}

export function isRefused(decode: (bytes: Uint8Array) => unknown, input: Uint8Array): boolean {
  try {
    decode(input);
    return false;
  } catch (error) {
    if (error instanceof Error && error.name === 'QvError') return true;
    throw error;
  }
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** The input as text; latin1 where it is no UTF-8, so that every input is some text. */
export function textOf(input: Uint8Array): string {
  try {
    return utf8.decode(input);
  } catch {
    return Buffer.from(input).toString('latin1');
  }
}

/** For one header line after the other, `name: value`; a name twice makes a list, as Node never does but proxies might. */
export function headersOf(input: Uint8Array): Record<string, string | string[]> {
  const headers: Record<string, string | string[]> = {};
  for (const line of textOf(input).split('\n')) {
    const [, name, value = ''] = /^([^:]*): ?(.*)$/s.exec(line) ?? [];
    if (name === undefined || name === '__proto__') continue;
    const before = headers[name];
    headers[name] = before === undefined ? value : [...(Array.isArray(before) ? before : [before]), value];
  }
  return headers;
}
