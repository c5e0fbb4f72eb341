/** Values on the command line that may also stand in a file or come from standard input, `-`. */
import { statSync } from 'node:fs';
import { fromBase64 } from '@quantumvault/shared/bytes.ts';
import { QvError } from '@quantumvault/shared/errors.ts';
import { type JsonValue, parseStrictJson } from '@quantumvault/shared/json.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import type { Arguments } from './command.ts';
import { readInput } from './input.ts';

const STANDARD_INPUT = '-';

export const isUrl = (text: string): boolean => /^https?:\/\//.test(text);

/** The one thing that follows the options. @throws QvError usage_invalid */
export function oneOperand({ operands }: Arguments, what: string): string {
  const [source, ...more] = operands;
  if (source === undefined || more.length > 0)
    throw new QvError('usage_invalid', { value: `name one ${what}, not ${operands.length}` });
  return source;
}

/** @throws QvError input_unreadable, body_too_large */
export async function readSource(source: string): Promise<Uint8Array> {
  return source === STANDARD_INPUT ? await readStandardInput() : readInput(source);
}

async function readStandardInput(): Promise<Uint8Array> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of process.stdin as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > LIMITS.cliInputBytes) throw new QvError('body_too_large', { path: STANDARD_INPUT });
    chunks.push(chunk);
  }
  return Uint8Array.from(Buffer.concat(chunks));
}

/**
 * A file that holds base64, or else base64 itself: a path may consist of its characters alone, so files come first.
 * @throws QvError base64_malformed, input_unreadable, body_too_large
 */
export async function base64Input(source: string, path: string): Promise<Uint8Array> {
  if (source !== STANDARD_INPUT && !isFile(source)) return fromBase64(source, path);
  return fromBase64(
    Buffer.from(await readSource(source))
      .toString('utf8')
      .trim(),
    path,
  );
}

/** Also a pipe, which shells pass for `<(command)`: reading it then says that it is no regular file. */
function isFile(path: string): boolean {
  try {
    const found = statSync(path);
    return found.isFile() || found.isFIFO();
  } catch {
    // Nothing of that name; or base64, too long for one.
    return false;
  }
}

/**
 * Strict JSON itself, which starts with a bracket, or a file that holds it.
 * @throws QvError json_malformed, input_unreadable, body_too_large
 */
export async function jsonInput(source: string, path: string): Promise<JsonValue> {
  const bytes = /^\s*[[{]/.test(source) ? new TextEncoder().encode(source) : await readSource(source);
  try {
    return parseStrictJson(bytes);
  } catch (error) {
    // The error names what is wrong; of several inputs it has to name which one.
    throw error instanceof QvError ? new QvError(error.code, { ...error.facts, path }, { cause: error }) : error;
  }
}
