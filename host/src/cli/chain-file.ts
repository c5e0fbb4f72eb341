/**
 * Signatures that somebody found on chain, from a file of any size: one base58 signature per line, or what Solana's RPC
 * answers to getSignaturesForAddress, as one document or as one per line. Empty lines and those that begin with # are
 * comments.
 */
import { type FileHandle, open } from 'node:fs/promises';
import { fromBase58 } from '@quantumvault/shared/base58.ts';
import { utf8 } from '@quantumvault/shared/bytes.ts';
import { QvError } from '@quantumvault/shared/errors.ts';
import { type JsonValue, parseStrictJson } from '@quantumvault/shared/json.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { OPEN_INPUT } from './input.ts';

/** @throws QvError usage_invalid naming the line; input_unreadable, body_too_large */
export async function readChainFile(path: string): Promise<readonly Uint8Array[]> {
  let file: FileHandle;
  try {
    file = await open(path, OPEN_INPUT);
  } catch (error) {
    const value = (error as NodeJS.ErrnoException).code ?? 'unreadable';
    throw new QvError('input_unreadable', { path, value }, { cause: error });
  }
  try {
    if (!(await file.stat()).isFile()) throw new QvError('input_unreadable', { path, value: 'not a regular file' });
    const signatures = new Signatures(path);
    await readLines(file, signatures);
    return signatures.found;
  } finally {
    await file.close();
  }
}

async function readLines(file: FileHandle, signatures: Signatures): Promise<void> {
  let number = 0;
  // Of a JSON document that its first line did not end.
  let document: string[] | undefined;
  let documentStart = 0;
  let documentLength = 0;
  for await (const line of linesOf(file, signatures.path)) {
    number++;
    const text = line.trim();
    if (document === undefined) {
      if (text === '' || text.startsWith('#')) continue;
      if (signatures.addLine(text, number)) continue;
      document = [];
      documentStart = number;
    }
    documentLength += line.length;
    if (documentLength > LIMITS.cliChainDocumentBytes) throw new QvError('body_too_large', { path: signatures.path });
    document.push(line);
  }
  if (document !== undefined) signatures.addDocument(document.join('\n'), documentStart);
}

class Signatures {
  readonly found: Uint8Array[] = [];
  readonly path: string;
  /** Once a line was one by itself, all are. */
  #hasLines = false;

  constructor(path: string) {
    this.path = path;
  }

  /** False when it may be the first line of a document. */
  addLine(text: string, number: number): boolean {
    const where = `line ${number}`;
    if (!/^[[{]/.test(text)) {
      this.#add(text, where);
      this.#hasLines = true;
      return true;
    }
    const value = parsed(text);
    if (value === undefined) {
      if (this.#hasLines) throw this.#bad(`${where}: not JSON`);
      return false;
    }
    this.#addValue(value, where);
    this.#hasLines = true;
    return true;
  }

  addDocument(text: string, start: number): void {
    const value = parsed(text);
    if (value === undefined) throw this.#bad(`line ${start}: not JSON`);
    this.#addValue(value, `the document from line ${start}`);
  }

  #addValue(value: JsonValue, where: string): void {
    const entries = Array.isArray(value) ? value : member(value, 'result', value);
    const list = (Array.isArray(entries) ? entries : [entries]) as readonly JsonValue[];
    for (const [index, entry] of list.entries()) {
      const text = typeof entry === 'string' ? entry : member(entry, 'signature', undefined);
      const place = list.length === 1 ? where : `${where}, entry ${index}`;
      if (typeof text !== 'string') throw this.#bad(`${place}: no signature`);
      this.#add(text, place);
    }
  }

  #add(text: string, where: string): void {
    if (this.found.length >= LIMITS.cliChainSignatures)
      throw this.#bad(`${where}: more than ${LIMITS.cliChainSignatures} signatures`);
    try {
      this.found.push(fromBase58(text, 64));
    } catch (error) {
      if (!(error instanceof QvError)) throw error;
      throw this.#bad(`${where}: not a base58 signature`);
    }
  }

  #bad(value: string): QvError {
    return new QvError('usage_invalid', { path: this.path, value });
  }
}

function member(value: JsonValue, key: string, otherwise: JsonValue | undefined): JsonValue | undefined {
  const isObject = value !== null && typeof value === 'object' && !Array.isArray(value);
  return isObject && Object.hasOwn(value, key) ? (value as Readonly<Record<string, JsonValue>>)[key] : otherwise;
}

function parsed(text: string): JsonValue | undefined {
  try {
    return parseStrictJson(utf8(text));
  } catch (error) {
    if (!(error instanceof QvError)) throw error;
    return undefined;
  }
}

/** A line that does not end is refused before it fills the memory. */
async function* linesOf(file: FileHandle, path: string): AsyncGenerator<string> {
  let rest = '';
  for await (const chunk of file.createReadStream({ encoding: 'utf8', autoClose: false }) as AsyncIterable<string>) {
    const lines = (rest + chunk).split('\n');
    rest = lines.pop() ?? '';
    yield* lines;
    if (rest.length > LIMITS.cliChainDocumentBytes) throw new QvError('body_too_large', { path });
  }
  if (rest !== '') yield rest;
}
